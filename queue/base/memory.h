/*
 * Memory that a long-lived program does not need any more.
 */
#ifndef CENMAIL_MEMORY_H
#define CENMAIL_MEMORY_H

/* To the kernel goes what of the heap is free, and what the calling thread's stack once needed and
 * is beyond where it stands now. For a thread that has nothing to do for long: it costs about as
 * long as the heap is large, a millisecond for some ten MB. */
void memory_give_back(void);

#endif

/*
 * Memory made present in a few calls, before it is used page by page.
 */
#ifndef CENMAIL_PREFAULT_H
#define CENMAIL_PREFAULT_H

/* Never fails: where the kernel (before 5.14) or a limit does not let it, pages come one by one. */
void prefault(void);

#endif

/*
 * Random octets from the kernel, for tokens and names that nobody may guess.
 */
#ifndef CENMAIL_RANDOM_H
#define CENMAIL_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Fills n octets; waits for the kernel's pool at boot. Never fails: a kernel without getrandom()
 * is not one we run on, and the process aborts. */
void random_bytes(void *out, size_t n);
/* Evenly spread in [0, below); below is at least 1. For jitter. */
uint64_t random_below(uint64_t below);

#endif

/*
 * struct guess: wrong passwords of late, by the address they came from and by the name they were
 * for. Guessing is slowed, and the rightful owner of a name is not locked out by it: from where
 * he logged in last, nobody's guesses elsewhere count. Names that do not exist are treated as
 * those that do. Of fixed size, whatever comes; for any thread.
 */
#ifndef CENMAIL_GUESS_H
#define CENMAIL_GUESS_H

#include <stdint.h>

#define GUESS_FREE     5     /* wrong ones in a row that cost no more than their own pause */
#define GUESS_FORGET   60000 /* ms after which one of them is forgotten */
#define GUESS_GAP      2000  /* ms between two tries at a name that is being guessed */
#define GUESS_WAIT_MAX 10000 /* ms: who would have to wait longer is refused unheard */
#define GUESS_ADDRESS  20    /* wrong ones of an address, not yet forgotten, until it is refused */

struct guess;

struct guess *guess_new(void); /* NULL: no memory */
void guess_free(struct guess *g);

/* Before a password is looked at: for how many ms it has to wait; -1: it is not looked at. It
 * counts as wrong until it is known to be right, so that many at once are no way around. */
int64_t guess_ask(struct guess *g, const char *name, const char *address, int64_t now_ms);
void guess_right(struct guess *g, const char *name, const char *address, int64_t now_ms);

#endif

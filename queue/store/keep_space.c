/*
 * Free pages are used again by the next messages, at no cost; one that was given back has to be
 * asked of the file system anew, in somebody's COMMIT. A steady flow frees and takes the same pages
 * every minute, so as many stay as a quarter of what is in use, and SPARE_LEAST at least; and
 * giving back begins only where there are twice as many. So, once the flusher has come to it, the
 * file is no larger than one and a half times what it holds, or that and 2 * SPARE_LEAST.
 */
#include "store/keep_space.h"

#include "base/clock.h"

#define SPARE_LEAST 2048 /* pages: 8 MB */
#define AT_ONCE     16   /* as SQL_GIVE_BACK says */

static int ask(struct store *s, enum sql which, int64_t *ret, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, which);
	int r = db_step(&s->db, q, e);
	if (r < 0)
		return -1;
	*ret = r == 1 ? sqlite3_column_int64(q, 0) : 0;
	sqlite3_reset(q);
	return 0;
}

int64_t space_surplus(struct store *s, bool all, bool begun, struct err *e)
{
	int64_t pages = 0, free = 0;
	if (ask(s, SQL_PAGES, &pages, e) < 0 || ask(s, SQL_FREE_PAGES, &free, e) < 0)
		return -1;
	if (all)
		return free;
	int64_t spare = (pages - free) / 4;
	if (spare < SPARE_LEAST)
		spare = SPARE_LEAST;
	return free > (begun ? spare : 2 * spare) ? free - spare : 0;
}

/* A row is a page that was moved or cut off. Only when it is done is the list of free pages whole,
 * so it is never left halfway. */
static int give_back(struct store *s, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_GIVE_BACK);
	int n = 0, r;
	while ((r = db_step(&s->db, q, e)) == 1)
		n++;
	return r < 0 ? -1 : n;
}

int space_give_back(struct store *s, int64_t most, int64_t until_us, struct err *e)
{
	int done = 0, n;
	do {
		n = give_back(s, e);
		if (n < 0)
			return -1;
		done += n;
	} while (n == AT_ONCE && done < most && clock_mono_us() < until_us);
	return done;
}

/*
 * Retention, stage by stage. What goes is looked for without the lock, and looked at again under it
 * by the statement that deletes it. A step stops between two rows when its time is over; the one
 * row that may take longer is the content of a large message.
 */
#include "store/keep.h"
#include "store/internal.h"
#include "store/keep_space.h"

#include "base/clock.h"

#define STEP_US      3000
#define STEP_ROWS    32 /* deleted; each mostly alone on a page of the index on message.key */
#define STEP_PAGES   48 /* of the file, given back: the WAL takes two for each */
#define WAL_PAGES    64 /* past this, what is in the WAL is written back before more is done */
#define WAL_MOST     (4 << 20) /* octets: nor is more done while it can't be */
#define WALK_PAGE    200       /* rows */
#define MARGIN_MS    60000     /* a verdict, or a change by hand, that is committed late */
#define WRITE_LAG_MS 300000    /* a walk that frees nothing is written down so often */
#define MS_AN_HOUR   3600000

enum stage { CONTENT_SENT, CONTENT_FAILED, GONE_SENT, GONE_FAILED, ATTEMPTS, HOURS, SPACE, OVER };

struct settled {
	int64_t at, recipient, message;
	bool content;
};

static const char *state_of(const struct keep *k)
{
	return k->stage == CONTENT_SENT || k->stage == GONE_SENT ? "sent" : "failed";
}

void keep_begin(struct keep *k, const struct keep_rules *r, int64_t now, bool all)
{
	*k = (struct keep) { .rules = *r, .now = now, .all = all };
}

/* --- content --- */

/* Where the last pass came to. A place in the future is one of a clock that was wrong: from the
 * beginning then. */
static int read_place(struct store *s, struct keep *k, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_FREED);
	db_bind_text(q, 1, state_of(k));
	int r = db_step(&s->db, q, e);
	if (r < 0)
		return -1;
	k->at.settled = INT64_MIN;
	k->at.recipient = 0;
	if (r == 1) {
		int64_t settled = sqlite3_column_int64(q, 0);
		if (settled <= k->now) {
			k->at.settled = settled;
			k->at.recipient = sqlite3_column_int64(q, 1);
		}
		sqlite3_reset(q);
	}
	k->written = k->at;
	return 0;
}

static int write_place(struct store *s, struct keep *k, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_FREED_SET);
	db_bind_text(q, 1, state_of(k));
	sqlite3_bind_int64(q, 2, k->at.settled);
	sqlite3_bind_int64(q, 3, k->at.recipient);
	return db_step(&s->db, q, e);
}

static int walk(struct store *s, const struct keep *k, enum sql which, struct settled *row, int n,
	struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, which);
	int r, found = n;
	db_bind_text(q, 1, state_of(k));
	sqlite3_bind_int64(q, 2, k->at.settled);
	sqlite3_bind_int64(q, 3, k->at.recipient);
	sqlite3_bind_int64(q, 4, k->limit);
	sqlite3_bind_int64(q, 5, WALK_PAGE - n);
	while ((r = db_step(&s->db, q, e)) == 1)
		row[found++] =
			(struct settled) { sqlite3_column_int64(q, 0), sqlite3_column_int64(q, 1),
				sqlite3_column_int64(q, 2), sqlite3_column_int(q, 3) };
	return r < 0 ? -1 : found;
}

/* The next settled recipients after k->at. How many, or -1. */
static int walk_page(struct store *s, const struct keep *k, struct settled *row, struct err *e)
{
	int n = walk(s, k, SQL_SETTLED_SAME, row, 0, e);
	if (n < 0 || n == WALK_PAGE)
		return n;
	return walk(s, k, SQL_SETTLED_LATER, row, n, e);
}

static int free_content(struct store *s, struct keep *k, int64_t message, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_FREE_CONTENT);
	sqlite3_bind_int64(q, 1, message);
	sqlite3_bind_int64(q, 2, k->now - k->rules.sent);
	sqlite3_bind_int64(q, 3, k->now - k->rules.failed);
	if (db_step(&s->db, q, e) < 0)
		return -1;
	k->counts.contents += (uint64_t)sqlite3_changes(s->db.handle);
	return 0;
}

/* In a write transaction. */
static int free_contents(struct store *s, struct keep *k, const struct settled *row, int n,
	int64_t until_us, struct err *e)
{
	for (int i = 0, done = 0; i < n && done < STEP_ROWS; i++) {
		/* Recipients of one message mostly stand together, and it need be asked once. */
		bool again = i > 0 && row[i].message == row[i - 1].message;
		if (i > 0 && clock_mono_us() >= until_us)
			break;
		if (row[i].content && !again) {
			if (free_content(s, k, row[i].message, e) < 0)
				return -1;
			done++;
		}
		k->at.settled = row[i].at;
		k->at.recipient = row[i].recipient;
	}
	return write_place(s, k, e);
}

static bool any_content(const struct settled *row, int n)
{
	for (int i = 0; i < n; i++)
		if (row[i].content)
			return true;
	return false;
}

/* Goes on, without the lock, to a page of the walk in which there is content. Its rows, 0 when the
 * walk is at its end or time is over (*ret_more), -1. */
static int find_content(
	struct store *s, struct keep *k, struct settled *row, bool *ret_more, struct err *e)
{
	const int64_t until = clock_mono_us() + STEP_US;
	int n;
	do {
		n = walk_page(s, k, row, e);
		if (n < 0 || any_content(row, n))
			return n;
		if (n > 0) {
			k->at.settled = row[n - 1].at;
			k->at.recipient = row[n - 1].recipient;
		}
	} while (n == WALK_PAGE && clock_mono_us() < until);
	*ret_more = n == WALK_PAGE;
	return 0;
}

static bool lags(const struct keep *k)
{
	return k->at.settled != INT64_MIN &&
	       (k->written.settled == INT64_MIN ||
		       k->at.settled - k->written.settled >= WRITE_LAG_MS);
}

/* 1 there may be more, 0 there is not, -1. */
static int step_content(struct store *s, struct keep *k, struct err *e)
{
	struct settled row[WALK_PAGE];
	bool more = false;
	int n = find_content(s, k, row, &more, e);
	if (n < 0)
		return -1;
	if (n == 0 && (more || !lags(k)))
		return more;
	if (store_begin(s, e) < 0)
		return -1;
	int r = free_contents(s, k, row, n, clock_mono_us() + STEP_US, e);
	if (store_end(s, r, e) < 0)
		return -1;
	k->written = k->at;
	return n > 0;
}

/* --- rows --- */

static int drop(struct store *s, enum sql which, int64_t id, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, which);
	sqlite3_bind_int64(q, 1, id);
	if (db_step(&s->db, q, e) < 0)
		return -1;
	return sqlite3_changes(s->db.handle);
}

/* The longest settled. 1, 0 there is none to go, -1. */
static int drop_recipient(struct store *s, struct keep *k, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_OLDEST_RECIPIENT);
	db_bind_text(q, 1, state_of(k));
	int r = db_step(&s->db, q, e);
	if (r <= 0)
		return r;
	int64_t settled = sqlite3_column_int64(q, 0), id = sqlite3_column_int64(q, 1),
		message = sqlite3_column_int64(q, 2);
	bool goes = sqlite3_column_type(q, 0) == SQLITE_INTEGER && settled < k->limit;
	sqlite3_reset(q);
	if (!goes)
		return 0;
	if (drop(s, SQL_DROP_RECIPIENT, id, e) < 0)
		return -1;
	k->counts.recipients++;
	r = drop(s, SQL_DROP_MESSAGE, message, e);
	if (r <= 0)
		return r < 0 ? -1 : 1;
	k->counts.messages++;
	r = drop(s, SQL_DROP_CONTENT, message, e);
	if (r > 0)
		k->counts.contents++;
	return r < 0 ? -1 : 1;
}

/* The same of attempts and hours, some at once. */
static int drop_some(struct store *s, struct keep *k, struct err *e)
{
	bool hours = k->stage == HOURS;
	sqlite3_stmt *q = db_stmt(&s->db, hours ? SQL_DROP_HOURS : SQL_DROP_ATTEMPTS);
	sqlite3_bind_int64(q, 1, hours ? k->limit / MS_AN_HOUR : k->limit);
	sqlite3_bind_int64(q, 2, STEP_ROWS);
	if (db_step(&s->db, q, e) < 0)
		return -1;
	int n = sqlite3_changes(s->db.handle);
	if (!hours)
		k->counts.attempts += (uint64_t)n;
	return n == STEP_ROWS;
}

static int step_rows(struct store *s, struct keep *k, struct err *e)
{
	const bool singly = k->stage <= GONE_FAILED;
	int more, n = 0;
	if (store_begin(s, e) < 0)
		return -1;
	const int64_t until = clock_mono_us() + STEP_US;
	do
		more = singly ? drop_recipient(s, k, e) : drop_some(s, k, e);
	while (singly && more == 1 && ++n < STEP_ROWS && clock_mono_us() < until);
	return store_end(s, more < 0 ? -1 : 0, e) < 0 ? -1 : more;
}

/* --- room --- */

static int step_space(struct store *s, struct keep *k, struct err *e)
{
	int64_t surplus = space_surplus(s, k->all, k->giving_back, e);
	if (surplus <= 0)
		return surplus < 0 ? -1 : 0;
	if (store_begin(s, e) < 0)
		return -1;
	int n = space_give_back(
		s, surplus < STEP_PAGES ? surplus : STEP_PAGES, clock_mono_us() + STEP_US, e);
	if (store_end(s, n < 0 ? -1 : 0, e) < 0)
		return -1;
	k->giving_back = true;
	k->counts.pages += (uint64_t)n;
	return n > 0;
}

/* --- the pass --- */

static int64_t end_of_hour(int64_t hour)
{
	if (hour < 0)
		return 0;
	return hour < STORE_TIME_MAX / MS_AN_HOUR ? (hour + 1) * MS_AN_HOUR : INT64_MAX;
}

/* ms: the time of what is next in this stage; INT64_MAX: nothing. */
static int find_oldest(struct store *s, struct keep *k, struct err *e)
{
	static const enum sql which[] = { [GONE_SENT] = SQL_OLDEST_RECIPIENT,
		[GONE_FAILED] = SQL_OLDEST_RECIPIENT,
		[ATTEMPTS] = SQL_OLDEST_ATTEMPT,
		[HOURS] = SQL_OLDEST_HOUR };
	if (k->stage <= CONTENT_FAILED) {
		struct settled row[WALK_PAGE];
		k->limit = INT64_MAX;
		int n = read_place(s, k, e) < 0 ? -1 : walk_page(s, k, row, e);
		if (n >= 0)
			k->oldest = n > 0 ? row[0].at : INT64_MAX;
		return n < 0 ? -1 : 0;
	}
	sqlite3_stmt *q = db_stmt(&s->db, which[k->stage]);
	if (k->stage <= GONE_FAILED)
		db_bind_text(q, 1, state_of(k));
	int r = db_step(&s->db, q, e);
	if (r < 0)
		return -1;
	k->oldest = INT64_MAX;
	if (r == 1) {
		k->oldest = sqlite3_column_int64(q, 0);
		if (k->stage == HOURS)
			k->oldest = end_of_hour(k->oldest);
		sqlite3_reset(q);
	}
	return 0;
}

/* 1 there is something in this stage, 0 there is not, -1. */
static int look(struct store *s, struct keep *k, bool pressing, struct err *e)
{
	const int64_t keep[] = { k->rules.sent + MARGIN_MS, k->rules.failed + MARGIN_MS,
		k->rules.history, k->rules.history, k->rules.history, k->rules.history };
	if (k->stage == SPACE)
		return !pressing;
	if (!k->known && find_oldest(s, k, e) < 0)
		return -1;
	const int64_t cutoff = k->now - keep[k->stage];
	if (!k->known) {
		k->known = true;
		k->limit = cutoff;
		if (!k->all && k->oldest < cutoff - KEEP_REACH_MS)
			k->limit = k->oldest + KEEP_REACH_MS;
	}
	return k->oldest < (pressing ? cutoff - KEEP_REACH_MS : cutoff);
}

static int work(struct store *s, struct keep *k, struct err *e)
{
	switch ((enum stage)k->stage) {
	case CONTENT_SENT:
	case CONTENT_FAILED:
		return step_content(s, k, e);
	case GONE_SENT:
	case GONE_FAILED:
	case ATTEMPTS:
	case HOURS:
		return step_rows(s, k, e);
	case SPACE:
		return step_space(s, k, e);
	case OVER:
		break;
	}
	return 0;
}

int keep_step(struct store *s, struct keep *k, bool pressing, struct err *e)
{
	if (store_wal_size(s) > WAL_PAGES * STORE_FRAME) {
		int64_t size = store_checkpoint(s, true);
		if (size <= WAL_PAGES * STORE_FRAME)
			return 1;
		if (size > WAL_MOST)
			return err_set(e, EX_TEMPFAIL,
				"the WAL can't be written back, as somebody has a transaction "
				"open");
	}
	while (k->stage < OVER) {
		int r = look(s, k, pressing, e);
		if (r == 1)
			r = work(s, k, e);
		if (r != 0)
			return r;
		k->stage++;
		k->known = false;
	}
	return 0;
}

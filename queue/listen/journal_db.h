/*
 * The journal's database: its statements, and nothing of who waits for whom. Each struct
 * journal_db is for one thread at a time.
 */
#ifndef CENMAIL_JOURNAL_DB_H
#define CENMAIL_JOURNAL_DB_H

#include "listen/journal.h"
#include "listen/tally.h"
#include "store/db.h"

#define JOURNAL_ID_HEX 32

struct journal_db {
	struct db db;
	int wal_pages; /* after the last commit */
};

/* create: makes the file and its schema where there is none, and brings one of an earlier version
 * up to date. 0 or -1. */
int journal_db_open(struct journal_db *j, const char *path, bool create, struct err *e);
void journal_db_close(struct journal_db *j);

/* The one row about the journal itself. */
struct journal_self {
	char id[JOURNAL_ID_HEX + 1], mark[JOURNAL_ID_HEX + 1], mark_before[JOURNAL_ID_HEX + 1];
	int64_t ran,
		saved; /* for how long, in ms, when it was saved, at `saved` by the wall clock */
	struct pace_given given;
};
int journal_db_self(struct journal_db *j, struct journal_self *ret, struct err *e);
int journal_db_set_ran(struct journal_db *j, int64_t ran, struct err *e);
int journal_db_set_self(struct journal_db *j, const struct journal_self *self, struct err *e);
/* Rows that a migration has left without: they are kept until then. */
int journal_db_fill(struct journal_db *j, int64_t until, struct err *e);

/* 1: there is a row, its state (by its first letters: "sending", "sent", "failed") and answer are
 * copied; 0: none; -1. */
struct journal_found {
	char state[8];
	char answer[ANSWER_MAX + 1];
};
int journal_db_find(struct journal_db *j, const char *client, const char *token,
	struct journal_found *ret, struct err *e);

int journal_db_begin(struct journal_db *j, struct err *e);
/* until: when it may be forgotten, in ms that the journal has run. */
int journal_db_sending(
	struct journal_db *j, const struct journal_row *r, int64_t until, struct err *e);
int journal_db_settle(struct journal_db *j, const struct journal_row *r, struct err *e);
int journal_db_tally(
	struct journal_db *j, const struct tally_row *row, int64_t hour, struct err *e);
/* Durable when it answers 0; else rolled back, or unknown. Checkpoints when the WAL is long. */
int journal_db_commit(struct journal_db *j, struct err *e);
void journal_db_rollback(struct journal_db *j);
/* One small step, of some ms; *ret_more: there is more to prune. */
struct journal_age {
	int64_t ran;  /* rows whose until is before it */
	int64_t hour; /* figures of the hours before it */
};
int journal_db_prune(
	struct journal_db *j, struct journal_age before, bool *ret_more, struct err *e);

#endif

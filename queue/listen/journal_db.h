/*
 * The journal's database: its statements, and nothing of who waits for whom. Each struct
 * journal_db is for one thread at a time.
 */
#ifndef CENMAIL_JOURNAL_DB_H
#define CENMAIL_JOURNAL_DB_H

#include "listen/journal.h"
#include "store/db.h"

struct journal_db {
	struct db db;
	int wal_pages; /* after the last commit */
};

/* create: makes the file and its schema where there is none. 0 or -1. */
int journal_db_open(struct journal_db *j, const char *path, bool create, struct err *e);
void journal_db_close(struct journal_db *j);
int journal_db_id(struct journal_db *j, char *out, size_t size, struct err *e);

/* 1: there is a row, its state (by its first letters: "sending", "sent", "failed") and answer are
 * copied; 0: none; -1. */
struct journal_found {
	char state[8];
	char answer[ANSWER_MAX + 1];
};
int journal_db_find(struct journal_db *j, const char *client, const char *token,
	struct journal_found *ret, struct err *e);

int journal_db_begin(struct journal_db *j, struct err *e);
int journal_db_sending(struct journal_db *j, const struct journal_row *r, struct err *e);
int journal_db_settle(struct journal_db *j, const struct journal_row *r, struct err *e);
/* Durable when it answers 0; else rolled back, or unknown. Checkpoints when the WAL is long. */
int journal_db_commit(struct journal_db *j, struct err *e);
void journal_db_rollback(struct journal_db *j);
/* One small step; *ret_more: there is more to prune. */
int journal_db_prune(struct journal_db *j, int64_t before, bool *ret_more, struct err *e);

#endif

/*
 * What the files of the store share, and nobody else includes.
 */
#ifndef CENMAIL_STORE_INTERNAL_H
#define CENMAIL_STORE_INTERNAL_H

#include "store/db.h"
#include "store/lock.h"
#include "store/sql.h"
#include "store/store.h"

#define STORE_APPLICATION_ID 0x63656e6d /* "cenm" */
#define STORE_VERSION        3          /* user_version that this program reads and writes */
#define STORE_WAL_PAGES      128        /* past this, whoever commits checkpoints */
#define STORE_FRAME          4120       /* octets of a page in the WAL */
#define STORE_TIME_MAX       INT64_C(253402300799999)
#define STORE_PATH_MAX       4096

struct store {
	struct db db;
	enum store_role role;
	int64_t lock_wait;
	int64_t until; /* the end of the first wait, begun at the opening; 0: it is over */
	char *lock_path, *wal_path;
	int lock;      /* queue.lock; a submitter opens it for each transaction, else it is kept */
	int wal_pages; /* after the last commit, as SQLite told it */
};

/* The version of an open database; EX_CONFIG with words when it is no queue. */
int store_version(struct db *d, const char *path, int64_t *ret, struct err *e);
/* That, and that it is the version that this program knows; EX_CONFIG with words when they are not
 * ours. */
int store_check(struct db *d, const char *path, struct err *e);

/* A write transaction under queue.lock. 0 or -1 (nothing is held then). */
int store_begin(struct store *s, struct err *e);
/* r 0: COMMIT, then a checkpoint when the WAL is past its bound; else ROLLBACK. Lets go of the
 * lock in any case. Answers r, or -1 when COMMIT failed: whether it was stored is not known. */
int store_end(struct store *s, int r, struct err *e);

/* Under the lock: whether the file that is open still is the one that stands at its path. 0 or -1,
 * EX_CONFIG. */
int store_in_place(struct store *s, struct err *e);

/* put.c: a submission, in a write transaction that is open. 0 or -1. */
int store_put_within(
	struct store *s, const struct store_submission *m, int64_t *ret_id, struct err *e);

/* Octets of the WAL file. */
int64_t store_wal_size(const struct store *s);

/* Whether a value read back is what the schema allows: an integer between lo and hi; text of at
 * most max octets without NUL. */
bool store_int(sqlite3_stmt *q, int col, int64_t lo, int64_t hi, int64_t *ret);
bool store_text(sqlite3_stmt *q, int col, size_t max, struct span *ret);
/* A copy of such text; of what is none, or does not fit into `size` octets with its end, "": half
 * an address would be another's. */
void store_copy(sqlite3_stmt *q, int col, char *out, size_t size);

/* list.c: recipients that are not settled, in the order of (message, recipient), those after the
 * two numbers given. How many, at most STORE_PAGE; -1. */
#define STORE_PAGE 100
struct store_row {
	struct store_listed l;
	int64_t recipient, uid;
	char sender[256], address[256], state[8], reply[2048];
};
int store_list_page(
	struct store *s, int64_t message, int64_t recipient, struct store_row *row, struct err *e);

#endif

/*
 * A hardened SQLite connection and a table of prepared statements, shared by the queue and the
 * listener's journal. For one thread at a time.
 */
#ifndef CENMAIL_DB_H
#define CENMAIL_DB_H

#include "base/err.h"
#include "base/span.h"

#include <sqlite3.h>
#include <stdint.h>

struct db {
	sqlite3 *handle;
	sqlite3_stmt **stmt; /* by index of the table given to db_prepare */
	unsigned stmts;
	int64_t busy_ms;    /* how long to wait for a lock of SQLite's; 0: not at all */
	int64_t busy_until; /* when the wait under way ends, monotonic ms */
};

#define DB_BUSY_MS 5000 /* for whom no caller waits */

/* Opens without creating (create: for journal.db and --init only; a new file is 0600), then: busy
 * handler with short sleeps (busy_ms for each wait), WAL mode checked, synchronous FULL,
 * wal_autocheckpoint 0, NO_CKPT_ON_CLOSE, PERSIST_WAL, trusted_schema off, DEFENSIVE, triggers off,
 * mmap off, temp_store memory. 0 or -1: EX_CONFIG when the file is missing or no database;
 * EX_TEMPFAIL when it is not in WAL mode, which a person has done and can undo. d needs no
 * initialisation, and is closed on failure. */
int db_open(struct db *d, const char *path, bool create, int64_t busy_ms, struct err *e);
void db_close(struct db *d);
/* Prepares all of them; where sql[i] is NULL there is no statement i. Once per connection. */
int db_prepare(struct db *d, const char *const *sql, unsigned n, struct err *e);
int db_exec(struct db *d, const char *sql, struct err *e);
/* The statement, reset and with its bindings cleared. */
sqlite3_stmt *db_stmt(struct db *d, unsigned i);
/* SQLITE_ROW: 1, SQLITE_DONE: 0 (and the statement is reset), else -1 with err (and reset). */
int db_step(struct db *d, sqlite3_stmt *s, struct err *e);
/* The WAL into the database, and emptied. A reader or writer in the way is not waited for: another
 * time. For whom nobody else's checkpoint or commit runs beside (rule 2). Whether it was done. */
bool db_checkpoint(struct db *d);
/* The same, but the file keeps its size, and the next commits overwrite it: so their sync has no
 * new size to write down. */
bool db_checkpoint_keep(struct db *d);
/* An integer that one PRAGMA answers: "PRAGMA user_version". 0 or -1. */
int db_pragma(struct db *d, const char *sql, int64_t *ret, struct err *e);
/* Fills err from the handle, with SQLite's words: EX_CONFIG (not a database, or another schema),
 * EX_DATAERR (a rule of the schema refuses a value), else EX_TEMPFAIL. -1. */
int db_err(struct db *d, const char *what, struct err *e);
void db_bind_span(sqlite3_stmt *s, int i, struct span v); /* text; borrowed until reset */
void db_bind_text(sqlite3_stmt *s, int i, const char *v); /* the same; NULL is NULL */
void db_bind_blob(sqlite3_stmt *s, int i, const void *p, size_t n);

#endif

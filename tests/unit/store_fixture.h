/*
 * A queue of its own for each test, in a temporary directory that goes afterwards; and a plain
 * SQLite handle beside it with triggers on, as a person's `sqlite3` has.
 */
#ifndef CENMAIL_STORE_FIXTURE_H
#define CENMAIL_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/random.h"
#include "store/db.h"
#include "store/store.h"

#include <ftw.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct fixture {
	char dir[64], path[96];
	struct store *s; /* STORE_FLUSH */
	sqlite3 *hand;
};

#define T0 INT64_C(1800000000000)

static inline int fixture_unlink(const char *p, const struct stat *st, int type, struct FTW *f)
{
	return remove(p);
}

static inline int fixture_dir(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	assert_non_null(f);
	snprintf(f->dir, sizeof f->dir, "/tmp/cenmail-store-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/queue.db", f->dir);
	*state = f;
	return 0;
}

static inline void fixture_init(struct fixture *f)
{
	struct err e = { 0 };
	int64_t from = -1, to;
	if (store_init(f->path, &from, &to, &e) < 0)
		fail_msg("init: %s", e.text);
	assert_int_equal(from, 0);
}

static inline void fixture_open(struct fixture *f)
{
	struct err e = { 0 };
	if (store_open(&f->s, f->path, STORE_FLUSH, 5000, &e) < 0)
		fail_msg("open: %s", e.text);
	assert_int_equal(
		sqlite3_open_v2(f->path, &f->hand, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	sqlite3_busy_timeout(f->hand, 5000);
	sqlite3_wal_autocheckpoint(f->hand, 0);
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

/* Before a fork: SQLite's handles don't live through one. */
static inline void fixture_close(struct fixture *f)
{
	sqlite3_close(f->hand);
	store_close(f->s);
	f->hand = NULL;
	f->s = NULL;
}

static inline int fixture_setup(void **state)
{
	fixture_dir(state);
	fixture_init(*state);
	fixture_open(*state);
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	fixture_close(f);
	nftw(f->dir, fixture_unlink, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

/* A statement by hand, which must work. */
static inline void by_hand(struct fixture *f, const char *sql)
{
	char *words = NULL;
	if (sqlite3_exec(f->hand, sql, NULL, NULL, &words) != SQLITE_OK)
		fail_msg("%s: %s", sql, words);
}

/* A statement by hand that must be refused with these words. */
static inline void refused(struct fixture *f, const char *sql, const char *words)
{
	char *said = NULL;
	int rc = sqlite3_exec(f->hand, sql, NULL, NULL, &said);
	if (rc == SQLITE_OK)
		fail_msg("not refused: %s", sql);
	if (!said || !strstr(said, words))
		fail_msg("%s: said \"%s\", not \"%s\"", sql, said, words);
	sqlite3_free(said);
}

/* The first column of the first row as text in a static buffer; "" for NULL, "none" for no row. */
static inline const char *ask(struct fixture *f, const char *sql)
{
	static char answer[4096];
	sqlite3_stmt *q = NULL;
	if (sqlite3_prepare_v2(f->hand, sql, -1, &q, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(f->hand));
	const unsigned char *p = NULL;
	bool row = sqlite3_step(q) == SQLITE_ROW;
	if (row)
		p = sqlite3_column_text(q, 0);
	snprintf(answer, sizeof answer, "%s", row ? p ? (const char *)p : "" : "none");
	sqlite3_finalize(q);
	return answer;
}

static inline void ask_is(struct fixture *f, const char *sql, const char *want)
{
	const char *got = ask(f, sql);
	if (strcmp(got, want) != 0)
		fail_msg("%s: \"%s\", not \"%s\"", sql, got, want);
}

/* A submission with a fresh key, to the addresses given (at most 8, NULL ends them). */
struct fixture_mail {
	struct store_submission m;
	struct store_rcpt rcpt[8];
};
static inline void fixture_mail(struct fixture_mail *x, const char *content, const char *to, ...)
{
	va_list ap;
	*x = (struct fixture_mail) { 0 };
	random_bytes(x->m.key, sizeof x->m.key);
	x->m.submitted = T0;
	x->m.uid = 1000;
	x->m.sender = "sender@example.com";
	x->m.message_id = "<id@example.com>";
	x->m.content = span_of(content);
	x->m.rcpt = x->rcpt;
	va_start(ap, to);
	for (; to; to = va_arg(ap, const char *))
		x->rcpt[x->m.rcpts++].address = to;
	va_end(ap);
}

static inline int64_t fixture_put(struct fixture *f, const struct store_submission *m)
{
	struct err e = { 0 };
	int64_t id = 0;
	if (store_put(f->s, m, &id, &e) < 0)
		fail_msg("put: %s", e.text);
	return id;
}

/* Which points of a sweep are tried: each where CENMAIL_SOAK is set, else one in `stride`, from a
 * first that CENMAIL_SEED (a number) or chance picks. */
struct sample {
	unsigned seed, first, stride;
};
static inline struct sample sample_of(unsigned stride)
{
	struct sample s = { .stride = secure_getenv("CENMAIL_SOAK") ? 1 : stride };
	const char *seed = secure_getenv("CENMAIL_SEED");
	if (seed)
		s.seed = (unsigned)strtoul(seed, NULL, 10);
	else
		random_bytes((unsigned char *)&s.seed, sizeof s.seed);
	s.first = 1 + s.seed % s.stride;
	return s;
}
static inline void sample_tell(const struct sample *s, unsigned last)
{
	print_message("seed %u: %u points of about %u\n", s->seed,
		(last - s->first) / s->stride + 1, last);
}

/* Runs fn in a child that is killed before its nth system call. What it ended with, or -1 when it
 * was killed. */
static inline int killed_at(unsigned n, int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(fn(arg));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* Two stops a call: at its entry and at its exit. */
	for (unsigned stops = 0; !WIFEXITED(status); stops++) {
		if (stops == 2 * n - 1)
			kill(pid, SIGKILL);
		else
			ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (WIFSIGNALED(status))
			return -1;
	}
	return WEXITSTATUS(status);
}

#define unit(t)     cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)
#define unit_dir(t) cmocka_unit_test_setup_teardown(t, fixture_dir, fixture_teardown)

/* What was stored as fixture_mail has it, 8-bit, with RET and ENVID of "abc", is read back so. */
static inline void fixture_loads(struct fixture *f, int64_t id, struct span content)
{
	struct store_message got;
	struct err e = { 0 };
	assert_int_equal(store_load(f->s, id, &got, &e), 1);
	assert_int_equal(got.id, id);
	assert_int_equal(got.submitted, T0);
	assert_int_equal(got.uid, 1000);
	assert_string_equal(got.sender, "sender@example.com");
	assert_string_equal(got.message_id, "<id@example.com>");
	assert_true(got.eightbit);
	assert_string_equal(got.ret, "HDRS");
	assert_string_equal(got.envid, "abc");
	assert_true(span_eq(buf_span(&got.content), content));
	store_message_done(&got);
}

#endif

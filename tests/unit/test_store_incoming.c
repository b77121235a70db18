/*
 * incoming/: what is written is read back, in order, once, whatever dies when.
 */
#include "tests/unit/incoming_fixture.h"

#include <sys/resource.h>
#include <sys/syscall.h>

static bool dies_at_removal;

int unlinkat(int dir, const char *name, int flags)
{
	if (dies_at_removal)
		raise(SIGKILL);
	return (int)syscall(SYS_unlinkat, dir, name, flags);
}

static void what_is_written_arrives(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct told t;

	rich(&x);
	write_one(f, &x.m);
	assert_int_equal(names(f, "", NULL), 1);
	t = import(f);
	assert_int_equal(t.taken, 1);
	assert_int_equal(names(f, "", NULL), 0);
	fixture_loads(f, 1, x.m.content);
	ask_is(f,
		"select group_concat(address||'|'||ifnull(notify,'')||'|'||ifnull(orcpt,''),' ') "
		"from recipient",
		"a@example.com|SUCCESS,FAILURE| \"x' y\"@b||rfc822;a@example.com");
	ask_is(f, "select group_concat(submitted||' '||bytes) from hour", "2 38");
}

static void oldest_first_and_counted_once(void **state)
{
	static const struct {
		const char *sender;
		int64_t at;
	} mail[] = { { "c@x", T0 + 20 }, { "a@x", T0 }, { "", T0 + 30 }, { "b@x", T0 + 3 } };
	struct fixture *f = *state;
	struct fixture_mail x;
	char name[300], file[4096], path[1024];
	struct told t;
	size_t n;

	for (size_t i = 0; i < sizeof mail / sizeof *mail; i++) {
		fixture_mail(&x, "", "a@example.com", NULL);
		x.m.sender = mail[i].sender;
		x.m.submitted = mail[i].at;
		x.m.message_id = "";
		write_one(f, &x.m);
	}
	/* One comes back, as after a crash between COMMIT and the removal of its name. */
	names(f, "", name);
	n = slurp(in(f, name), file, sizeof file);
	t = import(f);
	assert_string_equal(t.order, "a@x b@x c@x  ");
	snprintf(path, sizeof path, "%s", in(f, name));
	spill(path, file, n);
	t = import(f);
	assert_int_equal(t.taken, 1);
	assert_int_equal(names(f, "", NULL), 0);
	ask_is(f, "select count(*) from message", "4");
	ask_is(f, "select count(*) from recipient", "4");
	ask_is(f, "select sum(submitted) from hour", "4");
}

static void in_portions(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct told t = { 0 };
	bool more = false;

	for (int i = 0; i < 5; i++) {
		fixture_mail(&x, "x\r\n", "a@example.com", NULL);
		write_one(f, &x.m);
	}
	assert_int_equal(incoming_import(f->s, f->path, 2, tell, &t, &more, NULL), 0);
	assert_true(more && t.taken == 2 && names(f, "", NULL) == 3);
	assert_int_equal(incoming_import(f->s, f->path, 3, tell, &t, &more, NULL), 0);
	assert_true(!more && t.taken == 5 && names(f, "", NULL) == 0);
}

/* --- the writer --- */

static void nothing_is_left_of_what_fails(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct err e = { 0 };
	struct rlimit old, tiny = { 100, 100 };

	fixture_mail(&x, "x\r\n", "a@example.com\nrecipient b@example.com", NULL);
	assert_int_equal(incoming_write(f->path, &x.m, &e), -1);
	assert_int_equal(e.code, EX_DATAERR);
	assert_int_equal(names(f, "", NULL), 0);

	fixture_mail(&x, "x\r\n", "a@example.com", NULL);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	tiny.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &tiny);
	assert_int_equal(incoming_write(f->path, &x.m, &e), -1);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(e.code, EX_TEMPFAIL);
	assert_int_equal(names(f, "", NULL), 0);
}

static void the_directory(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct err e = { 0 };
	struct stat st;
	char name[300];

	fixture_mail(&x, "x\r\n", "a@example.com", NULL);
	/* Modes don't follow the umask (A8), and only it being missing is mended. */
	rmdir(in(f, ""));
	umask(0777);
	write_one(f, &x.m);
	umask(022);
	assert_int_equal(stat(in(f, ""), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	names(f, "", name);
	assert_int_equal(stat(in(f, name), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(incoming_write("/nonexistent/queue.db", &x.m, &e), -1);
	assert_int_equal(e.code, EX_CONFIG);
}

/* --- the queue can't be had --- */

static void a_moved_database_takes_nothing(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct told t = { 0 };
	struct err e = { 0 };
	bool more;
	char away[128];

	fixture_mail(&x, "x\r\n", "a@example.com", NULL);
	write_one(f, &x.m);
	snprintf(away, sizeof away, "%s.away", f->path);
	rename(f->path, away);
	assert_int_equal(incoming_import(f->s, f->path, 9, tell, &t, &more, &e), -1);
	assert_int_equal(e.code, EX_CONFIG);
	assert_int_equal(names(f, "", NULL), 1);
	rename(away, f->path);
	assert_int_equal(import(f).taken, 1);
}

static unsigned listed;

static void list_one(void *arg, const struct store_submission *m)
{
	struct fixture_mail *x = arg;

	assert_string_equal(m->sender, x->m.sender);
	assert_int_equal(m->content.n, x->m.content.n);
	assert_int_equal(m->rcpts, x->m.rcpts);
	listed++;
}

static void listed_without_its_content(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct store_rcpt *many = calloc(3000, sizeof *many);

	rich(&x);
	write_one(f, &x.m);
	listed = 0;
	assert_int_equal(incoming_list(f->path, list_one, &x, NULL), 0);
	assert_int_equal(listed, 1);
	import(f);
	assert_int_equal(incoming_list(f->path, list_one, &x, NULL), 0);
	assert_int_equal(listed, 1);
	/* A header of many pieces. */
	for (unsigned i = 0; i < 3000; i++)
		many[i].address = "somebody.with.a.name@example.com";
	x.m.rcpt = many;
	x.m.rcpts = 3000;
	write_one(f, &x.m);
	assert_int_equal(incoming_list(f->path, list_one, &x, NULL), 0);
	assert_int_equal(listed, 2);
	free(many);
}

/* --- kills (A11, C1): at every system call --- */

struct act {
	const char *path;
	struct store_submission *m;
};

static int run_writer(void *arg)
{
	struct act *a = arg;

	return incoming_write(a->path, a->m, NULL) == 0 ? 0 : 1;
}

static int run_import(void *arg)
{
	struct act *a = arg;
	struct store *s;
	struct told t = { 0 };
	bool more;

	if (store_open(&s, a->path, STORE_FLUSH, 5000, NULL) < 0 ||
		incoming_import(s, a->path, 10, tell, &t, &more, NULL) < 0)
		return 1;
	return 0;
}

static void writer_killed_at_every_call(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	int rc = -1;
	unsigned n, whole = 0;

	for (n = 1; rc != 0; n++) {
		char query[200];
		struct act a = { f->path, &x.m };
		struct told t;

		rich(&x);
		fixture_close(f);
		rc = killed_at(n, run_writer, &a);
		fixture_open(f);
		assert_true(rc <= 0);
		t = import(f);
		assert_true(t.aside == 0 && t.taken <= 1 && (rc != 0 || t.taken == 1));
		whole += t.taken;
		snprintf(query, sizeof query, "select count(*) from message where id=%u", whole);
		ask_is(f, query, whole ? "1" : "0");
	}
	assert_true(whole >= 2); /* killed after the rename: there, though nobody was told */
	ask_is(f, "pragma integrity_check", "ok");
	print_message("writer: %u points of %u\n", n - 1, n - 1);
}

static void importer_killed_at_every_call(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	int rc = -1;
	unsigned n, again = 0;

	for (n = 1; rc != 0; n++) {
		struct act a = { f->path, NULL };
		char want[16];
		bool there;

		rich(&x);
		write_one(f, &x.m);
		fixture_close(f);
		rc = killed_at(n, run_import, &a);
		fixture_open(f);
		assert_true(rc <= 0);
		snprintf(want, sizeof want, "%u", n);
		there = strcmp(ask(f, "select count(*) from message"), want) == 0;
		if (names(f, "", NULL) == 1)
			again += there; /* both: only the key keeps it from coming twice */
		else
			assert_true(there);
		import(f);
		ask_is(f, "select count(*) from message", want);
		assert_int_equal(names(f, "", NULL), 0);
	}
	ask_is(f, "pragma integrity_check", "ok");
	ask_is(f, "select sum(submitted)=(select count(*) from recipient) from hour", "1");
	print_message("importer: %u points of %u, %u of them between COMMIT and removal\n", n - 1,
		n - 1, again);
}

/* The one moment at which only the key keeps it from coming twice: a sweep may miss it, as the
 * calls before it are not the same in each run. */
static void importer_killed_between_commit_and_removal(void **state)
{
	struct fixture *f = *state;
	struct act a = { f->path, NULL };
	struct fixture_mail x;
	int status;

	rich(&x);
	write_one(f, &x.m);
	fixture_close(f);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dies_at_removal = true;
		_exit(run_import(&a));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	fixture_open(f);
	assert_int_equal(names(f, "", NULL), 1);
	ask_is(f, "select count(*) from message", "1");
	assert_int_equal(import(f).taken, 1);
	assert_int_equal(names(f, "", NULL), 0);
	ask_is(f, "select count(*) from message", "1");
	ask_is(f, "select sum(submitted) from hour", "2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(what_is_written_arrives),
		unit(oldest_first_and_counted_once),
		unit(in_portions),
		unit(nothing_is_left_of_what_fails),
		unit(the_directory),
		unit(a_moved_database_takes_nothing),
		unit(listed_without_its_content),
		unit(writer_killed_at_every_call),
		unit(importer_killed_at_every_call),
		unit(importer_killed_between_commit_and_removal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

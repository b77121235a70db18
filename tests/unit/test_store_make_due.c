/*
 * What `sendmail -q` does to the queue: the same as a person does by `update recipient set
 * state='queued'`, but only to what waits.
 */
#include "tests/unit/store_fixture.h"

static bool all(void *arg, const struct store_listed *l)
{
	return true;
}

static bool same_address(void *arg, const struct store_listed *l)
{
	return strcmp(l->address, arg) == 0;
}

static unsigned make_due(
	struct fixture *f, bool (*fn)(void *arg, const struct store_listed *l), void *arg)
{
	struct store *s;
	struct err e = { 0 };
	unsigned n = 12345;

	if (store_open(&s, f->path, STORE_HAND, 5000, &e) < 0)
		fail_msg("%s", e.text);
	if (store_make_due(s, T0 + 7, fn, arg, &n, &e) < 0)
		fail_msg("%s", e.text);
	store_close(s);
	return n;
}

/* As the flusher would: no trigger sees it. */
static void set(struct fixture *f, const char *what)
{
	char sql[512];

	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	snprintf(sql, sizeof sql, "update recipient set %s", what);
	by_hand(f, sql);
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 1, NULL);
}

static void put(struct fixture *f)
{
	struct fixture_mail x;
	fixture_mail(&x, "x\r\n", "a@x", "b@x", NULL);
	fixture_put(f, &x.m);
}

#define LATER "next_try=1900000000000,tries=3,version=5,last_reply='451 not now'"
#define ROWS                                                                                       \
	"select group_concat(id||state||version||' '||tries||hex(once)||' '||since||last_reply)"   \
	" from recipient"
#define NOTES                                                                                      \
	"select group_concat(message||' '||recipient||' '||address||' '||relay||code||enhanced||"  \
	"reply||ifnull(ms,'')||maybe_sent) from attempt"

static void what_waits_becomes_due_as_by_hand(void **state)
{
	struct fixture *f = *state;
	char rows[4096], notes[4096];

	put(f);
	set(f, LATER);
	by_hand(f, "update recipient set state='queued'");
	snprintf(rows, sizeof rows, "%s", ask(f, ROWS));
	snprintf(notes, sizeof notes, "%s", ask(f, NOTES));
	assert_non_null(strstr(notes, "1 2 b@x by hand0due now0"));
	by_hand(f, "delete from attempt");
	set(f, LATER);

	assert_int_equal(make_due(f, all, NULL), 2);
	ask_is(f, ROWS, rows);
	ask_is(f, NOTES, notes);
	ask_is(f, "select group_concat(next_try) from recipient", "1800000000007,1800000000007");
	ask_is(f, "select group_concat(at) from attempt", "1800000000007,1800000000007");
}

static void only_what_is_wanted(void **state)
{
	struct fixture *f = *state;

	put(f);
	set(f, LATER);
	assert_int_equal(make_due(f, same_address, (void *)"b@x"), 1);
	ask_is(f, "select group_concat(next_try) from recipient", "1900000000000,1800000000007");
	ask_is(f, "select group_concat(address) from attempt", "b@x");
}

static void what_does_not_wait_stays(void **state)
{
	static const char *const row[] = { "next_try=1800000000007", "next_try=5",
		"state='held',next_try=1900000000000", "state='sent',next_try=1900000000000",
		"state='failed',next_try=1900000000000" };
	struct fixture *f = *state;

	put(f);
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		char before[4096];
		set(f, row[i]);
		snprintf(before, sizeof before, "%s", ask(f, ROWS));
		assert_int_equal(make_due(f, all, NULL), 0);
		ask_is(f, ROWS, before);
		ask_is(f, "select count(*) from attempt", "0");
	}
}

/* More than a page, and what was changed between the reading of a page and its writing. */
static bool all_and_meddle(void *arg, const struct store_listed *l)
{
	struct fixture *f = arg;
	if (strcmp(l->address, "a@x") == 0 && l->message == 1)
		by_hand(f, "update recipient set state='held' where id=2");
	return true;
}

static void many_and_meddled_with(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 125; i++)
		put(f);
	set(f, LATER);
	assert_int_equal(make_due(f, all_and_meddle, f), 249);
	ask_is(f, "select count(*) from recipient where next_try=1800000000007", "249");
	ask_is(f, "select count(distinct recipient) from attempt where reply='due now'", "249");
	ask_is(f, "select state||next_try from recipient where id=2", "held1900000000000");
	assert_int_equal(make_due(f, all, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(what_waits_becomes_due_as_by_hand),
		unit(only_what_is_wanted),
		unit(what_does_not_wait_stays),
		unit(many_and_meddled_with),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

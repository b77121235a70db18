/*
 * Verdicts: what a recipient becomes, what is counted and kept, and that a change by hand made
 * while it was in flight is not overwritten (C18).
 */
#include "tests/unit/store_fixture.h"

static struct reply ok = { 250, "2.0.0", "Ok 0106-000000" };
static struct reply no = { 550, "5.1.1", "no such user" };
static struct reply later = { 451, "4.3.0", "not now" };
static struct reply silence = { 0, "", "connection lost after the content" };

static struct store_settlement settlement(int64_t recipient, int64_t message, const char *address)
{
	return (struct store_settlement) { .recipient = recipient,
		.message = message,
		.version = 1,
		.address = address,
		.relay = "lmtps://10.20.8.37:3535",
		.reply = &ok,
		.state = STORE_SENT,
		.counts = true,
		.ses_id = "0106-000000",
		.at = T0 + 900,
		.queued_ms = 600,
		.connect_ms = 100,
		.hop_ms = 50,
		.ses_ms = 150 };
}

static void settle(
	struct fixture *f, const struct store_settlement *v, unsigned n, int64_t keep, bool *done)
{
	struct err e = { 0 };
	if (store_settle(f->s, v, n, keep, done, &e) < 0)
		fail_msg("settle: %s", e.text);
}

static void put(struct fixture *f, const char *a, const char *b)
{
	struct fixture_mail x;
	fixture_mail(&x, "x\r\n", a, b, NULL);
	fixture_put(f, &x.m);
}

static void each_verdict(void **state)
{
	struct fixture *f = *state;
	put(f, "a@x", "b@x");
	put(f, "c@x", "d@x");
	struct store_settlement v[4];
	bool done[4] = { true, true, false, false };
	v[0] = settlement(1, 1, "a@x");
	v[1] = settlement(2, 1, "b@x");
	v[1].state = STORE_QUEUED;
	v[1].reply = &later;
	v[1].next_try = T0 + 60000;
	v[2] = settlement(3, 2, "c@x");
	v[2].state = STORE_FAILED;
	v[2].reply = &no;
	v[3] = settlement(4, 2, "d@x");
	settle(f, v, 4, 0, done);
	assert_true(!done[0] && !done[1] && done[2] && done[3]);
	ask_is(f, "select group_concat(state||' '||tries||' '||ifnull(settled,'-')) from recipient",
		"sent 1 1800000000900,queued 1 -,failed 1 1800000000900,sent 1 1800000000900");
	ask_is(f, "select ses_id||' '||queued||' '||connect||' '||hop||' '||ses from delivered",
		"0106-000000 0.6 0.1 0.05 0.15");
	ask_is(f, "select recipient||' '||code||' '||reply from undeliverable",
		"c@x 550 550 5.1.1 no such user");
	ask_is(f, "select next_try=1800000060000 from recipient where id=2", "1");
	ask_is(f, "select recipient||' '||last_reply from mailq", "b@x 451 4.3.0 not now");
	ask_is(f, "select count(*) from attempts where relay='lmtps://10.20.8.37:3535'", "4");
	ask_is(f,
		"select recipient||' '||code||' '||enhanced||' '||reply||' '||seconds"
		" from attempts where id=1",
		"a@x 250 2.0.0 Ok 0106-000000 0.2");
	ask_is(f, "select delivered||' '||deferred||' '||failed||' '||slowest from hourly",
		"2 1 1 0.9");
	/* A message with a failed recipient keeps its content: it may be sent again. */
	ask_is(f, "select group_concat(message) from content", "1,2");
}

static void content_goes_with_the_last_sent(void **state)
{
	static const struct {
		int64_t keep;
		const char *left;
	} row[] = { { 0, "0" }, { 1, "1" } };
	struct fixture *f = *state;
	for (unsigned i = 0; i < 2; i++) {
		by_hand(f, "delete from message");
		put(f, "a@x", "b@x");
		int64_t message = strtol(ask(f, "select max(id) from message"), NULL, 10);
		int64_t first = strtol(ask(f, "select min(id) from recipient"), NULL, 10);
		struct store_settlement v[2] = { settlement(first, message, "a@x"),
			settlement(first + 1, message, "b@x") };
		bool done[2] = { true, false };
		settle(f, v, 1, row[i].keep, done);
		assert_false(done[0]);
		ask_is(f, "select count(*) from content", "1");
		settle(f, v + 1, 1, row[i].keep, done + 1);
		assert_true(done[1]);
		ask_is(f, "select count(*) from content", row[i].left);
	}
}

static void the_road_does_not_count(void **state)
{
	struct fixture *f = *state;
	put(f, "a@x", NULL);
	struct store_settlement v = settlement(1, 1, "a@x");
	v.state = STORE_QUEUED;
	v.reply = &silence;
	v.counts = false;
	v.quiet = true;
	settle(f, &v, 1, 0, NULL);
	ask_is(f, "select tries||' '||last_reply from recipient",
		"0 connection lost after the content");
	ask_is(f, "select count(*) from attempts", "0");
	ask_is(f, "select sum(deferred) from hour", "0");
}

static void doubt_is_kept_and_cleared(void **state)
{
	struct fixture *f = *state;
	put(f, "a@x", NULL);
	struct store_settlement v = settlement(1, 1, "a@x");
	v.state = STORE_QUEUED;
	v.reply = &silence;
	v.maybe_sent = true;
	v.doubt_journal = "tokyo1";
	v.doubt_until = T0 + 1000000;
	settle(f, &v, 1, 0, NULL);
	ask_is(f, "select doubt_journal||' '||doubt_until from recipient", "tokyo1 1800001000000");
	ask_is(f, "select maybe_sent from attempts", "1");
	v = settlement(1, 1, "a@x");
	settle(f, &v, 1, 0, NULL);
	ask_is(f, "select state||doubt_journal||doubt_until from recipient", "sent0");
}

static void a_hand_is_not_overwritten(void **state)
{
	static const struct {
		const char *by_hand, *question, *want;
		bool done;
	} row[] = {
		{ "update recipient set state='held' where id=1",
			"select state||version from recipient where id=1", "held2", false },
		{ "update recipient set address='new@x' where id=1",
			"select state||address||(version>1) from recipient where id=1",
			"queuednew@x1", false },
		{ "update recipient set state='failed' where id=1",
			"select state||ifnull(ses_id,'-') from recipient where id=1", "failed-",
			true },
		{ "delete from recipient where id=1", "select count(*) from recipient where id=1",
			"0", true },
		{ "delete from message where id=1", "select count(*) from message", "0", true },
	};
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		struct fixture *f = *state;
		put(f, "a@x", NULL);
		by_hand(f, row[i].by_hand);
		struct store_settlement v = settlement(1, 1, "a@x");
		bool done = !row[i].done;
		settle(f, &v, 1, 0, &done);
		assert_int_equal(done, row[i].done);
		ask_is(f, row[i].question, row[i].want);
		/* The try is on record all the same, and nothing was counted twice. */
		ask_is(f, "select count(*) from attempts where code=250 and recipient='a@x'", "1");
		ask_is(f, "select sum(delivered) from hour", "0");
		fixture_teardown(state);
		fixture_setup(state);
	}
}

/* Released again before the next try, it has another version: that one's verdict counts. */
static void a_later_try_counts(void **state)
{
	struct fixture *f = *state;
	put(f, "a@x", NULL);
	by_hand(f, "update recipient set state='held'");
	by_hand(f, "update recipient set state='queued'");
	struct store_settlement v = settlement(1, 1, "a@x");
	v.version = strtol(ask(f, "select version from recipient"), NULL, 10);
	assert_true(v.version > 1);
	settle(f, &v, 1, 0, NULL);
	ask_is(f, "select state from recipient", "sent");
}

static void doubt_survives_a_hand(void **state)
{
	struct fixture *f = *state;
	put(f, "a@x", "b@x");
	by_hand(f, "update recipient set state='held' where id=1");
	by_hand(f, "update recipient set address='new@x' where id=2");
	struct store_settlement v[2] = { settlement(1, 1, "a@x"), settlement(2, 1, "b@x") };
	for (unsigned i = 0; i < 2; i++) {
		v[i].state = STORE_QUEUED;
		v[i].reply = &silence;
		v[i].maybe_sent = true;
		v[i].doubt_journal = "tokyo1";
		v[i].doubt_until = T0 + 5;
	}
	settle(f, v, 2, 0, NULL);
	/* The same address: that journal may know the token. Another one: it can't. */
	ask_is(f, "select group_concat(state||' '||doubt_journal) from recipient",
		"held tokyo1,queued ");
}

static void a_group_is_whole_or_not_at_all(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	put(f, "a@x", "b@x");
	struct store_settlement v[2] = { settlement(1, 1, "a@x"), settlement(2, 1, "b@x") };
	v[1].state = STORE_QUEUED;
	v[1].next_try = -1; /* refused by the schema */
	assert_int_equal(store_settle(f->s, v, 2, 0, NULL, &e), -1);
	ask_is(f, "select group_concat(state) from recipient", "queued,queued");
	ask_is(f, "select count(*) from attempt", "0");
	v[1].next_try = T0;
	settle(f, v, 2, 0, NULL);
	ask_is(f, "select group_concat(state) from recipient", "sent,queued");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(each_verdict),
		unit(content_goes_with_the_last_sent),
		unit(the_road_does_not_count),
		unit(doubt_is_kept_and_cleared),
		unit(a_hand_is_not_overwritten),
		unit(a_later_try_counts),
		unit(doubt_survives_a_hand),
		unit(a_group_is_whole_or_not_at_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

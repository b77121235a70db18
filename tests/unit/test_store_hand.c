/*
 * SQL by hand, as an operator's `sqlite3` does it: what is right works and leaves its trace, what
 * is wrong is refused with words that say what to do.
 */
#include "tests/unit/store_fixture.h"

static void put(struct fixture *f)
{
	struct fixture_mail x;
	fixture_mail(&x, "x\r\n", "a@x", "b@x", NULL);
	fixture_put(f, &x.m);
}

/* Recipient 1 as if it had been tried. */
static void make(struct fixture *f, const char *set)
{
	char sql[512];
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	snprintf(sql, sizeof sql, "update recipient set %s where id=1", set);
	by_hand(f, sql);
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 1, NULL);
}

static void wrong_ones_are_refused(void **state)
{
	static const struct {
		const char *sql, *words;
	} row[] = {
		{ "update recipient set state='gone'", "state: queued, held, sent or failed" },
		{ "update recipient set state=null", "state" },
		{ "update recipient set state='sent'",
			"only a recipient whose last try is in doubt" },
		{ "update recipient set address='a@x'||char(10)||'b'", "address: one user@domain" },
		{ "update recipient set address='a@x, b@x'", "address: one user@domain" },
		{ "update recipient set address='root'", "address: one user@domain" },
		{ "update recipient set address='a@x>'", "address: one user@domain" },
		{ "update recipient set address=x'6140780a'", "address: one user@domain" },
		{ "update recipient set address='a@x'||char(0)||'y'", "address: one user@domain" },
		{ "update recipient set address=null", "address" },
		{ "update recipient set next_try='soon'", "next_try: milliseconds" },
		{ "update recipient set next_try=-1", "next_try: milliseconds" },
		{ "update recipient set next_try=4000000000000", "an hour from now at most" },
		{ "update recipient set state='held',next_try=1000*strftime('%s','now','+61 "
		  "minutes')",
			"an hour from now at most" },
		{ "update recipient set tries=0, once=randomblob(16)", "only state, address" },
		{ "update recipient set tries=-1", "only state, address" },
		{ "update recipient set ses_id='x'", "only state, address" },
		{ "update recipient set message=2", "only state, address" },
		{ "update recipient set version=version+1", "only state, address" },
		{ "update recipient set version=version+1, tries=0, once=randomblob(16)",
			"only state, address" },
		{ "update recipient set state='held', version=version+1", "only state, address" },
		{ "update recipient set warned=0", "only state, address" },
		{ "update recipient set flow=1", "only state, address" },
		{ "update message set notice=1", "a message can't be changed" },
		{ "update recipient set id=9 where id=1", "only state, address" },
		{ "update message set size=-1", "a message can't be changed" },
		{ "update message set sender='b@x'", "a message can't be changed" },
		{ "update content set data=cast('y' as blob)", "content can't be changed" },
		{ "delete from content", "content is needed" },
		{ "insert into message(key,submitted,uid,sender,size,eightbit,message_id)"
		  " values(randomblob(16),0,0,'',-5,0,'')",
			"mail enters by sendmail" },
		{ "replace into message select * from message", "mail enters by sendmail" },
		{ "replace into content select message,0,x'00' from content",
			"content can't be put in or replaced" },
		{ "insert into content values(9,0,x'00')", "content can't be put in or replaced" },
		{ "insert into recipient(message,address,once,next_try,since)"
		  " values(1,'c@x',randomblob(16),0,0)",
			"a recipient can't be added: submit the message again" },
		{ "replace into recipient select * from recipient", "a recipient can't be added" },
		{ "insert into recipient select * from recipient where true"
		  " on conflict(id) do update set tries=0",
			"a recipient can't be added" },
		{ "update or replace recipient set id=2 where id=1", "only state, address" },
		{ "update recipient set rowid=9 where id=1", "only state, address" },
		{ "update recipient set state='queued', doubt_journal='j'", "only state, address" },
		{ "update or ignore content set data=x''", "content can't be changed" },
		{ "update mailq set state='held'", "cannot modify mailq because it is a view" },
	};
	struct fixture *f = *state;
	put(f);
	const char *all = "select group_concat(state||address||version||next_try||hex(once))"
			  " from recipient";
	char before[4096];
	snprintf(before, sizeof before, "%s", ask(f, all));
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++)
		refused(f, row[i].sql, row[i].words);
	ask_is(f, all, before);
	ask_is(f, "select count(*) from attempts", "0");
}

/* What happened stays as it was said; the rules of the columns hold for whom triggers are off, too.
 */
static void attempts_and_numbers(void **state)
{
	struct fixture *f = *state;
	put(f);
	by_hand(f, "update recipient set state='held'");
	refused(f, "update attempt set reply='never'", "what happened can't be changed");
	/* A change that was noted does not open the door to others. */
	refused(f, "update recipient set version=version+1, tries=0 where id=1",
		"only state, address");
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	refused(f,
		"insert into message(key,submitted,uid,sender,size,eightbit,message_id)"
		" values(randomblob(16),0,0,'',-5,0,'')",
		"size: octets, not negative");
	refused(f,
		"insert into message(key,submitted,uid,sender,size,eightbit,message_id)"
		" values('short',0,0,'',5,0,'')",
		"key: a blob of 16 octets");
	refused(f, "update recipient set tries=-1", "tries: 0 to");
	refused(f, "update recipient set flow=64", "flow: 0 to 63");
	refused(f, "update recipient set flow='x'", "flow: 0 to 63");
	refused(f, "update message set notice=2", "notice: 0 or 1");
}

/* To hold a message is to hold what of it waits: what is settled would go out again at its release.
 */
static void holding_passes_over_what_is_settled(void **state)
{
	static const char *const settled[] = { "sent", "failed" };
	struct fixture *f = *state;
	put(f);
	for (unsigned i = 0; i < 2; i++) {
		char set[64];
		snprintf(set, sizeof set, "state='%s',settled=6,version=7", settled[i]);
		make(f, set);
		by_hand(f, "update recipient set state='held' where message=1");
		snprintf(set, sizeof set, "%s7,held", settled[i]);
		ask_is(f,
			"select group_concat(state||case id when 1 then version else '' end)"
			" from recipient",
			set);
		ask_is(f, "select count(*) from attempts where recipient='a@x'", "0");
		by_hand(f, "update recipient set state='queued' where message=1 and state='held'");
		by_hand(f, "delete from attempt");
	}
}

/* From each state to each other: what becomes of the token, the version, the tries. */
static void state_by_state(void **state)
{
	static const struct {
		const char *from, *doubt, *to, *words; /* words: refused */
		bool new_once, due_now, settled;
	} row[] = {
		{ "queued", "", "held", NULL, false, false, false },
		{ "queued", "", "failed", NULL, false, false, true },
		{ "queued", "", "sent", "only a recipient", false, false, false },
		{ "queued", "j", "sent", NULL, false, false, true },
		{ "held", "", "queued", NULL, false, true, false },
		{ "held", "", "failed", NULL, false, false, true },
		{ "held", "", "sent", "only a recipient", false, false, false },
		{ "held", "j", "sent", NULL, false, false, true },
		{ "failed", "", "queued", NULL, true, true, false },
		{ "failed", "j", "queued", NULL, false, true, false },
		{ "failed", "", "sent", "only a recipient", false, false, false },
		{ "sent", "", "queued", NULL, true, true, false },
		{ "sent", "", "failed", "it was sent", false, false, false },
	};
	struct fixture *f = *state;
	put(f);
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		char set[256], sql[256], once[64], trace[64];
		bool settled = strcmp(row[i].from, "sent") == 0 || *row[i].from == 'f';
		snprintf(set, sizeof set,
			"state='%s',doubt_journal='%s',version=7,tries=4,next_try=5,settled=%s",
			row[i].from, row[i].doubt, settled ? "6" : "null");
		make(f, set);
		by_hand(f, "delete from attempt");
		snprintf(once, sizeof once, "%.60s",
			ask(f, "select hex(once) from recipient where id=1"));
		snprintf(sql, sizeof sql, "update recipient set state='%s' where id=1", row[i].to);
		if (row[i].words) {
			refused(f, sql, row[i].words);
			ask_is(f, "select version from recipient where id=1", "7");
			continue;
		}
		by_hand(f, sql);
		bool again = settled && !row[i].settled;
		assert_int_equal(row[i].new_once,
			strcmp(once, ask(f, "select hex(once) from recipient where id=1")) != 0);
		ask_is(f, "select version>7 from recipient where id=1", "1");
		ask_is(f, "select tries from recipient where id=1", again ? "0" : "4");
		ask_is(f, "select next_try>1700000000000 from recipient where id=1",
			row[i].due_now ? "1" : "0");
		ask_is(f, "select settled is null from recipient where id=1",
			row[i].settled ? "0" : "1");
		snprintf(trace, sizeof trace, "by hand %s to %s", row[i].from, row[i].to);
		ask_is(f, "select group_concat(relay||' '||reply) from attempts", trace);
		ask_is(f, "select version from recipient where id=2", "1");
	}
}

static void queued_again_is_due_now(void **state)
{
	struct fixture *f = *state;
	put(f);
	make(f, "next_try=4000000000000");
	by_hand(f, "update recipient set state='queued'");
	/* Its verdict, when it is in flight, still counts: the version stays. */
	ask_is(f,
		"select version||' '||(next_try between 1700000000000 and 3999999999999)"
		" from recipient where id=1",
		"1 1");
	ask_is(f, "select count(*) from attempts where reply='due now'", "2");
	by_hand(f, "update recipient set next_try=1000*strftime('%s','now','+59 minutes')"
		   " where id=2");
	ask_is(f, "select count(*) from attempts where reply like 'next try at 20__-%'", "1");
}

static void a_new_address(void **state)
{
	struct fixture *f = *state;
	put(f);
	make(f, "doubt_journal='j',doubt_until=9,tries=3,next_try=4000000000000");
	char once[64];
	snprintf(once, sizeof once, "%.60s", ask(f, "select hex(once) from recipient where id=1"));
	by_hand(f, "update recipient set address='\"new one\"@example.com' where id=1");
	assert_string_not_equal(once, ask(f, "select hex(once) from recipient where id=1"));
	ask_is(f,
		"select (version>1)||' '||tries||' '||doubt_journal||(next_try<3999999999999)"
		" from recipient where id=1",
		"1 0 1");
	ask_is(f, "select recipient||' '||reply from attempts",
		"\"new one\"@example.com address was a@x");
	make(f, "state='sent',settled=5");
	refused(f, "update recipient set address='c@x' where id=1",
		"it was sent to the old address");
	by_hand(f, "update recipient set address='c@x',state='queued' where id=1");
	ask_is(f, "select state||address from recipient where id=1", "queuedc@x");
	ask_is(f, "select reply from attempt order by id desc limit 1",
		"sent to queued, address was \"new one\"@example.com");
	by_hand(f, "update recipient set state='held' where id=1");
	by_hand(f, "update recipient set address='c@x' where id=1"); /* no change, no trace */
	ask_is(f, "select count(*) from attempts", "3");
}

static void content_gone_is_not_sent_again(void **state)
{
	struct fixture *f = *state;
	put(f);
	make(f, "state='sent',settled=5");
	by_hand(f, "update recipient set state='failed' where id=2");
	by_hand(f, "delete from content");
	refused(f, "update recipient set state='queued' where id=1", "no longer kept");
}

static void dropping(void **state)
{
	struct fixture *f = *state;
	put(f);
	put(f);
	by_hand(f, "delete from message where id=1");
	ask_is(f,
		"select (select group_concat(id) from message)||(select group_concat(message) from"
		" content)||(select count(*) from recipient)",
		"222");
	ask_is(f, "select group_concat(id||recipient||relay||reply) from attempts",
		"1a@xby handqueued, dropped,1b@xby handqueued, dropped");
	by_hand(f, "delete from recipient where id=3");
	ask_is(f, "select count(*) from message", "1");
	by_hand(f, "delete from recipient where id=4");
	ask_is(f, "select (select count(*) from message)+(select count(*) from content)", "0");
	/* A number is never used twice. */
	put(f);
	ask_is(f, "select id from message", "3");
	ask_is(f, "select min(id) from recipient", "5");
}

static void views_are_readable(void **state)
{
	static const struct {
		const char *sql, *want;
	} row[] = {
		{ "select submitted from mailq", "2027-01-15 08:00:00" },
		{ "select next_try from mailq where recipient='a@x'", "2027-01-15 08:00:00" },
		{ "select group_concat(id||sender||recipient||state||tries||size) from mailq",
			"1sender@example.coma@xqueued03,1sender@example.comb@xqueued03" },
		{ "select age from mailq", "0:00:00" },
		{ "select hour from hourly", "2027-01-15 08:00" },
		{ "select submitted||' '||bytes from hourly", "2 3" },
	};
	struct fixture *f = *state;
	put(f);
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++)
		ask_is(f, row[i].sql, row[i].want);
}

/* Nothing an operator or a program asks daily walks the whole table. */
static void nothing_scans(void **state)
{
	static const char *const sql[] = {
		"select * from mailq limit 10",
		"select * from mailq where id=1",
		"select * from delivered where id=1",
		"select * from delivered order by id desc limit 10",
		"select * from undeliverable where id=1",
		"select * from attempts where id=1",
		"update recipient set state='held' where message=1",
		"delete from message where id=1",
	};
	struct fixture *f = *state;
	for (unsigned i = 0; i < sizeof sql / sizeof *sql; i++) {
		char explain[256];
		sqlite3_stmt *q;
		snprintf(explain, sizeof explain, "explain query plan %s", sql[i]);
		assert_int_equal(sqlite3_prepare_v2(f->hand, explain, -1, &q, NULL), SQLITE_OK);
		while (sqlite3_step(q) == SQLITE_ROW) {
			const char *step = (const char *)sqlite3_column_text(q, 3);
			bool walks =
				strncmp(step, "SCAN", 4) == 0 && !strstr(step, "recipient_open");
			bool backwards = strstr(sql[i], "order by id desc limit") != NULL;
			if ((walks && !backwards) || strstr(step, "TEMP B-TREE"))
				fail_msg("%s: %s", sql[i], step);
		}
		sqlite3_finalize(q);
	}
}

int main(void)
{
	setenv("TZ", "UTC", 1);
	const struct CMUnitTest tests[] = {
		unit(wrong_ones_are_refused),
		unit(attempts_and_numbers),
		unit(holding_passes_over_what_is_settled),
		unit(state_by_state),
		unit(queued_again_is_due_now),
		unit(a_new_address),
		unit(content_gone_is_not_sent_again),
		unit(dropping),
		unit(views_are_readable),
		unit(nothing_scans),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What senders have not been told: found once, told once, whatever dies in between.
 */
#include "store_fixture.h"

#include "store/notice.h"

static void make(struct fixture *f, const char *state)
{
	struct fixture_mail x;
	char sql[128];
	fixture_mail(&x, "Subject: s\r\n\r\nbody\r\n", "a@x.example", "b@x.example", NULL);
	fixture_put(f, &x.m);
	snprintf(sql, sizeof sql, "update recipient set state='%s'", state);
	by_hand(f, sql);
}

static int64_t next_untold(struct fixture *f, int64_t after)
{
	struct err e = { 0 };
	int64_t message = 0;
	if (store_untold_next(f->s, after, &message, &e) < 0)
		fail_msg("%s", e.text);
	return message;
}

/* Tells of message 1, when there is something to tell. As what is killed does. */
static int tell_one(struct store *s, struct err *e)
{
	const struct store_rcpt to = { .address = "sender@example.com", .notify = "NEVER" };
	struct store_submission m = { .submitted = T0 + 1,
		.sender = "bounces@example.com",
		.message_id = "",
		.notice = true,
		.content = span_of("Subject: notice\r\n\r\n"),
		.rcpt = &to,
		.rcpts = 1 };
	struct untold u;
	int r = store_untold_load(s, 1, NOTICE_FAILED, 0, &u, e);
	if (r <= 0)
		return r;
	random_bytes(m.key, sizeof m.key);
	struct telling t = { .untold = &u, .kind = NOTICE_FAILED, .notice = &m, .at = T0 };
	r = store_untold_head(s, &u, e) < 0 ? -1 : store_tell(s, &t, 1, 0, e);
	if (r == 0)
		r = t.done;
	store_untold_done(&u);
	return r;
}

static void found_by_an_index_of_its_own(void **state)
{
	struct fixture *f = *state;
	static const char plan[] =
		"explain query plan select message from recipient where bounce is null and "
		"(state='failed' or state='sent' and instr(notify,'SUCCESS')>0) and message>0 "
		"order by message limit 1";
	sqlite3_stmt *q;
	assert_int_equal(sqlite3_prepare_v2(f->hand, plan, -1, &q, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	assert_non_null(strstr((const char *)sqlite3_column_text(q, 3), "recipient_untold"));
	sqlite3_finalize(q);
	assert_int_equal(next_untold(f, 0), 0);
	make(f, "failed");
	assert_int_equal(next_untold(f, 0), 1);
	assert_int_equal(next_untold(f, 1), 0);
}

static void told_once(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	make(f, "failed");
	assert_int_equal(tell_one(f->s, &e), 1);
	assert_int_equal(tell_one(f->s, &e), 0);
	assert_int_equal(next_untold(f, 0), 0);
	ask_is(f, "select group_concat(bounce) from recipient where message=1", "2,2");
	ask_is(f, "select notice||sender from message where id=2", "1bounces@example.com");
	assert_int_equal(store_notices_to(f->s, "sender@example.com", T0, 10, &e), 1);
	assert_int_equal(store_notices_to(f->s, "sender@example.com", T0 + 1, 10, &e), 0);
	assert_int_equal(store_notices_to(f->s, "other@example.com", T0, 10, &e), 0);
	/* Sent anew by hand, it may fail anew. */
	by_hand(f, "update recipient set state='queued' where message=1");
	by_hand(f, "update recipient set state='failed' where message=1");
	assert_int_equal(next_untold(f, 0), 1);
}

static void changed_by_hand_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	struct untold u;
	make(f, "failed");
	assert_int_equal(store_untold_load(f->s, 1, NOTICE_FAILED, 0, &u, &e), 1);
	assert_int_equal(u.rcpts, 2);
	assert_true(u.rcpt[0].by_hand);
	by_hand(f, "update recipient set state='queued' where id=2");
	struct telling t = { .untold = &u, .kind = NOTICE_FAILED, .at = T0, .done = true };
	assert_int_equal(store_tell(f->s, &t, 1, 0, &e), 0);
	assert_false(t.done);
	ask_is(f, "select count(*) from recipient where bounce is null", "2");
	store_untold_done(&u);
}

/* C13: what the schema would not have allowed is none. */
static void values_of_the_wrong_kind(void **state)
{
	static const char *const spoil[] = {
		"update message set sender='a@b'||char(13,10)||'x: y'",
		"update message set envid='a'||char(10)||'b'",
		"update message set envid='+zz'",
		"update message set ret=x'00', notice=-1, submitted=-1",
		"update recipient set address='a@b'||char(13,10)||'Action: relayed'",
		"update recipient set address=x'6140620063', orcpt=9",
		"update recipient set orcpt='rfc822'||char(10)||'Action: x;a'",
		"update recipient set orcpt='no-type', notify=hex(zeroblob(50))",
		"update recipient set last_reply=hex(zeroblob(4000)), last_code=-1",
		"update recipient set last_reply=NULL, last_code='x'",
		"update recipient set settled='x', since=-9, last_code=600",
		"update attempt set at='x', relay=hex(zeroblob(400))",
	};
	struct fixture *f = *state;
	by_hand(f, "pragma ignore_check_constraints=1; pragma writable_schema=1;"
		   "update sqlite_master set sql=replace(sql,' NOT NULL','')"
		   " where name in ('message','recipient','attempt')");
	for (size_t i = 0; i < sizeof spoil / sizeof *spoil; i++) {
		struct err e = { 0 };
		struct untold u;
		fixture_close(f);
		fixture_open(f);
		by_hand(f, "pragma ignore_check_constraints=1");
		sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
		by_hand(f, "delete from message; delete from recipient; delete from content");
		struct fixture_mail x;
		fixture_mail(&x, "x", "a@x.example", NULL);
		const int64_t id = fixture_put(f, &x.m);
		by_hand(f, "update recipient set state='failed', settled=1");
		by_hand(f, spoil[i]);
		assert_int_equal(store_untold_load(f->s, id, NOTICE_FAILED, 0, &u, &e), 1);
		const struct untold_rcpt *r = u.rcpt;
		const char *const text[] = { u.sender, u.envid, r->address, r->orcpt, r->notify,
			r->relay, r->reply };
		for (size_t k = 0; k < sizeof text / sizeof *text; k++)
			assert_null(strpbrk(text[k], "\r\n"));
		assert_true(r->code == 0 && u.submitted >= 0 && r->since >= 0 && r->settled >= 0);
		assert_true(!u.notice && !u.headers_only && !*u.envid && !*r->orcpt);
		assert_true(strlen(u.sender) == 0 || strcmp(u.sender, "sender@example.com") == 0);
		assert_true(strlen(r->address) == 0 || strcmp(r->address, "a@x.example") == 0);
		store_untold_done(&u);
	}
}

static void late_is_walked_in_pages(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	struct fixture_mail x;
	struct late_walk w = { 0 };
	int64_t message;
	unsigned found = 0, steps = 0;
	int r;
	for (unsigned i = 0; i < 150; i++) {
		fixture_mail(&x, "x", "a@x.example", "b@x.example", "c@x.example", NULL);
		fixture_put(f, &x.m);
	}
	fixture_close(f);
	fixture_open(f);
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	by_hand(f, "update recipient set tries=1 where message in (7,140)");
	by_hand(f, "update recipient set state='held' where id=303");
	by_hand(f, "update recipient set warned=1 where message=140 and address<>'b@x.example'");
	while ((r = store_late_next(f->s, &w, T0 + 1, &message, &e)) == 1) {
		found += message == 7 || message == 140 || message == 101;
		steps++;
	}
	assert_int_equal(r, 0);
	assert_int_equal(found, 3);
	assert_in_range(steps, 4, 6);
	struct untold u;
	assert_int_equal(store_untold_load(f->s, 140, NOTICE_DELAYED, T0 + 1, &u, &e), 1);
	assert_int_equal(u.rcpts, 1);
	store_untold_done(&u);
	/* None of them is as old as that. */
	w = (struct late_walk) { 0 };
	assert_int_equal(store_late_next(f->s, &w, T0, &message, &e), 0);
}

static int run_tell(void *arg)
{
	struct store *s;
	struct err e = { 0 };
	if (store_open(&s, arg, STORE_FLUSH, 5000, &e) < 0 || tell_one(s, &e) < 0)
		return 1;
	store_close(s);
	return 0;
}

/* Killed before any system call and begun again, there is one notice, whole. */
static void killed_at_every_call(void **state)
{
	struct fixture *f = *state;
	struct sample s = sample_of(8);
	unsigned last = 0, seen[2] = { 0 };
	int rc = -1;
	fixture_close(f);
	for (unsigned n = s.first; rc < 0; n += s.stride) {
		nftw(f->dir, fixture_unlink, 8, FTW_DEPTH | FTW_PHYS);
		mkdir(f->dir, 0700);
		fixture_init(f);
		fixture_open(f);
		make(f, "failed");
		fixture_close(f);
		rc = killed_at(n, run_tell, f->path);
		last = n;
		fixture_open(f);
		const bool told =
			strcmp(ask(f, "select count(*) from message where notice=1"), "1") == 0;
		seen[told]++;
		ask_is(f, "select count(*) from recipient where bounce=2", told ? "2" : "0");
		fixture_close(f);
		assert_int_equal(run_tell(f->path), 0);
		fixture_open(f);
		ask_is(f,
			"select count(*) from message m join content c on c.message=m.id join "
			"recipient r on r.message=m.id where notice=1",
			"1");
		ask_is(f, "select count(*) from recipient where bounce=2", "2");
		fixture_close(f);
	}
	fixture_open(f);
	sample_tell(&s, last);
	assert_int_equal(rc, 0);
	assert_true(seen[0] > 0 && seen[1] > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(found_by_an_index_of_its_own),
		unit(told_once),
		unit(changed_by_hand_meanwhile),
		unit(values_of_the_wrong_kind),
		unit(late_is_walked_in_pages),
		unit(killed_at_every_call),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * How long a session waits for its client.
 */
#include "listen/session_state.h"

#include "base/clock.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define IDLE     300000
#define GREETING 120000
#define CONTENT  120000

static void say(struct session *s, const char *text)
{
	size_t used;

	server_input(s->server, span_of(text), &used);
	replies_take(s->replies, &s->out);
}

/* Terms that are not let go: refs never comes to 0. */
static struct terms terms = { .refs = 100 };
static char none[] = "";

static void make_terms(struct session *s)
{
	struct listener *l = s->l;
	struct err e = { 0 };

	terms.conf.client_messages = 512;
	terms.conf.clients = none;
	assert_int_equal(door_open(&terms.door, &terms.conf, &e), 0);
	terms_now_init(&l->terms);
	l->terms.terms = s->terms = &terms;
	l->visitors = visitors_new();
	s->visitor = visitor_enter(l->visitors, "client", 1);
}

static struct session *begin(struct listener *l)
{
	static const struct server_options o = {
		.hostname = "h", .message_size = 1000, .rcptmax = 50, .offer_lmtp = true
	};
	struct err e = { 0 };
	struct session *s = calloc(1, sizeof *s);

	assert_int_equal(stop_init(&l->stop, &e), 0);
	s->l = l;
	buf_init(&s->out, 1 << 16);
	s->replies = replies_new();
	s->server = server_new(&o, &intake_ops, s);
	snprintf(l->spool_dir, sizeof l->spool_dir, "/tmp");
	l->pool = pool_new(10, 10000, 1);
	make_terms(s);
	return s;
}

static void end(struct session *s)
{
	struct pool *pool = s->l->pool;
	struct seat seat;
	struct message *m;

	seat_init(&seat);
	while ((m = pool_take(pool, &seat, false, 0)))
		pool_give_back(pool, m);
	seat_done(&seat);
	pool_free(pool);
	stop_done(&s->l->stop);
	visitor_leave(s->l->visitors, s->visitor);
	visitors_free(s->l->visitors);
	door_close(terms.door);
	server_free(s->server);
	replies_abandon(s->replies);
	replies_unref(s->replies);
	buf_done(&s->out);
	free(s);
}

static void test_deadlines(void **state)
{
	static struct listener l;
	struct session *s = begin(&l);
	struct seat seat;

	(void)state;
	s->began = s->written = 1000;
	assert_int_equal(session_deadline(s), 1000 + GREETING);
	say(s, "LHLO c\r\n");
	s->written = 5000;
	assert_int_equal(session_deadline(s), 5000 + 120000); /* it does not take the answer */
	buf_clear(&s->out);
	assert_int_equal(session_deadline(s), 5000 + IDLE);

	/* a message is on its way: the client is not waited for */
	say(s, "MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\nx\r\n.\r\n");
	buf_clear(&s->out);
	assert_int_equal(session_deadline(s), INT64_MAX);

	/* a slow second one is not; nor does its end throw away the answer to the first */
	say(s, "MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\nx");
	s->content_since = 7000;
	s->conn.in = 100;
	assert_int_equal(session_deadline(s), 7000 + CONTENT + 100);
	server_end(s->server, "421 4.4.2 too slow");
	assert_int_equal(session_deadline(s), INT64_MAX);

	/* answered after a long time: from then on the client has its five minutes */
	seat_init(&seat);
	struct message *m = pool_take(l.pool, &seat, false, 0);
	message_answer(m, 0, "250 2.0.0 Ok");
	pool_give_back(l.pool, m);
	seat_done(&seat);
	replies_take(s->replies, &s->out);
	s->written = 9000000;
	assert_int_equal(session_deadline(s), 9000000 + 120000);
	buf_clear(&s->out);
	assert_int_equal(session_deadline(s), 9000000 + IDLE);
	end(s);
}

/* E4: a command that comes octet by octet buys no time, nor does one that never ends a line. */
static void test_octets_buy_no_time(void **state)
{
	static struct listener l;
	struct session *s = begin(&l);
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	conn_init(&s->conn, pair[0]);
	s->read_wants = POLLIN;
	s->began = s->written = clock_mono_ms() - 1000;
	const int64_t until = session_deadline(s);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(write(pair[1], "x", 1), 1);
		assert_true(session_turn(s)); /* reads it */
		assert_true(session_turn(s)); /* gives it to the engine */
	}
	assert_int_equal(session_deadline(s), until);

	/* in a transaction the whole has an end too */
	s->began = 0;
	s->written = 1000;
	say(s, "\r\nLHLO c\r\nMAIL FROM:<a@a.example>\r\n");
	s->written = (int64_t)14 * 3600 * 1000;
	assert_int_equal(session_deadline(s), (int64_t)13 * 3600 * 1000); /* it is slow to read */
	buf_clear(&s->out);
	assert_int_equal(session_deadline(s), (int64_t)13 * 3600 * 1000);
	conn_done(&s->conn);
	close(pair[1]);
	end(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_octets_buy_no_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The listener's smaller parts: answers, the ordered replies, the door.
 */
#include "listen_fixture.h"

#include "listen/answer.h"
#include "listen/door.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_answers(void **state)
{
	char out[ANSWER_MAX + 1], peer[3000];
	struct reply r = { .code = 250, .text = "Ok 0106-1" };

	(void)state;
	answer_ses(&r, 2000, 183400, out);
	assert_string_equal(out, "250 2.0.0 Ok 0106-1 wait=0.002 ses=0.183");
	r = (struct reply) { .code = 554, .enhanced = "5.7.1", .text = "no" };
	answer_ses(&r, 0, 0, out);
	assert_string_equal(out, "554 5.7.1 no wait=0.000 ses=0.000");
	answer_own(&(struct answer_own) { "451 4.4.1", VERDICT_ROAD, 30 }, out, "SES %s",
		"unreachable");
	assert_string_equal(out, "451 4.4.1 cenmail: SES unreachable class=road retry=30");
	/* a peer's words can't break the line, nor push the class away */
	memset(peer, 'x', sizeof peer);
	memcpy(peer, "a\r\n250 b", 8);
	peer[sizeof peer - 1] = '\0';
	answer_own(&(struct answer_own) { "451 4.4.1", VERDICT_LATER, 0 }, out, "%s", peer);
	assert_true(strlen(out) <= ANSWER_MAX);
	assert_null(strpbrk(out, "\r\n"));
	assert_string_equal(out + strlen(out) - 12, " class=later");
	memset(r.text, 'y', sizeof r.text - 1);
	answer_ses(&r, 0, 0, out);
	assert_true(strlen(out) <= ANSWER_MAX);
	assert_non_null(strstr(out, " wait=0.000 ses=0.000"));
}

/* Answers come in any order, and go out in the order of the messages. */
static void test_replies_keep_order(void **state)
{
	struct replies *r = replies_new();
	struct message *a = fixture_message(r, "c", "--", true),
		       *b = fixture_message(r, "c", "--", false);
	struct buf out;
	struct pollfd p = { replies_fd(r), POLLIN, 0 };
	unsigned flying;
	uint64_t octets;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(spool_add(&b->content, "content", 7, NULL), 0);
	assert_true(replies_empty(r));
	replies_add(r, span_of("1\r\n"));
	replies_add(r, span_of("2\r\n"));
	replies_owe(r, a);
	replies_add(r, span_of("5\r\n"));
	replies_owe(r, b);
	replies_flying(r, &flying, &octets);
	assert_int_equal(flying, 2);
	/* the content goes with the last answer, though the reply has to wait; its octets count */
	message_answer(b, 1, "451 b1");
	assert_non_null(b->content.mem.data);
	message_answer(b, 0, "250 b0");
	assert_null(b->content.mem.data);
	assert_int_equal(message_octets(b), 7);
	replies_take(r, &out);
	assert_string_equal(buf_str(&out), "1\r\n2\r\n");
	message_answer(a, 1, "250 a1");
	replies_take(r, &out);
	assert_string_equal(buf_str(&out), "1\r\n2\r\n");
	replies_woken(r);
	assert_int_equal(poll(&p, 1, 0), 0);
	message_answer(a, 0, "554 a0");
	assert_int_equal(poll(&p, 1, 0), 1);
	replies_take(r, &out);
	/* LMTP: each; SMTP: the one that is no success */
	assert_string_equal(buf_str(&out), "1\r\n2\r\n554 a0\r\n250 a1\r\n5\r\n451 b1\r\n");
	assert_true(replies_empty(r));
	message_unref(a);
	message_unref(b);
	/* an answer after the session has gone harms nobody */
	a = fixture_message(r, "c", "-", true);
	replies_owe(r, a);
	replies_abandon(r);
	replies_unref(r);
	message_answer(a, 0, "250 late");
	message_unref(a);
	buf_done(&out);
}

static char clients_path[] = "/tmp/cenmail-clients.XXXXXX";

static void write_clients(const char *text)
{
	FILE *f = fopen(clients_path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_door(void **state)
{
	/* SHA-256 of "secret" and of "" */
	static const char good[] =
		"# ours\n\njoe:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n"
		"ann:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855\n";
	static const char *const bad[] = { "joe\n", "joe:12\n",
		":"
		"00\n",
		"[1.2.3.4]:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n",
		"a b:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n",
		"joe:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n"
		"joe:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n" };
	char four[] = "192.0.2.0/24", six[] = "2001:db8::/32", none[] = "";
	struct conf_pair pairs[] = { { four, none }, { six, none } };
	struct conf_listen c = { .allow = { pairs, 2 }, .clients = clients_path };
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct err e = { 0 };
	struct door *d;

	(void)state;
	close(mkstemp(clients_path));
	write_clients(good);
	assert_int_equal(door_open(&d, &c, &e), 0);
	assert_true(door_wants_names(d));
	assert_true(door_knows(d, "joe", span_of("secret")));
	assert_true(door_knows(d, "ann", span_of("")));
	assert_false(door_knows(d, "joe", span_of("Secret")));
	assert_false(door_knows(d, "joe", span_of("")));
	assert_false(door_knows(d, "Joe", span_of("secret")));
	assert_false(door_knows(d, "", span_of("secret")));
	inet_pton(AF_INET, "192.0.2.255", &in.sin_addr);
	assert_true(door_allows(d, (struct sockaddr *)&in));
	inet_pton(AF_INET, "192.0.3.0", &in.sin_addr);
	assert_false(door_allows(d, (struct sockaddr *)&in));
	door_close(d);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		write_clients(bad[i]);
		assert_int_equal(door_open(&d, &c, &e), -1);
		assert_int_equal(e.code, EX_CONFIG);
		assert_non_null(strstr(e.text, clients_path));
	}
	write_clients(good);
	assert_int_equal(chmod(clients_path, 0666), 0);
	assert_int_equal(door_open(&d, &c, &e), -1);
	unlink(clients_path);
	assert_int_equal(door_open(&d, &c, &e), -1);
	/* nobody is let in where nobody is allowed */
	c = (struct conf_listen) { .clients = none };
	assert_int_equal(door_open(&d, &c, &e), 0);
	assert_false(door_allows(d, (struct sockaddr *)&in));
	assert_false(door_wants_names(d));
	door_close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_replies_keep_order),
		cmocka_unit_test(test_door),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

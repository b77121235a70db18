/*
 * conn: in the clear over a socket pair and a TCP connection; the same calls under TLS.
 */
#include "wire/conn.h"
#include "wire_pki.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

static void open_pair(struct conn c[2])
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	conn_init(&c[0], fd[0]);
	conn_init(&c[1], fd[1]);
}

static void in_the_clear(void **state)
{
	struct conn c[2];
	struct err e = { 0 };
	char in[8];
	size_t n = 77;

	open_pair(c);
	assert_true(fcntl(c[0].fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(c[0].fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(conn_read(&c[0], in, sizeof in, &n, &e), CONN_AGAIN);
	assert_int_equal(c[0].wants, POLLIN);
	assert_int_equal(n, 77);
	assert_int_equal(conn_write(&c[1], "a\0b", 3, &n, &e), CONN_OK);
	assert_int_equal(n, 3);
	assert_int_equal(conn_read(&c[0], in, sizeof in, &n, &e), CONN_OK);
	assert_int_equal(n, 3);
	assert_memory_equal(in, "a\0b", 3);
	assert_false(conn_pending(&c[0]));
	assert_int_equal(c[1].out, 3);
	assert_int_equal(c[0].in, 3);
	conn_done(&c[1]);
	assert_int_equal(c[1].fd, -1);
	assert_int_equal(conn_read(&c[0], in, sizeof in, &n, &e), CONN_EOF);
	assert_int_equal(conn_write(&c[0], "x", 1, &n, &e), CONN_FAILED);
	assert_string_equal(e.text, "lost connection: Broken pipe");
	conn_done(&c[0]);
	conn_done(&c[0]);
	conn_done(NULL);
}

static void full(void **state)
{
	struct conn c[2];
	char block[65536] = "";
	size_t n, total = 0;
	enum conn_io r;

	open_pair(c);
	while ((r = conn_write(&c[0], block, sizeof block, &n, NULL)) == CONN_OK)
		total += n;
	assert_int_equal(r, CONN_AGAIN);
	assert_int_equal(c[0].wants, POLLOUT);
	assert_int_equal(c[0].out, total);
	conn_done(&c[0]);
	conn_done(&c[1]);
}

static int option(int fd, int level, int name)
{
	int v = -1;
	socklen_t n = sizeof v;

	assert_int_equal(getsockopt(fd, level, name, &v, &n), 0);
	return v;
}

static void tcp(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof a;
	struct conn c[2];
	struct err e = { 0 };
	char in[8];
	size_t n;
	int l = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(l, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&a, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, len), 0);
	conn_init(&c[0], fd);
	conn_init(&c[1], accept(l, NULL, NULL));
	assert_true(option(fd, IPPROTO_TCP, TCP_NODELAY) != 0);
	assert_true(option(fd, SOL_SOCKET, SO_KEEPALIVE) != 0);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 120000);
	/* a reset */
	const struct linger now = { .l_onoff = 1 };
	assert_int_equal(setsockopt(c[1].fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
	conn_done(&c[1]);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(conn_read(&c[0], in, sizeof in, &n, &e), CONN_FAILED);
	assert_string_equal(e.text, "lost connection: Connection reset by peer");
	conn_done(&c[0]);
	close(l);
}

static struct pki_pair server;

static void under_tls(void **state)
{
	struct conn c[2];
	struct relay r;
	char url[200], in[4];
	struct err e = { 0 };
	size_t n = 0;

	snprintf(url, sizeof url, "lmtps://h.example pin=sha256:%s", server.pin);
	assert_int_equal(relay_parse(span_of(url), &r, NULL), 0);
	struct tls_context *cc = tls_client_context(&r, NULL);
	struct tls_context *sc = tls_server_context(server.certificate, server.key, NULL);
	open_pair(c);
	assert_int_equal(conn_start_tls(&c[0], cc, NULL), 0);
	assert_int_equal(conn_start_tls(&c[1], sc, NULL), 0);
	enum conn_io a = CONN_AGAIN, b = CONN_AGAIN;
	for (int i = 0; i < 20 && (a != CONN_OK || b != CONN_OK); i++) {
		if (a != CONN_OK)
			a = conn_handshake(&c[0], &e);
		if (a == CONN_AGAIN)
			assert_int_equal(c[0].wants, POLLIN);
		if (b != CONN_OK)
			b = conn_handshake(&c[1], &e);
	}
	assert_int_equal(a, CONN_OK);
	assert_int_equal(b, CONN_OK);
	assert_int_equal(conn_write(&c[1], "hello", 5, &n, &e), CONN_OK);
	while ((a = conn_read(&c[0], in, sizeof in, &n, &e)) == CONN_AGAIN)
		;
	assert_int_equal(a, CONN_OK);
	assert_int_equal(n, 4);
	assert_true(conn_pending(&c[0])); /* the fifth: poll() would not show it */
	assert_int_equal(conn_read(&c[0], in, sizeof in, &n, &e), CONN_OK);
	assert_int_equal(n, 1);
	assert_false(conn_pending(&c[0]));
	assert_int_equal(c[0].in, 5);
	conn_done(&c[1]);
	assert_int_equal(conn_read(&c[0], in, sizeof in, &n, &e), CONN_EOF);
	conn_done(&c[0]);
	tls_context_unref(cc);
	tls_context_unref(sc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_the_clear),
		cmocka_unit_test(full),
		cmocka_unit_test(tcp),
		cmocka_unit_test(under_tls),
	};
	signal(SIGPIPE, SIG_IGN);
	pki_init();
	pki_make(&server, &(struct pki_options) { .name = "h.example", .days = 2 });
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	pki_done();
	return r;
}

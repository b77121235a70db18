/*
 * dial: a name in a thread, its addresses in order and side by side. The resolver is ours: what it
 * answers, and when, stands in `answer`.
 */
#include "base/clock.h"
#include "wire/dial.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE 20000

struct where {
	const char *ip;
	uint16_t port;
};

static struct {
	struct where at[24];
	unsigned n;
	int rc;
} answer;
static pthread_mutex_t silent = PTHREAD_MUTEX_INITIALIZER; /* held: no answer */

static struct addrinfo *make(const struct where *w)
{
	struct addrinfo *a = calloc(1, sizeof *a + sizeof(struct sockaddr_in6));
	bool v6 = strchr(w->ip, ':') != NULL;

	a->ai_family = v6 ? AF_INET6 : AF_INET;
	a->ai_socktype = SOCK_STREAM;
	a->ai_addr = (struct sockaddr *)(a + 1);
	if (v6) {
		struct sockaddr_in6 s = { .sin6_family = AF_INET6, .sin6_port = htons(w->port) };
		inet_pton(AF_INET6, w->ip, &s.sin6_addr);
		memcpy(a->ai_addr, &s, sizeof s);
		a->ai_addrlen = sizeof s;
	} else {
		struct sockaddr_in s = { .sin_family = AF_INET, .sin_port = htons(w->port) };
		inet_pton(AF_INET, w->ip, &s.sin_addr);
		memcpy(a->ai_addr, &s, sizeof s);
		a->ai_addrlen = sizeof s;
	}
	return a;
}

int getaddrinfo(
	const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret)
{
	struct addrinfo *first = NULL, **last = &first;

	if (hints->ai_flags & AI_NUMERICHOST)
		return EAI_NONAME;
	pthread_mutex_lock(&silent);
	for (unsigned i = 0; i < answer.n && answer.rc == 0; i++) {
		*last = make(&answer.at[i]);
		last = &(*last)->ai_next;
	}
	int rc = answer.rc;
	pthread_mutex_unlock(&silent);
	*ret = first;
	return rc;
}

void freeaddrinfo(struct addrinfo *a)
{
	while (a) {
		struct addrinfo *next = a->ai_next;
		free(a);
		a = next;
	}
}

static void set_answer(int rc, const struct where *at, unsigned n)
{
	pthread_mutex_lock(&silent);
	answer.rc = rc;
	answer.n = n;
	memcpy(answer.at, at, n * sizeof *at);
	pthread_mutex_unlock(&silent);
}

static int listen_on(const char *ip, int backlog, uint16_t *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, ip, &a.sin_addr);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static uint16_t closed_port(void)
{
	uint16_t port;

	close(listen_on("127.0.0.1", 1, &port));
	return port;
}

/* A socket whose queue of connections is full answers nothing. */
struct hole {
	int fd, fill[4];
	uint16_t port;
};

static void hole_open(struct hole *h)
{
	struct sockaddr_in a = { .sin_family = AF_INET };

	h->fd = listen_on("127.0.0.1", 0, &h->port);
	inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
	a.sin_port = htons(h->port);
	for (size_t i = 0; i < 4; i++) {
		h->fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)!connect(h->fill[i], (struct sockaddr *)&a, sizeof a);
	}
}

static void hole_close(struct hole *h)
{
	for (size_t i = 0; i < 4; i++)
		close(h->fill[i]);
	close(h->fd);
}

/* To its end; no step of it may take long. */
static enum dial_state run(struct dial *d, int *ret_fd)
{
	const int64_t began = clock_mono_ms();
	enum dial_state s;

	while ((s = dial_step(d, clock_mono_ms(), ret_fd)) == DIAL_BUSY) {
		struct pollfd p = { .fd = dial_fd(d), .events = POLLIN };

		assert_true(clock_mono_ms() - began < PATIENCE);
		poll(&p, 1, clock_poll_timeout(dial_deadline(d)));
	}
	return s;
}

static void families_in_turns(void **state)
{
	static const struct {
		struct where in[6];
		const char *order;
	} t[] = {
		{ { { "::1", 1 }, { "::1", 2 }, { "::1", 3 }, { "127.0.0.1", 4 },
			  { "127.0.0.1", 5 } },
			"14253" },
		{ { { "127.0.0.1", 1 }, { "::1", 2 }, { "127.0.0.1", 3 }, { "127.0.0.1", 4 } },
			"1234" },
		{ { { "127.0.0.1", 1 }, { "127.0.0.1", 2 } }, "12" },
		{ { { "::1", 1 } }, "1" },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct dial d;
		char order[DIAL_ADDRESSES + 1] = "";
		unsigned n = 0;
		int fd = -1;

		while (t[i].in[n].ip)
			n++;
		set_answer(0, t[i].in, n);
		dial_init(&d, "name.test", "1", 1000, clock_mono_ms());
		assert_int_equal(run(&d, &fd), DIAL_FAILED);
		for (unsigned k = 0; k < d.addresses; k++) {
			uint16_t port;
			memcpy(&port, d.address[k]->ai_addr->sa_data, sizeof port);
			order[k] = (char)('0' + ntohs(port));
		}
		assert_string_equal(order, t[i].order);
		dial_done(&d);
	}
}

static void one_that_is_dead_costs_a_moment(void **state)
{
	struct hole h;
	struct dial d;
	uint16_t good;
	int listening = listen_on("127.0.0.1", 8, &good), fd = -1;
	int64_t began = clock_mono_ms();
	char want[64];

	hole_open(&h);
	set_answer(0,
		(struct where[]) { { "127.0.0.1", closed_port() }, { "127.0.0.1", h.port },
			{ "127.0.0.1", good } },
		3);
	dial_init(&d, "name.test", "1", PATIENCE, began);
	assert_int_equal(run(&d, &fd), DIAL_CONNECTED);
	assert_in_range(clock_mono_ms() - began, DIAL_STAGGER, DIAL_STAGGER + 5000);
	assert_true(fd >= 0);
	snprintf(want, sizeof want, "name.test[127.0.0.1]:1");
	assert_string_equal(d.peer, want);
	close(fd);
	dial_done(&d);
	hole_close(&h);
	close(listening);
}

static void all_dead(void **state)
{
	struct hole h;
	struct dial d;
	int fd = -1;

	hole_open(&h);
	set_answer(0, (struct where[]) { { "127.0.0.1", h.port }, { "127.0.0.1", h.port } }, 2);
	dial_init(&d, "name.test", "25", 700, clock_mono_ms());
	assert_int_equal(run(&d, &fd), DIAL_FAILED);
	assert_string_equal(
		d.failed.text, "connect to name.test[127.0.0.1]:25: timed out after 0.7 s");
	dial_done(&d);
	/* More than there is room for: the rest is left out. */
	struct where many[24];
	for (size_t i = 0; i < 24; i++)
		many[i] = (struct where) { "127.0.0.1", 1 };
	set_answer(0, many, 24);
	dial_init(&d, "name.test", "25", 700, clock_mono_ms());
	assert_int_equal(run(&d, &fd), DIAL_FAILED);
	assert_int_equal(d.addresses, DIAL_ADDRESSES);
	assert_non_null(strstr(d.failed.text, "Connection refused"));
	dial_done(&d);
	hole_close(&h);
}

static void no_such_name(void **state)
{
	struct dial d;
	int fd = -1;

	set_answer(EAI_NONAME, (struct where[]) { { "127.0.0.1", 1 } }, 1);
	dial_init(&d, "name.test", "25", PATIENCE, clock_mono_ms());
	assert_int_equal(run(&d, &fd), DIAL_FAILED);
	assert_string_equal(d.failed.text, "can't resolve name.test: Name or service not known");
	dial_done(&d);
}

/* A resolver that says nothing blocks nobody, and what it says later goes to nobody. */
static void silent_resolver(void **state)
{
	struct dial d, more[LOOKUPS_MAX];
	int64_t began = clock_mono_ms();
	int fd = -1;

	set_answer(0, (struct where[]) { { "127.0.0.1", 1 } }, 1);
	pthread_mutex_lock(&silent);
	dial_init(&d, "name.test", "25", 200, began);
	assert_int_equal(dial_step(&d, began, &fd), DIAL_BUSY);
	assert_true(clock_mono_ms() - began < 200);
	assert_int_equal(run(&d, &fd), DIAL_FAILED);
	assert_string_equal(d.failed.text, "can't resolve name.test: no answer after 0.2 s");
	assert_in_range(clock_mono_ms() - began, 200, 5000);
	dial_done(&d);
	/* Threads that nobody waits for have a ceiling. */
	for (unsigned i = 0; i < LOOKUPS_MAX; i++) {
		dial_init(&more[i], "name.test", "25", PATIENCE, began);
		assert_int_equal(dial_step(&more[i], began, &fd),
			i + 1 < LOOKUPS_MAX ? DIAL_BUSY : DIAL_FAILED);
	}
	assert_non_null(strstr(more[LOOKUPS_MAX - 1].failed.text, "the resolver owes 64 answers"));
	for (unsigned i = 0; i < LOOKUPS_MAX; i++)
		dial_done(&more[i]);
	pthread_mutex_unlock(&silent);
	/* When it is well again, so are we. */
	do {
		dial_init(&d, "name.test", "25", PATIENCE, clock_mono_ms());
		run(&d, &fd);
		dial_done(&d);
		assert_true(clock_mono_ms() - began < PATIENCE);
	} while (!strstr(d.failed.text, "Connection refused"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(families_in_turns),
		cmocka_unit_test(one_that_is_dead_costs_a_moment),
		cmocka_unit_test(all_dead),
		cmocka_unit_test(no_such_name),
		cmocka_unit_test(silent_resolver),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

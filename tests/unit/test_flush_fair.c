/*
 * fair: who is next. A newsletter, as many messages or as few to many, large messages, one that
 * comes in between, suspects; and that nobody starves.
 */
#include "flush/flusher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct batch pool[4096];
static unsigned used;

static struct batch *put(struct fair *q, unsigned flow, unsigned hands, uint64_t size)
{
	struct batch *b = &pool[used++];

	assert_true(used <= sizeof pool / sizeof *pool);
	*b = (struct batch) {
		.message = used, .flow = (unsigned char)flow, .hands = hands, .size = size
	};
	fair_add(q, b);
	return b;
}

/* How many are taken before b, it included. */
static unsigned turn_of(struct fair *q, const struct batch *b)
{
	for (unsigned n = 1;; n++) {
		struct batch *next = fair_peek(q);

		assert_non_null(next);
		assert_ptr_equal(fair_pop(q), next);
		if (next == b)
			return n;
	}
}

static void newsletter(struct fair *q, unsigned n, unsigned hands)
{
	for (unsigned i = 0; i < n; i++)
		put(q, 7, hands, 2000);
}

static void a_reset_passes_a_newsletter(void **state)
{
	static const struct {
		const char *what;
		unsigned messages, hands;
	} t[] = { { "many messages", 1000, 1 }, { "one to many", 20, 50 }, { "few", 2, 1 } };

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct fair q = { 0 };

		used = 0;
		newsletter(&q, t[i].messages, t[i].hands);
		fair_pop(&q);
		unsigned n = turn_of(&q, put(&q, 3, 1, 2000));
		if (n > 6) /* the newsletter may end its first turn */
			fail_msg("%s: %u before it", t[i].what, n);
		/* and so does the next one of that sender, and another's */
		assert_true(turn_of(&q, put(&q, 3, 1, 2000)) <= 8);
		assert_true(turn_of(&q, put(&q, 5, 1, 2000)) <= 2);
		newsletter(&q, 2, 1);
	}
}

/* By octets and recipients, not by messages. */
static void flows_share_alike(void **state)
{
	struct fair q = { 0 };
	uint64_t cost[3] = { 0 };

	used = 0;
	for (unsigned i = 0; i < 1000; i++)
		put(&q, 0, 1, 2000);
	for (unsigned i = 0; i < 100; i++)
		put(&q, 1, 50, 2000);
	for (unsigned i = 0; i < 4; i++)
		put(&q, 2, 1, 3000000);
	for (unsigned i = 0; i < 500; i++) {
		const struct batch *b = fair_pop(&q);

		cost[b->flow] += b->size + b->hands * FAIR_RECIPIENT;
	}
	/* the large message went once, and its flow then waits for the others */
	assert_in_range(cost[2], 3000000, 3010000);
	assert_true(cost[0] < cost[1] + 200000 && cost[1] < cost[0] + 200000);
}

/* Who always has one message at a time to send is not always first. */
static void nobody_starves(void **state)
{
	struct fair q = { 0 };
	unsigned others = 0;

	used = 0;
	put(&q, 9, 1, 40000000); /* large, and before all */
	fair_pop(&q);
	struct batch *waits = put(&q, 9, 1, 2000);
	for (unsigned i = 0; i < 3000; i++) {
		put(&q, i % 4, 1, 30000);
		if (fair_pop(&q) == waits)
			break;
		others++;
	}
	assert_true(others < 12000);
	used = 0;
	waits = put(&q, 9, 1, 2000);
	assert_true(turn_of(&q, waits) < 4096);
	struct fair p = { 0 };
	used = 0;
	put(&p, 1, 1, 100);
	for (unsigned i = 0; i < 100; i++)
		put(&p, 2, 1, 100);
	waits = &pool[100];
	for (others = 0; fair_peek(&p) != waits; others++) {
		fair_pop(&p);
		put(&p, 1, 1, 100);
		assert_true(others < 1000);
	}
}

static void what_is_put_back_is_next(void **state)
{
	struct fair q = { 0 };

	used = 0;
	newsletter(&q, 10, 1);
	struct batch *b = fair_pop(&q);
	put(&q, 3, 1, 100);
	fair_put_back(&q, b);
	assert_int_equal(q.recipients, 11);
	assert_int_equal(q.batches, 11);
	assert_ptr_equal(fair_pop(&q), b);
	for (unsigned i = 0; i < 10; i++)
		assert_non_null(fair_pop(&q));
	assert_null(fair_pop(&q));
	assert_int_equal(q.recipients + q.batches + q.flow[7].recipients + q.flow[3].recipients, 0);
}

static void suspects_stand_apart(void **state)
{
	struct fair q = { 0 };
	struct batch *s[2];

	used = 0;
	for (unsigned i = 0; i < 2; i++) {
		s[i] = &pool[used++];
		*s[i] = (struct batch) { .message = used, .hands = 2, .suspect = true };
		fair_add(&q, s[i]);
	}
	assert_null(fair_peek(&q));
	assert_int_equal(q.recipients, 4);
	assert_int_equal(q.suspects, 4);
	struct batch *b = put(&q, 0, 1, 1);
	assert_ptr_equal(fair_pop(&q), b);
	assert_ptr_equal(fair_pop_suspect(&q), s[0]);
	fair_put_back(&q, s[0]);
	assert_null(fair_peek(&q));
	assert_ptr_equal(fair_pop_suspect(&q), s[0]);
	assert_ptr_equal(fair_pop_suspect(&q), s[1]);
	assert_null(fair_pop_suspect(&q));
	assert_int_equal(q.recipients + q.suspects, 0);
}

/* Whatever comes when, all of it goes, once, and in its flow's order. */
static void everything_goes_once(void **state)
{
	struct fair q = { 0 };
	int64_t last[FLOW_COUNT] = { 0 };
	unsigned seed = 11, popped = 0;

	used = 0;
	while (popped < 4000) {
		seed = seed * 1103515245u + 12345u;
		const unsigned r = seed >> 8;

		if (used < 4000 && r % 3) {
			put(&q, (r >> 4) % 5 * 15, 1 + (r >> 8) % 50, (r >> 10) % 100000);
			continue;
		}
		const struct batch *b = fair_pop(&q);
		if (!b)
			continue;
		popped++;
		assert_true(b->message > last[b->flow]);
		last[b->flow] = b->message;
	}
	assert_int_equal(q.recipients, 0);
	assert_null(fair_peek(&q));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reset_passes_a_newsletter),
		cmocka_unit_test(flows_share_alike),
		cmocka_unit_test(nobody_starves),
		cmocka_unit_test(what_is_put_back_is_next),
		cmocka_unit_test(suspects_stand_apart),
		cmocka_unit_test(everything_goes_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

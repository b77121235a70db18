/*
 * A client on its scripted peer, as the client's tests need it: the run of a dialogue, whole or cut
 * at random, messages to deliver, the modes, and what must hold whatever happened.
 */
#ifndef CLIENT_TALK_H
#define CLIENT_TALK_H

#include "client_peer.h"

#include "wire/client.h"

/* --- a client and its peer --- */

struct talk {
	struct relay relay;
	struct client_options options;
	struct client *c;
	struct peer peer;
	int64_t now_ms;
	unsigned seed;      /* not 0: everything is cut at random */
	uint64_t reply_max; /* what the client may hear of the peer in all; UINT64_MAX */
	uint64_t told;
	size_t most_out; /* the longest span that client_output gave */
};

static inline void talk_start(struct talk *k)
{
	k->relay.lmtp = k->peer.lmtp;
	snprintf(k->relay.host, sizeof k->relay.host, "peer.example");
	k->options.relay = &k->relay;
	k->options.helo = "me.example";
	if (k->options.window == 0) {
		k->options.window = 8;
		k->options.window_bytes = 1 << 20;
	}
	if (k->reply_max == 0)
		k->reply_max = UINT64_MAX;
	k->now_ms = 1000;
	peer_init(&k->peer);
	k->c = client_new(&k->options, k->now_ms);
	assert_non_null(k->c);
	if (k->relay.tls == RELAY_TLS_WRAPPED)
		client_tls_done(k->c, true, k->now_ms);
	peer_greet(&k->peer);
}

static inline void talk_end(struct talk *k)
{
	client_free(k->c);
	peer_done(&k->peer);
}

static inline size_t talk_cut(struct talk *k, size_t n)
{
	if (!k->seed || n == 0)
		return n;
	k->seed = k->seed * 1103515245 + 12345;
	return 1 + (k->seed >> 16) % (n < 40 ? n : k->seed & 0x8000 ? n : 40);
}

/* Goes on until neither side has anything to say. */
static inline void talk_run(struct talk *k)
{
	bool moved = true;

	while (moved) {
		moved = false;
		struct span out = client_output(k->c, k->now_ms);
		if (out.n > 0) {
			if (out.n > k->most_out)
				k->most_out = out.n;
			out.n = talk_cut(k, out.n);
			peer_hear(&k->peer, out);
			client_written(k->c, out.n, k->now_ms);
			moved = true;
		}
		size_t n = talk_cut(k, k->peer.out.len);
		if (n > k->reply_max - k->told)
			n = (size_t)(k->reply_max - k->told);
		if (n > 0 && client_state(k->c) != CLIENT_TLS) {
			k->told += n;
			client_input(k->c, span_make(k->peer.out.data, n), k->now_ms);
			buf_drop(&k->peer.out, n);
			moved = true;
		}
		if (client_state(k->c) == CLIENT_TLS && !moved) {
			client_tls_done(k->c, k->relay.tls != RELAY_TLS_MAY, k->now_ms);
			moved = true;
		}
	}
}

/* --- messages --- */

struct message {
	struct transaction t;
	struct client_rcpt rcpt[4];
	char sender[32], address[4][32], content[64];
	unsigned back; /* how often it was given back */
};

/* Message number i with `rcpts` recipients: s1@a.example to r1.1@b.example and so on. */
static inline void message_init(struct message *m, unsigned i, unsigned rcpts)
{
	*m = (struct message) { 0 };
	snprintf(m->sender, sizeof m->sender, "s%u@a.example", i);
	snprintf(m->content, sizeof m->content, "Subject: %u\r\n\r\n.dot %u\r\n", i, i);
	for (unsigned r = 0; r < rcpts; r++) {
		snprintf(m->address[r], sizeof m->address[r], "r%u.%u@b.example", i, r + 1);
		m->rcpt[r].address = m->address[r];
	}
	m->t = (struct transaction) { .sender = m->sender,
		.rcpt = m->rcpt,
		.rcpts = rcpts,
		.content = span_of(m->content),
		.owner = m };
}

static inline bool is_sent(const struct outcome *o)
{
	return o->step == STEP_CONTENT && !o->lost && !o->unexpected && o->reply.code / 100 == 2;
}

static inline bool is_answered(const struct outcome *o)
{
	return !o->lost && !o->unexpected && o->reply.code >= 400;
}

/* Submits as many as there is room for, runs, takes back, until all came back or nothing moves.
 * How many came back. */
static inline unsigned talk_deliver(struct talk *k, struct message *m, unsigned n)
{
	unsigned next = 0, back = 0;
	bool moved = true;
	struct transaction *t;

	talk_run(k);
	while (moved) {
		moved = false;
		while (next < n && client_room(k->c, m[next].t.content.n)) {
			client_submit(k->c, &m[next++].t, k->now_ms);
			moved = true;
		}
		talk_run(k);
		if ((t = client_gate(k->c))) {
			client_open_gate(k->c, t, k->now_ms);
			moved = true;
		}
		while ((t = client_done(k->c))) {
			((struct message *)t->owner)->back++;
			back++;
			moved = true;
		}
	}
	return back;
}

/* --- the modes, and what must hold in each --- */

#define WINDOW_OFFERS "PIPELINING\nCHUNKING\nLIMITS RCPTMAX=50\nXONCE j1 3600"

struct mode {
	const char *name;
	bool lmtp;
	const char *offers;
	bool bdat, window;
};
static const struct mode modes[] = {
	{ "window, LMTP", true, WINDOW_OFFERS, true, true },
	{ "window, SMTP", false, WINDOW_OFFERS, true, true },
	{ "group, LMTP", true, "PIPELINING", false, false },
	{ "group, SMTP", false, "PIPELINING", false, false },
	{ "group, BDAT", false, "PIPELINING\nCHUNKING", true, false },
	{ "group, XONCE without CHUNKING", true, "PIPELINING\nXONCE j1 3600", false, false },
	{ "lock step, LMTP", true, "", false, false },
	{ "lock step, SMTP", false, "", false, false },
	{ "lock step, BDAT", true, "CHUNKING", true, false },
};
#define MODES (sizeof modes / sizeof *modes)

static inline void talk_start_mode(struct talk *k, const struct mode *mode)
{
	k->peer.lmtp = mode->lmtp;
	k->peer.offers = mode->offers;
	talk_start(k);
}

/* Whether the peer's good answer for this recipient was heard to its end. */
static inline bool was_acked(const struct talk *k, const char *rcpt)
{
	for (unsigned i = 0; i < k->peer.acks; i++)
		if (strcmp(k->peer.ack[i].rcpt, rcpt) == 0)
			return k->peer.ack[i].end <= k->told;
	return false;
}

/* What must hold whatever happened. */
static inline void check(const struct talk *k, struct message *m, unsigned n)
{
	const struct outcome *fault = client_fault(k->c);
	bool deaf = fault->unexpected || fault->reply.code != 0;

	for (unsigned i = 0; i < n; i++) {
		if (m[i].t.owner == NULL || m[i].back == 0)
			continue; /* never submitted */
		assert_int_equal(m[i].back, 1);
		for (unsigned r = 0; r < m[i].t.rcpts; r++) {
			const struct outcome *o = &m[i].rcpt[r].outcome;
			assert_int_equal(is_sent(o) + is_answered(o) + o->lost + o->unexpected, 1);
			assert_int_equal(o->maybe_sent,
				(o->lost || o->unexpected) && m[i].t.content_sent != 0);
			bool acked = was_acked(k, m[i].rcpt[r].address);
			assert_true(!is_sent(o) || acked);
			if (deaf) /* what came after the fault was not read */
				continue;
			assert_int_equal(is_sent(o), acked);
		}
	}
}

/* Runs until nothing moves, then cuts, and sees that all came back. */
static inline void deliver_and_cut(struct talk *k, struct message *m, unsigned n)
{
	struct transaction *t;

	talk_deliver(k, m, n);
	unsigned flying = client_flying(k->c);
	if (client_state(k->c) != CLIENT_DEAD)
		client_cut(k->c, STEP_CONTENT, "cut", k->now_ms);
	while ((t = client_done(k->c))) {
		((struct message *)t->owner)->back++;
		flying--;
	}
	assert_int_equal(flying, 0);
	assert_int_equal(client_flying(k->c), 0);
	check(k, m, n);
}

static inline void three(struct message *m)
{
	for (unsigned i = 0; i < 3; i++)
		message_init(&m[i], i + 1, 2);
}

#endif

/*
 * The client, and a peer that says what the input has. First octet: the relay and the messages;
 * second: where replies are cut. However a reply is cut, what is said and what becomes of each
 * recipient is the same; and whatever comes, every message is given back, each recipient has an
 * outcome, none is sent but by a 2yz to the content, and no password goes out in the clear.
 */
#include "fuzz.h"

#include "wire/client.h"
#include "wire/sasl.h"

#define MESSAGES 3
#define RCPTS    2
#define NOW      1000

enum {
	LMTP = 1,
	WRAPPED = 2,
	STARTTLS = 4,
	TOKENS = 8,
	VERIFIED = 16,
	GATED = 32,
	QUITS = 64,
	USER = 128
};

struct run {
	struct relay relay;
	struct client *c;
	struct transaction t[MESSAGES];
	struct client_rcpt rcpt[MESSAGES][RCPTS];
	unsigned submitted, back;
	uint8_t how;
	struct span in; /* for what is shown of a finding */
	struct buf said, outcomes;
};

static const char *const content[MESSAGES] = { "Subject: a\r\n\r\n.dot\r\n", "", "b\r\n..\r\n" };

static void submit(struct run *r)
{
	unsigned i = r->submitted++;
	struct transaction *t = &r->t[i];

	for (unsigned k = 0; k < RCPTS; k++) {
		r->rcpt[i][k] =
			(struct client_rcpt) { .address = k ? "b@example.net" : "a@example.net" };
		if (r->how & TOKENS)
			snprintf(r->rcpt[i][k].once, sizeof r->rcpt[i][k].once, "%032x",
				i * RCPTS + k);
	}
	*t = (struct transaction) { .sender = i == 1 ? "" : "s@example.com",
		.rcpt = r->rcpt[i],
		.rcpts = client_rcptmax(r->c) < RCPTS ? 1 : RCPTS,
		.content = span_of(content[i]),
		.gated = r->how & GATED && i == 0 };
	client_submit(r->c, t, NOW);
}

static void note(struct run *r, const struct transaction *t)
{
	r->back++;
	buf_printf(&r->outcomes, "message %d\n", (int)(t - r->t));
	for (unsigned k = 0; k < t->rcpts; k++) {
		const struct outcome *o = &t->rcpt[k].outcome;

		expect(o->lost || o->unexpected || o->reply.code != 0, "no outcome", r->in);
		expect(o->reply.code == 0 || (o->reply.code >= 200 && o->reply.code < 600), "code",
			r->in);
		expect(o->lost || o->unexpected || o->reply.code >= 400 || o->step == STEP_CONTENT,
			"sent by something else", r->in);
		buf_printf(&r->outcomes, "%d %d%d%d %d %s %s\n", o->step, o->lost, o->unexpected,
			o->maybe_sent, o->reply.code, o->reply.enhanced, o->reply.text);
	}
}

/* All that can be done without another word of the peer. */
static void go_on(struct run *r)
{
	struct span out = { NULL, 0 };

	do {
		while (client_state(r->c) == CLIENT_READY && r->submitted < MESSAGES &&
			client_room(r->c, span_of(content[r->submitted]).n))
			submit(r);
		if (r->how & QUITS && r->submitted == MESSAGES &&
			client_state(r->c) == CLIENT_READY)
			client_quit(r->c, NOW);
		if (client_gate(r->c))
			client_open_gate(r->c, client_gate(r->c), NOW);
		out = client_output(r->c, NOW);
		buf_add_span(&r->said, out);
		client_written(r->c, out.n, NOW);
		for (struct transaction *t; (t = client_done(r->c));)
			note(r, t);
	} while (out.n > 0);
	if (client_state(r->c) == CLIENT_TLS) {
		client_tls_done(r->c, r->how & VERIFIED, NOW);
		go_on(r);
	}
}

/* The octets up to the end of the next reply, or of a line that is none. */
static size_t next_reply(struct span in)
{
	size_t begin = 0;

	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] != '\n')
			continue;
		if (i < begin + 4 || in.p[begin + 3] != '-')
			return i + 1;
		begin = i + 1;
	}
	return in.n;
}

static void run(struct run *r, uint8_t how, unsigned piece, struct span in)
{
	const struct client_options o = {
		.relay = &r->relay, .helo = "h.example", .window = 2, .window_bytes = 1 << 16
	};
	unsigned seed = piece;

	*r = (struct run) { .how = how, .in = in };
	r->relay.lmtp = how & LMTP;
	r->relay.tls = how & WRAPPED    ? RELAY_TLS_WRAPPED
		       : how & STARTTLS ? RELAY_TLS_STARTTLS
					: RELAY_TLS_MAY;
	snprintf(r->relay.host, sizeof r->relay.host, "peer.example");
	if (how & USER) {
		snprintf(r->relay.user, sizeof r->relay.user, "joe");
		snprintf(r->relay.password, sizeof r->relay.password, "sesame");
	}
	buf_init(&r->said, 1 << 24);
	buf_init(&r->outcomes, 1 << 24);
	r->c = client_new(&o, NOW);
	assert(r->c);
	if (how & WRAPPED)
		client_tls_done(r->c, how & VERIFIED, NOW);
	go_on(r);
	while (in.n > 0 && client_state(r->c) != CLIENT_DEAD) {
		size_t n = next_reply(in);
		struct span reply = span_make(in.p, n);

		in = span_from(in, n);
		while (reply.n > 0) {
			n = piece ? 1 + (unsigned)rand_r(&seed) % piece : reply.n;
			n = n < reply.n ? n : reply.n;
			client_input(r->c, span_make(reply.p, n), NOW);
			reply = span_from(reply, n);
		}
		go_on(r);
	}
	buf_printf(&r->outcomes, "state %d\n", client_state(r->c));
	client_cut(r->c, STEP_CONNECT, "the end", NOW);
	go_on(r);
	expect(r->back == r->submitted, "a message is missing", r->in);
	const struct outcome *f = client_fault(r->c);
	buf_printf(&r->outcomes, "fault %d %d%d %d %s\n", f->step, f->lost, f->unexpected,
		f->reply.code, f->reply.text);
	assert(!r->said.failed && !r->outcomes.failed);
}

static void check(const struct run *r)
{
	const bool clear = !(r->how & VERIFIED);

	/* "AUTH PLAIN " and \0joe\0sesame in base64. */
	expect(!clear || r->said.len == 0 ||
			!memmem(r->said.data, r->said.len, "AGpvZQBzZXNhbWU", 15),
		"a password", r->in);
	expect(!(r->how & (WRAPPED | STARTTLS)) || !clear || r->submitted == 0,
		"mail to whom nobody knows", r->in);
}

static void end(struct run *r)
{
	client_free(r->c);
	buf_done(&r->said);
	buf_done(&r->outcomes);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct err e = { 0 };
	int started = sasl_start(true, false, &e);

	assert(started == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run whole, cut;
	struct span in = span_make((const char *)data, size);
	uint8_t how = fuzz_octet(&in), piece = fuzz_octet(&in);

	run(&whole, how, 0, in);
	run(&cut, how, 1 + piece % 64, in);
	check(&whole);
	expect(span_eq(buf_span(&whole.said), buf_span(&cut.said)), "what is said", in);
	expect(span_eq(buf_span(&whole.outcomes), buf_span(&cut.outcomes)), "outcomes", in);
	end(&whole);
	end(&cut);
	return 0;
}

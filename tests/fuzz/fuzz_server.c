/*
 * The server's lines, commands, DATA, BDAT and AUTH. First octet: how it is set up; second: where
 * the input is cut. However it is cut, replies and events are the same; and whatever comes, replies
 * are lines, a message has a sender and recipients, and its content is what may go on.
 */
#include "fuzz.h"

#include "wire/server.h"

#define SIZE_MAX_HERE 300 /* octets of a message */
#define RCPTS_MAX     3

enum { LMTP = 1, AUTH = 2, LOCAL = 4, PAUSES = 8, TLS = 16 };

struct owner {
	struct span in;
	uint8_t how;
	struct server *server;
	struct buf replies, events, content;
	bool mail;
	unsigned rcpts;
};

static void on_reply(void *arg, struct span text)
{
	struct owner *w = arg;
	size_t begin = 0;

	expect(text.n > 4 && text.p[text.n - 1] == '\n', "no line", text);
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '\r') {
			expect(i + 1 < text.n && text.p[i + 1] == '\n', "bare CR", text);
		} else if (text.p[i] == '\n') {
			expect(i > begin + 3 && text.p[i - 1] == '\r', "bare LF", text);
			expect(i + 1 - begin <= 512, "a line too long", text);
			expect(text.p[begin] >= '2' && text.p[begin] <= '5', "code", text);
			begin = i + 1;
		} else {
			expect(text.p[i] >= ' ' && text.p[i] <= '~', "not printable", text);
		}
	}
	/* Which of the two is said first of content that is too large and not clean is chance. */
	if (span_starts_nocase(text, "552 5.3.4 Message too large\r\n") ||
		span_starts_nocase(text, "554 5.6.0 "))
		buf_add_str(&w->replies, "refused\r\n");
	else
		buf_add_span(&w->replies, text);
}

static const char *on_mail(void *arg, const struct server_mail *m)
{
	struct owner *w = arg;

	expect(!w->mail && w->rcpts == 0 && w->content.len == 0, "a leak", w->in);
	expect(m->size <= SIZE_MAX_HERE, "size", w->in);
	buf_printf(&w->events, "mail(%s,%d,%s,%s)", m->sender, m->eightbit, m->ret, m->envid);
	if (m->sender[0] == 'n')
		return "550 5.7.1 no";
	if (m->sender[0] == 'q')
		return "421 4.3.2 stopping";
	w->mail = true;
	return "";
}

static const char *on_rcpt(void *arg, const struct server_rcpt *r)
{
	struct owner *w = arg;

	expect(w->mail && w->rcpts < RCPTS_MAX, "RCPT out of place", w->in);
	expect(strlen(r->address.text) == r->address.len && r->address.len > 0, "address", w->in);
	expect(w->how & LOCAL || r->address.at < r->address.len, "a bare name", w->in);
	buf_printf(&w->events, "rcpt(%s,%s,%s,%s)", r->address.text, r->once, r->notify, r->orcpt);
	if (r->address.text[0] == 'n')
		return "550 5.1.1 no";
	w->rcpts++;
	return "";
}

static const char *on_content(void *arg, struct span in)
{
	struct owner *w = arg;

	expect(w->mail && w->rcpts > 0 && in.n > 0, "content out of place", w->in);
	buf_add_span(&w->content, in);
	expect(w->content.len <= SIZE_MAX_HERE, "too much", w->in);
	return NULL;
}

/* Only CRLF ends a line, and there is no NUL. */
static bool is_clean(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '\0' || (s.p[i] == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n')) ||
			(s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r')))
			return false;
	return true;
}

static void on_message(void *arg, bool lmtp, bool eightbit)
{
	struct owner *w = arg;

	expect(w->mail && w->rcpts > 0, "a message out of place", w->in);
	expect(!lmtp || w->how & LMTP, "LMTP was not offered", w->in);
	expect(w->how & LOCAL || is_clean(buf_span(&w->content)), "content", w->in);
	buf_printf(&w->events, "message(%d,%d,", lmtp, eightbit);
	buf_add_span(&w->events, buf_span(&w->content));
	for (unsigned i = 0; i < (lmtp ? w->rcpts : 1); i++)
		on_reply(w, span_of("250 2.0.0 Ok id\r\n"));
	if (w->how & PAUSES)
		server_pause(w->server, true);
}

static void on_reset(void *arg)
{
	struct owner *w = arg;

	buf_clear(&w->content);
	w->mail = false;
	w->rcpts = 0;
}

static const char *on_auth(void *arg, struct span response, char *name, size_t size)
{
	struct owner *w = arg;

	expect(w->how & TLS, "AUTH in the clear", w->in);
	buf_printf(&w->events, "auth(%zu)", response.n);
	snprintf(name, size, "joe");
	return response.n % 2 ? "" : "535 5.7.8 Wrong";
}

static const struct server_ops ops = { on_reply, on_mail, on_rcpt, on_content, on_message, on_reset,
	on_auth };

static void owner_init(struct owner *w, uint8_t how, struct span in)
{
	const struct server_options o = { .hostname = "h.example",
		.message_size = SIZE_MAX_HERE,
		.rcptmax = RCPTS_MAX,
		.offer_lmtp = how & LMTP,
		.offer_starttls = true,
		.offer_auth = true,
		.require_auth = how & AUTH,
		.offer_chunking = true,
		.offer_limits = true,
		.offer_dsn = true,
		.xonce = "id 1",
		.bare_names = how & LOCAL,
		.helo_optional = how & LOCAL,
		.mends_content = how & LOCAL };

	*w = (struct owner) { .in = in, .how = how };
	buf_init(&w->replies, 1 << 26);
	buf_init(&w->events, 1 << 26);
	buf_init(&w->content, 1 << 20);
	w->server = server_new(&o, &ops, w);
	assert(w->server);
	if (how & TLS)
		server_tls_done(w->server, "TLSv1.3");
}

/* In pieces of 1 to `piece` octets; 0: whole. What is behind the end is not looked at. */
static void bring(struct owner *w, unsigned piece)
{
	struct span rest = w->in;
	unsigned seed = piece;

	while (rest.n > 0 && server_state(w->server) == SERVER_OPEN) {
		size_t n = piece ? 1 + (unsigned)rand_r(&seed) % piece : rest.n, used = 0;
		n = n < rest.n ? n : rest.n;
		server_input(w->server, span_make(rest.p, n), &used);
		expect(used <= n, "used", w->in);
		server_pause(w->server, false);
		rest = span_from(rest, used);
	}
	assert(!w->replies.failed && !w->events.failed);
}

static void owner_done(struct owner *w)
{
	server_free(w->server);
	buf_done(&w->replies);
	buf_done(&w->events);
	buf_done(&w->content);
}

static bool says_starttls(struct span in)
{
	for (; in.n > 0; in = span_from(in, 1))
		if (span_starts_nocase(in, "STARTTLS"))
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_make((const char *)data, size);
	uint8_t how = fuzz_octet(&in), piece = fuzz_octet(&in);
	struct owner whole, cut;

	owner_init(&whole, how, in);
	bring(&whole, 0);
	owner_init(&cut, how, in);
	bring(&cut, 1 + piece % 64);
	/* STARTTLS is refused when more came with it, so there the cut makes a difference. */
	if (how & TLS || !says_starttls(in)) {
		expect(span_eq(buf_span(&whole.replies), buf_span(&cut.replies)), "replies", in);
		expect(span_eq(buf_span(&whole.events), buf_span(&cut.events)), "events", in);
		expect(server_state(whole.server) == server_state(cut.server), "state", in);
	}
	owner_done(&whole);
	owner_done(&cut);
	return 0;
}

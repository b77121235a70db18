/*
 * What the log and the queue are told of one try: the delay split, SES's id, and the line in the
 * form of Postfix's log.
 */
#include "flush/report.h"

#include "base/number.h"

/* The id in "Ok 0106… wait=0.002 ses=0.183" or "Ok: queued as 4XyZ". */
static void find_id(const char *text, char *out, size_t size)
{
	struct span rest = span_of(text), word;
	size_t n = 0;

	out[0] = '\0';
	if (!span_starts_nocase(rest, "Ok"))
		return;
	rest = span_trim(span_from(rest, text[2] == ':' ? 3 : 2));
	if (span_starts_nocase(rest, "queued as "))
		rest = span_from(rest, 10);
	while (n < rest.n && rest.p[n] > ' ' && rest.p[n] < 127)
		n++;
	word = span_make(rest.p, n);
	if (n > 0 && n < size && span_find(word, '=') < 0) {
		memcpy(out, word.p, n);
		out[n] = '\0';
	}
}

int64_t report_ses_ms(const char *text)
{
	const char *at = strstr(text, " ses=");
	uint64_t s, ms;
	size_t n;

	if (!at)
		return 0;
	at += 5;
	n = strspn(at, "0123456789");
	if (at[n] != '.' || strspn(at + n + 1, "0123456789") < 3 ||
		number_parse(span_make(at, n), 86400, &s) < 0 ||
		number_parse(span_make(at + n + 1, 3), 999, &ms) < 0)
		return 0;
	return (int64_t)(s * 1000 + ms);
}

static int64_t not_below_zero(int64_t n)
{
	return n < 0 ? 0 : n;
}

void report_init(struct report *p, int64_t submitted, const struct batch *b,
	const struct verdict *v, const char *peer)
{
	const struct transaction *t = &b->tx;
	int64_t inside = t->began ? t->began - b->taken_us - b->connect_us : 0;
	int64_t hop = t->began && t->ended ? t->ended - t->began : 0;

	*p = (struct report) { .reply = v->reply };
	snprintf(p->peer, sizeof p->peer, "%s", peer);
	p->before_ms = not_below_zero(b->taken_wall - submitted);
	p->queued_ms = p->before_ms + not_below_zero(inside / 1000);
	p->connect_ms = b->connect_us / 1000;
	if (v->class == VERDICT_SENT) {
		find_id(p->reply.text, p->ses_id, sizeof p->ses_id);
		p->ses_ms = report_ses_ms(p->reply.text);
	}
	p->hop_ms = not_below_zero(hop / 1000 - p->ses_ms);
}

/* The status code (RFC 3463): the answer's; where it has none its class, where there was none the
 * connection's. What is tried again is 4, whatever a peer has said of itself. */
static const char *dsn_of(const struct report *p, enum store_state state, char out[16])
{
	if (p->reply.code == 0)
		return strcmp(p->peer, "none") == 0 ? "4.4.1" : "4.4.2";
	if (p->reply.enhanced[0])
		snprintf(out, 16, "%s", p->reply.enhanced);
	else
		snprintf(out, 16, "%d.0.0", p->reply.code / 100);
	if (state == STORE_QUEUED || state == STORE_HELD)
		out[0] = '4';
	return out;
}

static const char *status_of(enum store_state s)
{
	return s == STORE_SENT ? "sent" : s == STORE_FAILED ? "bounced" : "deferred";
}

static void count(struct flush_stats *stats, enum store_state s)
{
	stats->recipients++;
	stats->sent += s == STORE_SENT;
	stats->failed += s == STORE_FAILED;
	stats->held += s == STORE_HELD;
	stats->deferred += s == STORE_QUEUED;
}

void report_settled(const struct report *p, const struct store_settlement *row, bool message_done,
	struct flush_stats *stats)
{
	const int64_t inside = p->queued_ms - p->before_ms, hop = p->hop_ms + p->ses_ms;
	char said[600], dsn[16];

	if (row->quiet)
		return;
	count(stats, row->state);
	log_line(LOG_INFO, "smtp",
		"%010lld: to=<%s>, relay=%s, delay=%.2f, delays=%.2f/%.2f/%.2f/%.2f, dsn=%s, "
		"status=%s (%s%s)",
		(long long)row->message, row->address, p->peer,
		(double)(p->queued_ms + p->connect_ms + hop) / 1000, (double)p->before_ms / 1000,
		(double)inside / 1000, (double)p->connect_ms / 1000, (double)hop / 1000,
		dsn_of(p, row->state, dsn), status_of(row->state),
		row->state == STORE_HELD ? "held: " : "",
		reply_format(&p->reply, said, sizeof said));
	if (message_done) {
		stats->messages++;
		log_line(LOG_INFO, "qmgr", "%010lld: removed", (long long)row->message);
	}
}

void report_road(const char *relay, const struct outcome *fault)
{
	char said[600];

	log_line(LOG_WARNING, "smtp", "warning: %s: %s: %s", relay, step_name(fault->step),
		reply_format(&fault->reply, said, sizeof said));
}

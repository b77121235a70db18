/*
 * Message repair, once, at submission: what is stored is what goes out.
 */
#include "sendmail/compose.h"

#include "base/address_list.h"
#include "base/clock.h"
#include "base/number.h"
#include "base/random.h"
#include "sendmail/intake.h"
#include "sendmail/longline.h"

/* What a field may grow to by the domains of its bare names; a longer one stays as it is. */
#define QUALIFIED_MAX (8 * 1024 * 1024)
/* More than a line can come to, and with its folds: when a buffer fails, it was for memory. */
#define WHOLE_LINE_MAX (QUALIFIED_MAX + 2 * INTAKE_HEADER_MAX)
#define FOLDED_MAX     (WHOLE_LINE_MAX + WHOLE_LINE_MAX / 128)

struct qualify {
	struct span value;
	size_t done; /* octets of value already copied */
	const char *domain;
	struct buf *out;
};

static int qualify_mailbox(void *arg, const struct mailbox *m, struct err *e)
{
	struct qualify *q = arg;

	if (!m->bare || !address_is_local_part(m->addr))
		return 0;
	if (q->out->len > QUALIFIED_MAX)
		return err_set(e, EX_DATAERR, "over %d octets", QUALIFIED_MAX);
	buf_add(q->out, q->value.p + q->done, m->end - q->done);
	buf_printf(q->out, "@%s", q->domain);
	q->done = m->end;
	return 0;
}

/* "To: root" becomes "To: root@domain", as SES refuses a bare name in a header. A list that can't
 * be read stays as it is. */
static void add_qualified(const struct compose *c, const struct header_field *f, struct buf *out)
{
	size_t before = out->len, name = (size_t)(f->value.p - f->raw.p);
	struct qualify q = { f->value, 0, c->domain, out };

	buf_add(out, f->raw.p, name);
	if (address_list_parse(f->value, qualify_mailbox, &q, NULL) == 0) {
		buf_add_span(out, span_from(f->raw, name + q.done));
		return;
	}
	if (!out->failed)
		out->len = before;
	buf_add_span(out, f->raw);
}

/* s itself where it has no NULs, which is nearly always; else a copy without them. */
static struct span without_nuls(struct span s, struct buf *copy)
{
	if (span_find(s, '\0') < 0)
		return s;
	while (s.n > 0) {
		long nul = span_find(s, '\0');
		size_t n = nul < 0 ? s.n : (size_t)nul;
		buf_add(copy, s.p, n);
		s = span_from(s, n + 1);
	}
	return buf_span(copy);
}

static int put(struct buf *line, struct buf *folded, struct spool *to, struct err *e)
{
	buf_clear(folded);
	longline_fold(buf_span(line), folded);
	if (line->failed || folded->failed)
		return err_set(e, EX_TEMPFAIL, "out of memory");
	return spool_add(to, folded->data, folded->len, e);
}

static void add_received(const struct compose *c, const char *date, struct buf *out)
{
	buf_printf(out, "Received: by %s (cenmail, from userid %u)\r\n\tid %s; %s\r\n", c->hostname,
		(unsigned)c->uid, c->id, date);
}

static void make_message_id(const struct compose *c, char *ret, size_t size)
{
	unsigned char octets[12];
	char hex[2 * sizeof(octets) + 1];

	random_bytes(octets, sizeof(octets));
	hex_encode(octets, sizeof(octets), hex);
	snprintf(ret, size, "<%lld.%s@%s>", (long long)c->now, hex, c->hostname);
}

/* For the log and the queue. A fold may stand before the id. */
static void note_message_id(struct compose *c, struct span value)
{
	while (value.n > 0 && strchr("\r\n\t ", value.p[0]) && value.p[0] != '\0')
		value = span_from(value, 1);
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] <= ' ' || value.p[i] > '~')
			value.n = 0;
	if (value.n >= sizeof(c->message_id))
		value.n = 0;
	memcpy(c->message_id, value.p, value.n);
	c->message_id[value.n] = '\0';
}

/* Received goes first, and so do the Resent- fields that RFC 5322 wants and the caller left out. */
static void add_top(const struct compose *c, const struct header_facts *facts, const char *date,
	struct buf *out)
{
	char id[sizeof(c->message_id)];

	add_received(c, date, out);
	if (facts->resent && !facts->seen[HEADER_RESENT_MESSAGE_ID]) {
		make_message_id(c, id, sizeof(id));
		buf_printf(out, "Resent-Message-ID: %s\r\n", id);
	}
	if (facts->resent && !facts->seen[HEADER_RESENT_DATE])
		buf_printf(out, "Resent-Date: %s\r\n", date);
	if (facts->resent && !facts->seen[HEADER_RESENT_FROM]) {
		buf_add_str(out, "Resent-From: ");
		sender_add_from(c->sender, out);
		buf_add_str(out, "\r\n");
	}
}

static void add_missing(
	struct compose *c, const struct header_facts *facts, const char *date, struct buf *out)
{
	if (!facts->seen[HEADER_MESSAGE_ID]) {
		make_message_id(c, c->message_id, sizeof(c->message_id));
		buf_printf(out, "Message-ID: %s\r\n", c->message_id);
	}
	if (!facts->seen[HEADER_DATE])
		buf_printf(out, "Date: %s\r\n", date);
	if (!facts->seen[HEADER_FROM]) {
		buf_add_str(out, "From: ");
		sender_add_from(c->sender, out);
		buf_add_str(out, "\r\n");
	}
}

static int put_fields(const struct compose *c, struct span fields, struct buf *line,
	struct buf *folded, struct spool *to, struct err *e)
{
	struct header_field f;

	while (header_next(&fields, &f)) {
		if (f.flags & HEADER_REMOVED)
			continue;
		buf_clear(line);
		if (f.flags & HEADER_ADDRESSES)
			add_qualified(c, &f, line);
		else
			buf_add_span(line, f.raw);
		if (put(line, folded, to, e) != 0)
			return -1;
	}
	return 0;
}

int compose_header(struct compose *c, struct span fields, const struct header_facts *facts,
	struct spool *to, struct err *e)
{
	struct buf line, folded, clean;
	char date[CLOCK_DATE_SIZE];
	int result = -1;

	if (facts->hops > COMPOSE_HOPS_MAX)
		return err_set(e, EX_DATAERR,
			"%u Received lines: the message goes round in a loop, and is not taken",
			facts->hops);
	note_message_id(c, facts->message_id);
	clock_rfc5322(c->now, date);
	buf_init(&line, WHOLE_LINE_MAX);
	buf_init(&folded, FOLDED_MAX);
	buf_init(&clean, fields.n);
	fields = without_nuls(fields, &clean);
	if (clean.failed) {
		err_set(e, EX_TEMPFAIL, "out of memory");
		goto out;
	}

	add_top(c, facts, date, &line);
	if (put(&line, &folded, to, e) != 0 || put_fields(c, fields, &line, &folded, to, e) != 0)
		goto out;
	buf_clear(&line);
	add_missing(c, facts, date, &line);
	if (line.len > 0 && put(&line, &folded, to, e) != 0)
		goto out;
	result = spool_add(to, "\r\n", 2, e);
out:
	buf_done(&line);
	buf_done(&folded);
	buf_done(&clean);
	return result;
}

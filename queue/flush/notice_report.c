/*
 * What is quoted of a peer is printable ASCII when it comes here; it is folded, so that no line is
 * longer than a line may be, and it can begin no field.
 */
#include "flush/notice_report.h"

#include "base/clock.h"
#include "base/field.h"
#include "base/number.h"
#include "base/random.h"

#define SHOWN_MAX 100 /* recipients named in the text for people; all are in the other part */
#define LINE      76
#define WORD_MAX  300 /* octets of a word that is not broken */

static const struct {
	const char *subject, *action, *intro;
} kinds[] = {
	[NOTICE_FAILED] = { "Undelivered Mail Returned to Sender", "failed",
		"Your message could not be delivered to the recipients named here, and will\r\n"
		"not be tried again." },
	[NOTICE_RELAYED] = { "Successful Mail Delivery Report", "relayed",
		"Your message was handed on to the next mail system for the recipients named\r\n"
		"here. That one sends no reports, so this is the last you hear of it, unless it\r\n"
		"comes back." },
	[NOTICE_DELAYED] = { "Delayed Mail (still being retried)", "delayed",
		"Your message has not been delivered yet to the recipients named here. You need\r\n"
		"not send it again: it is still being tried." },
};

/* The next word of *rest; what is longer than a line may be is several. */
static struct span take_word(struct span *rest)
{
	struct span word;
	size_t n = 0;

	while (rest->n > 0 && rest->p[0] == ' ')
		*rest = span_from(*rest, 1);
	while (n < rest->n && n < WORD_MAX && rest->p[n] != ' ')
		n++;
	word = span_make(rest->p, n);
	*rest = span_from(*rest, n);
	return word;
}

/* Words, with `fold` where a line would get too long; `at` octets stand on the line already. Blanks
 * are one: a line of nothing else would be the end of a header to some. */
static void add_folded(struct buf *out, struct span s, size_t at, const char *fold)
{
	const char *between = "";

	for (struct span word; (word = take_word(&s)).n > 0; between = " ") {
		if (*between && at + 1 + word.n > LINE) {
			between = fold;
			at = 0;
		}
		buf_add_str(out, between);
		for (size_t i = 0; i < word.n; i++)
			buf_add_char(out, word.p[i] > ' ' && word.p[i] <= '~' ? word.p[i] : '?');
		at += strlen(between) + word.n;
	}
}

static void add_date(struct buf *out, const char *name, int64_t ms)
{
	char date[CLOCK_DATE_SIZE];

	clock_rfc5322(ms, date);
	buf_printf(out, "%s: %s\r\n", name, date);
}

/* --- what became of one --- */

static bool expired(const struct untold_rcpt *r)
{
	return !r->by_hand && r->code < 500;
}

/* How many digits it begins with, from one to three; else 0. */
static size_t digits(const char *s)
{
	const size_t n = strspn(s, "0123456789");

	return n <= 3 ? n : 0;
}

/* "5.1.1" of "550 5.1.1 no such user" (RFC 3463 section 2), when it is of that class. */
static bool find_status(const char *reply, char class, char out[12])
{
	const char *at = reply + 4;
	size_t subject, detail, n;

	if (strspn(reply, "0123456789") != 3 || reply[3] != ' ' || at[0] != class || at[1] != '.')
		return false;
	subject = digits(at + 2);
	if (subject == 0 || at[2 + subject] != '.')
		return false;
	detail = digits(at + 3 + subject);
	n = 3 + subject + detail;
	if (detail == 0 || (at[n] != ' ' && at[n] != '\0'))
		return false;
	memcpy(out, at, n);
	out[n] = '\0';
	return true;
}

static const char *status_of(enum notice_kind kind, const struct untold_rcpt *r, char out[12])
{
	const char class = kind == NOTICE_FAILED ? '5' : kind == NOTICE_DELAYED ? '4' : '2';

	if (kind == NOTICE_FAILED && expired(r))
		return "4.4.7"; /* its time is over */
	if (!(kind == NOTICE_FAILED && r->by_hand) && find_status(r->reply, class, out))
		return out;
	snprintf(out, 12, "%c.0.0", class);
	return out;
}

/* The host of "scheme://host:port". */
static struct span host_of(const char *relay)
{
	const char *at = strstr(relay, "://");
	struct span s = span_of(at ? at + 3 : "");
	size_t n = s.n;

	while (n > 0 && s.p[n - 1] != ':')
		n--;
	return span_make(s.p, n > 0 ? n - 1 : s.n);
}

/* As an address of mail has it (RFC 5321 section 4.1.3). */
static void add_host(struct buf *out, struct span host)
{
	bool is_ipv4 = true;

	for (size_t i = 0; i < host.n; i++)
		is_ipv4 &= (host.p[i] >= '0' && host.p[i] <= '9') || host.p[i] == '.';
	if (host.p[0] == '[')
		buf_printf(out, "[IPv6:%.*s", (int)host.n - 1, host.p + 1);
	else
		buf_printf(out, is_ipv4 ? "[%.*s]" : "%.*s", (int)host.n, host.p);
}

/* Octets as they were before they were made xtext, where that can be shown. */
static void add_decoded(struct buf *out, struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '+' && s.n - i >= 3 && hex_decode(span_make(s.p + i + 1, 2), &c, 1) == 0)
			i += 2;
		buf_add_char(out, c >= ' ' && c <= '~' ? (char)c : '?');
	}
}

/* --- the text --- */

static void add_why(const struct notice_report *n, const struct untold_rcpt *r, struct buf *out)
{
	static const char fold[] = "\r\n    ";
	struct span host = host_of(r->relay);

	buf_add_str(out, "    ");
	if (n->kind == NOTICE_FAILED && r->by_hand) {
		buf_add_str(out, "given up by the operator of this host");
	} else {
		if (n->kind == NOTICE_FAILED && expired(r))
			buf_printf(out,
				"not delivered in the time that it is kept for. The last try:%s",
				fold);
		if (r->held)
			buf_printf(out, "waits until an operator of this host has seen to it:%s",
				fold);
		if (host.n > 0)
			buf_printf(out, "%.*s said:%s", (int)host.n, host.p, fold);
		add_folded(out, r->reply[0] ? span_of(r->reply) : span_of("no answer"), 4, fold);
	}
	buf_add_str(out, "\r\n");
}

static void add_text(const struct notice_report *n, unsigned count, struct buf *out)
{
	unsigned shown = 0;

	buf_printf(out, "This is the mail system at host %s.\r\n\r\n%s\r\n", n->hostname,
		kinds[n->kind].intro);
	if (n->untold->head.len > 0)
		buf_add_str(out, "What you sent, or its header, is attached.\r\n");
	for (unsigned i = 0; i < n->untold->rcpts && shown < SHOWN_MAX; i++) {
		const struct untold_rcpt *r = &n->untold->rcpt[i];

		if (!n->of[i])
			continue;
		shown++;
		buf_printf(out, "\r\n<%s>:\r\n", r->address);
		add_why(n, r, out);
	}
	if (count > shown)
		buf_printf(out, "\r\nand %u more, named in the report.\r\n", count - shown);
	if (n->last)
		buf_add_str(out, "\r\nMany of your messages fare so. No more notices are sent to "
				 "you for an\r\n"
				 "hour; the operator of this host can list them all.\r\n");
}

/* --- message/delivery-status --- */

static void add_recipient(
	const struct notice_report *n, const struct untold_rcpt *r, struct buf *out)
{
	char status[12];
	struct span host = host_of(r->relay);
	long semicolon = span_find(span_of(r->orcpt), ';');

	buf_add_str(out, "\r\n");
	if (semicolon > 0) {
		buf_printf(out, "Original-Recipient: %.*s; ", (int)semicolon, r->orcpt);
		add_decoded(out, span_from(span_of(r->orcpt), (size_t)semicolon + 1));
		buf_add_str(out, "\r\n");
	}
	buf_printf(out, "Final-Recipient: rfc822; %s\r\nAction: %s\r\nStatus: %s\r\n", r->address,
		kinds[n->kind].action, status_of(n->kind, r, status));
	if (host.n > 0) {
		buf_add_str(out, "Remote-MTA: dns; ");
		add_host(out, host);
		buf_add_str(out, "\r\n");
	}
	/* What is not an answer of SMTP's is told in the text alone. */
	if (r->code > 0 && !(n->kind == NOTICE_FAILED && r->by_hand)) {
		buf_add_str(out, "Diagnostic-Code: smtp; ");
		add_folded(out, span_of(r->reply), 23, "\r\n    ");
		buf_add_str(out, "\r\n");
	}
	if (r->tried > 0)
		add_date(out, "Last-Attempt-Date", r->tried);
	if (n->kind == NOTICE_DELAYED && !r->held)
		add_date(out, "Will-Retry-Until", r->since + n->lifetime);
}

static void add_status(const struct notice_report *n, struct buf *out)
{
	if (n->untold->envid[0]) {
		buf_add_str(out, "Original-Envelope-Id: ");
		add_decoded(out, span_of(n->untold->envid));
		buf_add_str(out, "\r\n");
	}
	buf_printf(out, "Reporting-MTA: dns; %s\r\n", n->hostname);
	add_date(out, "Arrival-Date", n->untold->submitted);
	for (unsigned i = 0; i < n->untold->rcpts; i++)
		if (n->of[i])
			add_recipient(n, &n->untold->rcpt[i], out);
}

/* --- what comes back --- */

static bool has_eightbit(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] > 127)
			return true;
	return false;
}

/* The header, as much of it as is there in whole fields. */
static struct span header_of(struct span head)
{
	struct span rest = head;
	struct field f;
	const char *end = head.p;

	while (rest.n >= 2 && memcmp(rest.p, "\r\n", 2) != 0 && field_next(&rest, &f)) {
		if (f.raw.n < 2 || memcmp(f.raw.p + f.raw.n - 2, "\r\n", 2) != 0)
			break; /* cut off */
		end = rest.p;
	}
	return span_make(head.p, (size_t)(end - head.p));
}

/* All of a message of which somebody has to know what it was; else its header. */
static struct span returned(const struct notice_report *n, bool *ret_whole)
{
	const struct untold *u = n->untold;

	*ret_whole = n->kind == NOTICE_FAILED && u->whole && !u->headers_only;
	return *ret_whole ? buf_span(&u->head) : header_of(buf_span(&u->head));
}

/* --- the whole --- */

static void make_ids(const struct notice_report *n, char *boundary, size_t size, char *message_id)
{
	unsigned char octets[12];
	char hex[2 * sizeof octets + 1];

	random_bytes(octets, sizeof octets);
	hex_encode(octets, sizeof octets, hex);
	snprintf(boundary, size, "%s.report", hex);
	random_bytes(octets, sizeof octets);
	hex_encode(octets, sizeof octets, hex);
	snprintf(message_id, NOTICE_MESSAGE_ID_MAX, "<%lld.%s@%s>", (long long)n->now, hex,
		n->hostname);
}

static bool is_message_id(const char *s)
{
	const size_t n = strlen(s);

	if (n < 3 || n >= 900 || s[0] != '<' || s[n - 1] != '>')
		return false;
	for (size_t i = 1; i < n - 1; i++)
		if (s[i] <= ' ' || s[i] > '~' || s[i] == '<' || s[i] == '>')
			return false;
	return true;
}

static void add_header(const struct notice_report *n, const struct notice_made *made,
	const char *boundary, struct buf *out)
{
	add_date(out, "Date", n->now);
	buf_printf(out,
		"From: Mail Delivery System <%s>\r\nTo: <%s>\r\nSubject: %s\r\nMessage-ID: %s\r\n",
		n->from, n->to, kinds[n->kind].subject, made->message_id);
	if (is_message_id(n->untold->message_id))
		buf_printf(out, "In-Reply-To: %s\r\nReferences: %s\r\n", n->untold->message_id,
			n->untold->message_id);
	buf_printf(out,
		"Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
		"Content-Type: multipart/report; report-type=delivery-status;\r\n"
		" boundary=\"%s\"\r\n",
		boundary);
	if (made->eightbit)
		buf_add_str(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_add_str(out, "\r\nThis is a report on a message, in MIME format.\r\n");
}

static unsigned count_of(const struct notice_report *n)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n->untold->rcpts; i++)
		count += n->of[i];
	return count;
}

int notice_compose(const struct notice_report *n, struct notice_made *ret, struct err *e)
{
	struct buf *out = &ret->content;
	char boundary[64];
	bool whole;
	const struct span back = returned(n, &whole);

	buf_init(out, NOTICE_MAX);
	ret->eightbit = has_eightbit(back);
	make_ids(n, boundary, sizeof boundary, ret->message_id);
	add_header(n, ret, boundary, out);
	buf_printf(out,
		"\r\n--%s\r\nContent-Description: Notification\r\n"
		"Content-Type: text/plain; charset=us-ascii\r\n\r\n",
		boundary);
	add_text(n, count_of(n), out);
	buf_printf(out,
		"\r\n--%s\r\nContent-Description: Delivery report\r\n"
		"Content-Type: message/delivery-status\r\n\r\n",
		boundary);
	add_status(n, out);
	if (back.n > 0) {
		buf_printf(out, "\r\n--%s\r\nContent-Description: %s\r\nContent-Type: %s\r\n%s\r\n",
			boundary, whole ? "Your message" : "The header of your message",
			whole ? "message/rfc822" : "text/rfc822-headers",
			ret->eightbit ? "Content-Transfer-Encoding: 8bit\r\n" : "");
		buf_add_span(out, back);
	}
	buf_printf(out, "\r\n--%s--\r\n", boundary);
	if (!out->failed)
		return 0;
	buf_done(out);
	return err_set(e, EX_TEMPFAIL, "out of memory for a notice");
}

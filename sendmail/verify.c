/*
 * The same parts as a submission takes (draft, recipients, sender), asked one recipient at a time,
 * so that one that is refused does not hide the others.
 */
#include "sendmail/verify.h"

#include "base/address_list.h"
#include "base/clock.h"
#include "base/field.h"
#include "base/log.h"
#include "base/recipients.h"
#include "sendmail/draft.h"
#include "sendmail/header.h"
#include "sendmail/input.h"
#include "sendmail/sender.h"
#include "sendmail/ses.h"

#include <inttypes.h>

#define SHOWN_MAX 320 /* octets of what is named: an address with room to spare */

struct run {
	const struct verify *v;
	struct recipients *recipients;
	intake_on_header draft_header; /* what the draft does with a header */
	void *draft;
	bool sender_good;
	unsigned authors; /* addresses in the From or Sender at hand */
	unsigned long_lines;
	unsigned bad_recipients, refusals;
	int code;
	struct err broken; /* what kept us from finding out; code 0: nothing */
};

/* In sendmail's form, `name... what of it`. */
__attribute__((format(printf, 3, 4))) static void say(
	struct run *r, struct span name, const char *fmt, ...)
{
	char shown[SHOWN_MAX];
	va_list ap;

	fprintf(r->v->to, "%s... ", log_printable(name, shown, sizeof(shown)));
	va_start(ap, fmt);
	vfprintf(r->v->to, fmt, ap);
	va_end(ap);
	fputc('\n', r->v->to);
}

/* An unknown name says less than anything else that is wrong. */
static void refuse(struct run *r, int code, struct span name, const char *why)
{
	if (code == EX_TEMPFAIL)
		err_set(&r->broken, code, "%s", why);
	say(r, name, "%s", why);
	r->refusals++;
	if (r->code == 0 || r->code == EX_NOUSER || code == EX_CONFIG)
		r->code = code;
}

/* --- senders --- */

/* What SES thinks of a sender, once it is rewritten. */
static void judge_sender(struct run *r, struct span name, const char *sent)
{
	const struct conf_mail *conf = r->v->conf;

	if (conf->verified.n == 0)
		return;
	if (sent[0] == '\0')
		refuse(r, EX_DATAERR, name, "SES refuses the null sender");
	else if (!conf_list_match(&conf->verified, span_of(sent)))
		refuse(r, EX_DATAERR, name,
			"SES would refuse it as a sender: no `verified` of the configuration "
			"matches");
}

static const char *sent_as(const struct run *r, const char *sender)
{
	return conf_sent_as(&r->v->conf->rewrite_sender, sender);
}

static void show_sender(struct run *r)
{
	const struct verify *v = r->v;
	const struct sender_rules rules = { v->options->sender, v->options->full_name, v->caller,
		conf_mail_domain(v->conf) };
	struct sender s;
	struct err why;

	if (sender_settle(&rules, &s, &why) != 0) {
		refuse(r, why.code,
			v->options->sender ? span_of(v->options->sender) : span_of("sender"),
			why.text);
		return;
	}
	r->sender_good = true;
	const char *sent = sent_as(r, s.address);
	struct span name = span_of(s.address[0] ? s.address : "<>");
	if (sent == s.address)
		say(r, name, "sender");
	else
		say(r, name, "sender, sent as %s", sent);
	judge_sender(r, span_of(sent[0] ? sent : "<>"), sent);
}

/* An address in From or Sender. */
static int judge_author(void *arg, const struct mailbox *m, struct err *e)
{
	struct run *r = arg;
	char text[SHOWN_MAX];
	struct address a;

	r->authors++;
	snprintf(text, sizeof(text), m->bare ? "%.*s@%s" : "%.*s",
		(int)(m->addr.n < sizeof(text) ? m->addr.n : sizeof(text)), m->addr.p,
		conf_mail_domain(r->v->conf));
	if (address_parse(span_of(text), &a, e) != 0)
		return -1;
	judge_sender(r, m->addr, sent_as(r, a.text));
	return 0;
}

static void judge_authors(struct run *r, const struct field *f)
{
	struct err why;

	r->authors = 0;
	if (address_list_parse(f->value, judge_author, r, &why) != 0)
		refuse(r, EX_DATAERR, f->name, why.text);
	else if (r->authors == 0)
		refuse(r, EX_DATAERR, f->name, "SES refuses it without an address");
}

/* --- recipients --- */

static void add_relay(struct buf *out, struct span url)
{
	struct relay relay;

	if (relay_parse(url, &relay, NULL) != 0)
		return; /* the configuration was checked */
	buf_printf(out, "%s%s", out->len > 0 ? " or " : "", relay.text);
	relay_done(&relay);
}

/* The way of an address: never what else stands beside a relay's URL. */
static void show_way(struct run *r, struct span given, const char *address)
{
	const struct conf_mail *conf = r->v->conf;
	const struct conf_pair *route = conf_list_match(&conf->route, span_of(address));
	struct buf hosts;

	buf_init(&hosts, 8192);
	if (route)
		add_relay(&hosts, span_of(route->rest));
	for (unsigned i = 0; !route && i < conf->relay.n; i++)
		add_relay(&hosts, span_of(conf->relay.v[i].first));
	if (hosts.failed)
		refuse(r, EX_TEMPFAIL, given, "out of memory");
	else if (hosts.len == 0)
		refuse(r, EX_CONFIG, given, "no relay is configured");
	else
		say(r, given, "deliverable: mailer %s%s, host %s, user %s",
			route ? "route " : "relay", route ? route->first : "", buf_str(&hosts),
			address);
	buf_done(&hosts);
}

static int show_mailbox(void *arg, const struct mailbox *m, struct err *e)
{
	struct run *r = arg;
	unsigned before = recipients_count(r->recipients);
	struct err why;

	if (m->addr.n == 0) {
		refuse(r, EX_DATAERR, span_of("<>"), "no recipient");
		r->bad_recipients++;
		return 0;
	}
	if (recipients_add(r->recipients, m->addr, &why) != 0) {
		refuse(r, why.code, m->addr, why.text);
		r->bad_recipients++;
		return 0;
	}
	if (recipients_count(r->recipients) == before)
		say(r, m->addr, "adds nobody: named before");
	for (unsigned i = before; i < recipients_count(r->recipients); i++)
		show_way(r, m->addr, recipients_at(r->recipients, i));
	return 0;
}

static void show_list(struct run *r, struct span name, struct span list)
{
	struct err why;

	if (address_list_parse(list, show_mailbox, r, &why) == 0)
		return;
	refuse(r, why.code, name, why.text);
	r->bad_recipients++;
}

static void show_arguments(struct run *r)
{
	const struct options *o = r->v->options;

	for (unsigned i = 0; i < o->rcpts; i++) {
		struct span one = span_of(o->rcpt[i]);
		if (!span_has_break(one)) {
			show_list(r, one, one);
			continue;
		}
		refuse(r, EX_DATAERR, one, "holds a line end");
		r->bad_recipients++;
	}
}

/* --- the message --- */

static void count_long_lines(struct run *r, struct span lines)
{
	while (lines.n > 0) {
		long nl = span_find(lines, '\n');
		size_t n = nl < 0 ? lines.n : (size_t)nl + 1;
		r->long_lines += n > LONGLINE_MAX + 2;
		lines = span_from(lines, n);
	}
}

static void judge_fields(struct run *r, struct span fields, bool resent)
{
	unsigned seen[SES_ONCE_MAX] = { 0 };
	struct span rest = fields;
	struct header_field f;
	struct field named;

	while (header_next(&rest, &f)) {
		struct span raw = f.raw;
		if (!field_next(&raw, &named))
			continue;
		int once = ses_once(named.name);
		if (once >= 0 && ++seen[once] == 2)
			refuse(r, EX_DATAERR, named.name,
				"SES refuses a message that has it twice");
		if (f.flags & HEADER_RECIPIENTS && (!resent || f.flags & HEADER_RESENT))
			show_list(r, named.name, f.value);
		if (span_eq_nocase(named.name, span_of("From")) ||
			span_eq_nocase(named.name, span_of("Sender")))
			judge_authors(r, &named);
	}
}

/* Says all that is wrong with the header, then lets the draft have it. */
static int on_header(void *arg, const struct intake_header *h, struct spool *to, struct err *e)
{
	struct run *r = arg;
	struct header_facts facts;

	header_survey(h->fields, &facts);
	judge_fields(r, h->fields, facts.resent);
	count_long_lines(r, h->fields);
	return r->draft_header(r->draft, h, to, e);
}

/* The sender and the recipients of the arguments, as far as they are good, so that nothing is wrong
 * with them any more. */
static int fill_draft(struct run *r, struct draft *d, struct err *e)
{
	if (draft_set_sender(d, r->sender_good ? r->v->options->sender : "<>", e) != 0)
		return -1;
	for (unsigned i = 0; i < recipients_count(r->recipients); i++) {
		struct span one = span_of(recipients_at(r->recipients, i));
		if (draft_add_recipients(d, one, NULL, NULL, e) != 0)
			return -1;
	}
	return 0;
}

static struct draft *open_draft(struct run *r, struct err *e)
{
	const struct options *o = r->v->options;
	const struct draft_options options = { .conf = r->v->conf,
		.caller = r->v->caller,
		.full_name = r->sender_good ? o->full_name : NULL,
		.no_aliases = o->no_aliases,
		.header_recipients = true,
		.dot_ends = !o->ignore_dots };
	struct draft *d = draft_new(&options, e);

	if (d && fill_draft(r, d, e) != 0) {
		draft_free(d);
		return NULL;
	}
	return d;
}

static void say_size(struct run *r, const struct intake *in)
{
	struct span message = span_of("message");

	say(r, message, "%" PRIu64 " octets", in->size);
	if (r->long_lines > 0 || in->longline.breaks > 0)
		say(r, message,
			"lines over %d octets: %u of the header are folded, %" PRIu64
			" breaks are put into the body",
			LONGLINE_MAX, r->long_lines, in->longline.breaks);
}

/* The draft refuses a header for the first recipient that is bad: that one has been told of. */
static bool was_said(const struct run *r, const struct intake *in)
{
	return r->bad_recipients > 0 && in->refused && in->size <= in->size_max;
}

static int read_message(struct run *r, struct err *e)
{
	struct draft *d = open_draft(r, e);
	struct intake *in;
	struct err why;
	int result = 0;

	if (!d)
		return -1;
	in = draft_intake(d);
	r->draft_header = in->on_header;
	r->draft = in->arg;
	in->on_header = on_header;
	in->arg = r;
	if (input_read(r->v->fd, clock_mono_ms() + INPUT_DEADLINE_MS, in, &why) == 0)
		say_size(r, in);
	else if (why.code != EX_DATAERR && why.code != EX_NOUSER && why.code != EX_CONFIG)
		result = err_set(e, why.code, "%s", why.text);
	else if (!was_said(r, in))
		refuse(r, why.code, span_of("message"), why.text);
	draft_free(d);
	return result;
}

int verify_run(const struct verify *v, struct err *e)
{
	const struct recipients_rules rules = recipients_rules_of(v->conf, v->options->no_aliases);
	struct run r = { .v = v, .recipients = recipients_new(&rules) };
	const char *notes;
	int result = -1;

	if (!r.recipients)
		return err_set(e, EX_TEMPFAIL, "out of memory");
	show_sender(&r);
	show_arguments(&r);
	if (v->options->from_header && read_message(&r, e) != 0)
		goto out;
	notes = recipients_notes(r.recipients);
	fputs(notes ? notes : "", v->to);
	if (r.broken.code != 0)
		err_set(e, r.broken.code, "%s", r.broken.text);
	else if (!notes)
		err_set(e, EX_TEMPFAIL, "out of memory");
	else if (fflush(v->to) != 0 || ferror(v->to))
		err_sys(e, EX_IOERR, "standard output can't be written");
	else if (r.refusals > 0)
		err_set(e, r.code, "it would not go as it is: %u of the above", r.refusals);
	else
		result = 0;
out:
	recipients_free(r.recipients);
	return result;
}

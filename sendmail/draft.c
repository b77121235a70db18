/*
 * The parts of a message, put together. Nothing touches the queue before all of it is here.
 */
#include "sendmail/draft.h"

#include "base/clock.h"
#include "base/dsn.h"
#include "base/number.h"
#include "base/random.h"
#include "base/recipients.h"
#include "sendmail/compose.h"
#include "sendmail/fallback.h"

#include <limits.h>

#define ORIGINALS_MAX (64 * 1024 * 1024) /* recipients_max times 500 octets, and more */

/* What RFC 3461 asks for the recipients from the end of the range before up to this end. */
struct range {
	unsigned end;
	char *notify, *orcpt; /* NULL: nothing */
};

struct draft {
	struct draft_options o;
	struct recipients *recipients;
	struct range *range;
	unsigned ranges;
	struct sender sender;
	struct compose compose;
	struct intake intake;
	struct spool spool;
	unsigned char key[16];
	char id[33];
	struct buf originals; /* see add_original */
	char dir[PATH_MAX];   /* of the queue, for the spool's file */
};

/* --- recipients --- */

static void range_done(struct range *range)
{
	free(range->notify);
	free(range->orcpt);
}

/* Room for one more, and that one: before a recipient is added, so that a failure adds none. */
static int range_make(
	struct draft *d, const char *notify, const char *orcpt, struct range *ret, struct err *e)
{
	struct range *all = realloc(d->range, (d->ranges + 1) * sizeof(*all));
	struct range one = { 0 };

	if (all)
		d->range = all;
	if (notify && notify[0])
		one.notify = strdup(notify);
	if (orcpt && orcpt[0])
		one.orcpt = strdup(orcpt);
	if (!all || (notify && notify[0] && !one.notify) || (orcpt && orcpt[0] && !one.orcpt)) {
		range_done(&one);
		return err_set(e, EX_TEMPFAIL, "out of memory");
	}
	*ret = one;
	return 0;
}

int draft_add_recipients(
	struct draft *d, struct span list, const char *notify, const char *orcpt, struct err *e)
{
	unsigned before = recipients_count(d->recipients);
	struct range range = { 0 };
	int result;

	if (range_make(d, notify, orcpt, &range, e) != 0)
		return -1;
	result = recipients_add(d->recipients, list, e);
	range.end = recipients_count(d->recipients);
	if (range.end > before)
		d->range[d->ranges++] = range;
	else
		range_done(&range);
	return result;
}

bool draft_is_full(const struct draft *d)
{
	return recipients_are_full(d->recipients);
}

/* "To: a\nb@example.com": a list that a line end has cut in two. What was left of it would name
 * somebody else. */
static bool is_cut_list(const struct header_field *last, const struct intake_header *h)
{
	return last->flags & HEADER_RECIPIENTS && span_find(h->cut_by, '@') >= 0;
}

static int add_header_recipients(struct draft *d, const struct intake_header *h,
	const struct header_facts *facts, struct err *e)
{
	struct span rest = h->fields;
	struct header_field f = { 0 };

	while (header_next(&rest, &f)) {
		if (!(f.flags & HEADER_RECIPIENTS) || (facts->resent && !(f.flags & HEADER_RESENT)))
			continue;
		if (draft_add_recipients(d, f.value, NULL, NULL, e) != 0)
			return err_prefix(e, "%.*s ", (int)(f.value.p - f.raw.p), f.raw.p);
	}
	if (is_cut_list(&f, h))
		return err_set(e, EX_DATAERR,
			"the header ends within a list of recipients: a line that goes on begins "
			"with a space, and an empty line ends the header");
	return 0;
}

/* --- content --- */

static int on_header(void *arg, const struct intake_header *h, struct spool *to, struct err *e)
{
	struct draft *d = arg;
	struct header_facts facts;

	header_survey(h->fields, &facts);
	if (d->o.header_recipients && add_header_recipients(d, h, &facts, e) != 0)
		return -1;
	if (recipients_count(d->recipients) == 0)
		return err_set(e, EX_DATAERR,
			"no recipient: none was given, and with -t none is in To, Cc or Bcc");
	d->compose.now = clock_wall_ms();
	return compose_header(&d->compose, h->fields, &facts, to, e);
}

struct intake *draft_intake(struct draft *d)
{
	return &d->intake;
}

/* --- the whole --- */

static int find_dir(struct draft *d, struct err *e)
{
	const char *queue = d->o.conf->queue, *slash = strrchr(queue, '/');
	size_t n = slash ? (size_t)(slash - queue) + 1 : 0;

	if (n >= sizeof(d->dir))
		return err_set(e, EX_CONFIG, "queue: the path is too long");
	memcpy(d->dir, queue, n);
	memcpy(d->dir + n, n ? "" : ".", n ? 1 : 2);
	return 0;
}

static void prepare(struct draft *d)
{
	const struct conf_mail *conf = d->o.conf;

	spool_init(&d->spool, d->dir);
	buf_init(&d->originals, ORIGINALS_MAX);
	random_bytes(d->key, sizeof(d->key));
	hex_encode(d->key, sizeof(d->key), d->id);
	d->compose = (struct compose) { .sender = &d->sender,
		.hostname = conf->hostname,
		.domain = conf_mail_domain(conf),
		.uid = d->o.caller,
		.id = d->id };
	intake_init(&d->intake, d->o.dot_ends);
	d->intake.on_header = on_header;
	d->intake.arg = d;
	d->intake.to = &d->spool;
	d->intake.size_max = conf->message_size;
}

struct draft *draft_new(const struct draft_options *o, struct err *e)
{
	const struct recipients_rules rules = recipients_rules_of(o->conf, o->no_aliases);
	struct draft *d = calloc(1, sizeof(*d));

	if (!d) {
		err_set(e, EX_TEMPFAIL, "out of memory");
		return NULL;
	}
	d->o = *o;
	prepare(d);
	d->recipients = recipients_new(&rules);
	if (!d->recipients)
		err_set(e, EX_TEMPFAIL, "out of memory");
	if (!d->recipients || find_dir(d, e) != 0) {
		draft_free(d);
		return NULL;
	}
	return d;
}

void draft_free(struct draft *d)
{
	if (!d)
		return;
	intake_done(&d->intake);
	spool_done(&d->spool);
	buf_done(&d->originals);
	recipients_free(d->recipients);
	for (unsigned i = 0; i < d->ranges; i++)
		range_done(&d->range[i]);
	free(d->range);
	free(d);
}

int draft_set_sender(struct draft *d, const char *given, struct err *e)
{
	const struct sender_rules rules = { given, d->o.full_name, d->o.caller,
		conf_mail_domain(d->o.conf) };

	return sender_settle(&rules, &d->sender, e);
}

/* --- the queue --- */

/* ORCPT (RFC 3461 section 4.2) of a recipient to whom an alias or `postmaster` led, "" of others,
 * and a NUL. */
static void add_original(const struct draft *d, unsigned i, struct buf *out)
{
	const char *name = recipients_name_of(d->recipients, i);
	char whole[ADDRESS_LOCAL_MAX + 1 + ADDRESS_DOMAIN_MAX + 2] = "";

	name += name[0] == '\\';
	snprintf(whole, sizeof(whole), "%s@%s", name, conf_mail_domain(d->o.conf));
	if (name[0] && !span_eq_nocase(span_of(whole), span_of(recipients_at(d->recipients, i)))) {
		buf_add_str(out, "rfc822;");
		dsn_add_xtext(out, span_of(whole));
	}
	buf_add_char(out, '\0');
}

/* For all recipients, one after the other. 0 or -1. */
static int make_originals(struct draft *d, struct err *e)
{
	buf_clear(&d->originals);
	for (unsigned i = 0; i < recipients_count(d->recipients); i++)
		add_original(d, i, &d->originals);
	return d->originals.failed ? err_set(e, EX_TEMPFAIL, "out of memory") : 0;
}

static void fill_rcpts(const struct draft *d, const char *notify, struct store_rcpt *rcpt)
{
	unsigned n = recipients_count(d->recipients), range = 0;
	const char *original = d->originals.data;

	for (unsigned i = 0; i < n; i++) {
		while (range < d->ranges && d->range[range].end <= i)
			range++;
		rcpt[i].address = recipients_at(d->recipients, i);
		if (range < d->ranges) {
			rcpt[i].notify = d->range[range].notify;
			rcpt[i].orcpt = d->range[range].orcpt;
		}
		if (!rcpt[i].notify && notify[0])
			rcpt[i].notify = notify;
		if (!rcpt[i].orcpt && original[0])
			rcpt[i].orcpt = original;
		original += strlen(original) + 1;
	}
}

static void report(struct draft *d, const struct store_submission *m,
	const struct fallback_stored *stored, struct submitted *ret)
{
	const char *notes = recipients_notes(d->recipients);

	*ret = (struct submitted) { .id = stored->id,
		.size = m->content.n,
		.recipients = m->rcpts,
		.nuls = d->intake.normalise.nuls,
		.notes = notes ? strdup(notes) : NULL };
	memcpy(ret->key, d->id, sizeof(ret->key));
	memcpy(ret->waits, stored->why.text, sizeof(ret->waits));
	memcpy(ret->sender, d->sender.address, sizeof(ret->sender));
	memcpy(ret->message_id, d->compose.message_id, sizeof(ret->message_id));
}

int draft_store(struct draft *d, const struct draft_wishes *w, struct submitted *ret, struct err *e)
{
	unsigned n = recipients_count(d->recipients);
	struct store_rcpt *rcpt = calloc(n, sizeof(*rcpt));
	struct store_submission m = { .submitted = clock_wall_ms(),
		.uid = d->o.caller,
		.sender = d->sender.address,
		.message_id = d->compose.message_id,
		.eightbit = w->eightbit || d->intake.eightbit,
		.ret = w->ret,
		.envid = w->envid,
		.rcpt = rcpt,
		.rcpts = n,
		.queue_max = d->o.conf->queue_max,
		.user_max = d->o.conf->user_max };
	struct fallback_stored stored;
	int result = -1;

	if (!rcpt) {
		err_set(e, EX_TEMPFAIL, "out of memory");
		goto out;
	}
	memcpy(m.key, d->key, sizeof(m.key));
	if (make_originals(d, e) != 0)
		goto out;
	fill_rcpts(d, w->notify, rcpt);
	if (spool_span(&d->spool, &m.content, e) != 0 ||
		fallback_store(d->o.conf, &m, &stored, e) != 0)
		goto out;
	report(d, &m, &stored, ret);
	result = 0;
out:
	free(rcpt);
	return result;
}

void submitted_done(struct submitted *s)
{
	if (s)
		free(s->notes);
}

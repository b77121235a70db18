/*
 * The order of a submission: sender and recipients of the arguments; all of the input; then the
 * queue, in one transaction. What can be refused is refused before the queue is opened.
 */
#include "sendmail/submit.h"

#include "base/clock.h"
#include "base/number.h"
#include "base/random.h"
#include "sendmail/compose.h"
#include "sendmail/input.h"
#include "sendmail/recipients.h"
#include "store/store.h"

#include <limits.h>

struct run {
	const struct submit *s;
	struct recipients *recipients;
	struct sender sender;
	struct compose compose;
	struct intake intake;
	struct spool spool;
	unsigned char key[16];
	char id[33];
	char dir[PATH_MAX]; /* of the queue, for the spool's file */
};

static const char *mail_domain(const struct conf_mail *conf)
{
	return conf->domain[0] ? conf->domain : conf->hostname;
}

static int add_arguments(struct run *r, struct err *e)
{
	const struct options *o = r->s->options;

	/* Said for the command line here, so that it is a usage error. */
	if (o->rcpts > r->s->conf->recipients_max)
		return err_set(e, EX_USAGE, "%u recipients: at most %llu (recipients_max)",
			o->rcpts, (unsigned long long)r->s->conf->recipients_max);
	for (unsigned i = 0; i < o->rcpts; i++) {
		struct span one = span_of(o->rcpt[i]);
		if (span_has_break(one))
			return err_set(e, EX_DATAERR, "recipient %u holds a line end", i + 1);
		if (recipients_add(r->recipients, one, e) != 0)
			return err_prefix(e, "recipient %u: ", i + 1);
	}
	return 0;
}

/* "To: a\nb@example.com": a list that a line end has cut in two. What was left of it would name
 * somebody else. */
static bool is_cut_list(const struct header_field *last, const struct intake_header *h)
{
	return last->flags & HEADER_RECIPIENTS && span_find(h->cut_by, '@') >= 0;
}

static int add_header_recipients(struct run *r, const struct intake_header *h,
	const struct header_facts *facts, struct err *e)
{
	struct span rest = h->fields;
	struct header_field f = { 0 };

	while (header_next(&rest, &f)) {
		if (!(f.flags & HEADER_RECIPIENTS) || (facts->resent && !(f.flags & HEADER_RESENT)))
			continue;
		if (recipients_add(r->recipients, f.value, e) != 0)
			return err_prefix(e, "%.*s ", (int)(f.value.p - f.raw.p), f.raw.p);
	}
	if (is_cut_list(&f, h))
		return err_set(e, EX_DATAERR,
			"the header ends within a list of recipients: a line that goes on begins "
			"with a "
			"space, and an empty line ends the header");
	return 0;
}

static int on_header(void *arg, const struct intake_header *h, struct spool *to, struct err *e)
{
	struct run *r = arg;
	struct header_facts facts;

	header_survey(h->fields, &facts);
	if (r->s->options->from_header && add_header_recipients(r, h, &facts, e) != 0)
		return -1;
	if (recipients_count(r->recipients) == 0)
		return err_set(e, EX_DATAERR,
			"no recipient: none was given, and with -t none is in To, Cc or Bcc");
	r->compose.now = clock_wall_ms();
	return compose_header(&r->compose, h->fields, &facts, to, e);
}

static int prepare(struct run *r, struct err *e)
{
	const struct conf_mail *conf = r->s->conf;
	const struct options *o = r->s->options;
	const struct sender_rules rules = { o->sender, o->full_name, r->s->caller,
		mail_domain(conf) };
	const char *slash = strrchr(conf->queue, '/');
	size_t n = slash ? (size_t)(slash - conf->queue) + 1 : 0;

	if (n >= sizeof(r->dir))
		return err_set(e, EX_CONFIG, "queue: the path is too long");
	memcpy(r->dir, conf->queue, n);
	memcpy(r->dir + n, n ? "" : ".", n ? 1 : 2);
	spool_init(&r->spool, r->dir);

	if (sender_settle(&rules, &r->sender, e) != 0)
		return -1;
	random_bytes(r->key, sizeof(r->key));
	hex_encode(r->key, sizeof(r->key), r->id);
	r->compose = (struct compose) { .sender = &r->sender,
		.hostname = conf->hostname,
		.domain = mail_domain(conf),
		.uid = r->s->caller,
		.id = r->id };
	return add_arguments(r, e);
}

static int read_message(struct run *r, struct err *e)
{
	r->intake.on_header = on_header;
	r->intake.arg = r;
	r->intake.to = &r->spool;
	r->intake.size_max = r->s->conf->message_size;
	return input_read(r->s->fd, clock_mono_ms() + INPUT_DEADLINE_MS, &r->intake, e);
}

static int put_in_queue(
	struct run *r, const struct store_submission *m, int64_t *ret_id, struct err *e)
{
	const struct conf_mail *conf = r->s->conf;
	struct store *store;
	int result;

	if (store_open(&store, conf->queue, STORE_SUBMIT, conf->lock_wait, e) != 0)
		return -1;
	result = store_put(store, m, ret_id, e);
	store_close(store);
	return result;
}

static int store_message(struct run *r, struct submitted *ret, struct err *e)
{
	const struct options *o = r->s->options;
	unsigned n = recipients_count(r->recipients);
	struct store_rcpt *rcpt = calloc(n, sizeof(*rcpt));
	struct store_submission m = { .submitted = clock_wall_ms(),
		.uid = r->s->caller,
		.sender = r->sender.address,
		.message_id = r->compose.message_id,
		.eightbit = o->eightbit || r->intake.eightbit,
		.ret = o->ret,
		.envid = o->envid,
		.rcpt = rcpt,
		.rcpts = n };
	int result = -1;

	if (!rcpt) {
		err_set(e, EX_TEMPFAIL, "out of memory");
		goto out;
	}
	memcpy(m.key, r->key, sizeof(m.key));
	for (unsigned i = 0; i < n; i++) {
		rcpt[i].address = recipients_at(r->recipients, i);
		rcpt[i].notify = o->notify[0] ? o->notify : NULL;
	}
	if (spool_span(&r->spool, &m.content, e) != 0 || put_in_queue(r, &m, &ret->id, e) != 0)
		goto out;
	ret->size = m.content.n;
	ret->recipients = n;
	result = 0;
out:
	free(rcpt);
	return result;
}

static void report(struct run *r, struct submitted *ret)
{
	memcpy(ret->sender, r->sender.address, sizeof(ret->sender));
	memcpy(ret->message_id, r->compose.message_id, sizeof(ret->message_id));
	ret->nuls = r->intake.normalise.nuls;
	ret->notes = strdup(recipients_notes(r->recipients));
}

int submit_run(const struct submit *s, struct submitted *ret, struct err *e)
{
	const struct recipients_rules rules = { .domain = s->conf->domain,
		.postmaster = s->conf->postmaster,
		.aliases = s->options->no_aliases ? NULL : s->conf->aliases,
		.max = s->conf->recipients_max };
	static struct run r;
	struct submitted done = { 0 };
	int result = -1;

	r = (struct run) { .s = s, .recipients = recipients_new(&rules), .spool = { .fd = -1 } };
	intake_init(&r.intake, !s->options->ignore_dots);
	if (!r.recipients) {
		err_set(e, EX_TEMPFAIL, "out of memory");
		goto out;
	}
	if (prepare(&r, e) != 0 || read_message(&r, e) != 0 || store_message(&r, &done, e) != 0)
		goto out;
	report(&r, &done);
	*ret = done;
	result = 0;
out:
	intake_done(&r.intake);
	spool_done(&r.spool);
	recipients_free(r.recipients);
	return result;
}

void submitted_done(struct submitted *s)
{
	if (s)
		free(s->notes);
}

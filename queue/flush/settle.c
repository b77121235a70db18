/*
 * From outcomes to verdicts to the queue: what each answer means for its recipient, written back
 * in groups, and a line in the log for each, once the queue has it.
 */
#include "flush/flusher.h"

#include "base/clock.h"
#include "flush/flying.h"
#include "flush/report.h"

#include <assert.h>

#define LIFETIMES 4  /* lifetime_max, where it is not set */
#define NOTED_MAX 16 /* messages on which one fault of the road is noted */

struct settling {
	struct store_settlement *row; /* the strings belong to `report` and to the batches */
	struct report *report;
	unsigned rows, room;
	unsigned written;   /* of the rows, when the queue could not be written for the rest */
	struct batch *done; /* in hand until the rows are written */
	int64_t since;      /* monotonic ms of the first row */
};

int settle_open(struct flusher *f, struct err *e)
{
	f->settling = calloc(1, sizeof *f->settling);
	if (!f->settling)
		return err_set(e, EX_OSERR, "out of memory for verdicts");
	f->settling->room = FLUSH_SETTLE_MAX * 2 + FLUSH_BATCH_MAX;
	f->settling->row = calloc(f->settling->room, sizeof *f->settling->row);
	f->settling->report = calloc(f->settling->room, sizeof *f->settling->report);
	if (!f->settling->row || !f->settling->report)
		return err_set(e, EX_OSERR, "out of memory for verdicts");
	return 0;
}

static void drop_done(struct flusher *f)
{
	for (struct batch *b; (b = f->settling->done);) {
		f->settling->done = b->next;
		batch_drop(f, b);
	}
}

void settle_close(struct flusher *f)
{
	if (!f->settling)
		return;
	drop_done(f);
	free(f->settling->row);
	free(f->settling->report);
	free(f->settling);
	f->settling = NULL;
}

int64_t settle_deadline(const struct flusher *f)
{
	return f->settling->rows == 0 ? INT64_MAX : f->settling->since + FLUSH_SETTLE_MS;
}

/* Whether no later row is of the same message: its end is told once. */
static bool last_of_message(const struct settling *s, unsigned at)
{
	for (unsigned i = at + 1; i < s->rows; i++)
		if (s->row[i].message == s->row[at].message)
			return false;
	return true;
}

int settle_write(struct flusher *f, bool now, struct err *e)
{
	struct settling *s = f->settling;
	bool done[FLUSH_SETTLE_MAX];

	if (s->rows == 0 ||
		(!now && s->rows < FLUSH_SETTLE_MAX && clock_mono_ms() < settle_deadline(f)))
		return 0;
	while (s->written < s->rows) {
		const unsigned at = s->written;
		unsigned n = s->rows - at < FLUSH_SETTLE_MAX ? s->rows - at : FLUSH_SETTLE_MAX;

		if (store_settle(f->store, s->row + at, n, f->conf->keep_sent, done, e) < 0)
			return -1;
		for (unsigned i = 0; i < n; i++)
			report_settled(&s->report[at + i], &s->row[at + i],
				done[i] && last_of_message(s, at + i), &f->stats);
		/* No longer in hand, and perhaps due again at once. */
		for (unsigned i = 0; i < n; i++)
			f->look |= s->row[at + i].state == STORE_QUEUED;
		s->written += n;
	}
	s->rows = s->written = 0;
	for (struct batch *b = s->done; b; b = b->next)
		flying_done(f, b);
	drop_done(f);
	return 0;
}

/* Room for one batch more: what is there is written first. Why a store can't be written is said by
 * the next settle_write. */
static bool make_room(struct flusher *f)
{
	struct err e;

	return f->settling->rows + FLUSH_BATCH_MAX <= f->settling->room ||
	       (!f->unwritten && settle_write(f, true, &e) == 0);
}

static void keep_until_written(struct flusher *f, struct batch *b)
{
	b->next = f->settling->done;
	f->settling->done = b;
}

/* The next row, with what all rows have. */
static struct store_settlement *add_row(struct flusher *f, struct batch *b, const struct hand *h,
	const char *relay, const char *peer, const struct verdict *v)
{
	struct settling *s = f->settling;
	struct report *p = &s->report[s->rows];
	struct store_settlement *row = &s->row[s->rows];

	assert(s->rows < s->room);
	if (s->rows++ == 0)
		s->since = clock_mono_ms();
	report_init(p, h->submitted, b, v, peer);
	*row = (struct store_settlement) {
		.recipient = h->recipient,
		.message = b->message,
		.version = h->version,
		.address = h->address,
		.relay = relay,
		.reply = &p->reply,
		.ses_id = p->ses_id,
		.maybe_sent = v->maybe_sent,
		.doubt_journal = h->doubt_journal,
		.doubt_until = h->doubt_until,
		.at = b->answered_wall,
		.queued_ms = p->queued_ms,
		.connect_ms = p->connect_ms,
		.hop_ms = p->hop_ms,
		.ses_ms = p->ses_ms,
	};
	return row;
}

/* What the configuration gives to a message, and to one of our own notices. */
static struct retry_rules rules_for(const struct conf_mail *c, bool notice)
{
	const int64_t lifetime = notice ? c->bounce_lifetime : c->lifetime;
	int64_t most = lifetime * LIFETIMES;

	if (c->lifetime_max > 0 && (!notice || c->lifetime_max < most))
		most = c->lifetime_max;
	return (struct retry_rules) {
		.retry_min = c->retry_min,
		.retry_max = c->retry_max,
		.lifetime = lifetime,
		.lifetime_max = most,
	};
}

static void set_retry(struct flusher *f, struct store_settlement *row, const struct batch *b,
	const struct hand *h, const struct verdict *v, bool exact)
{
	const struct retry_rules rules = rules_for(f->conf, h->notice);
	struct retry_facts facts = {
		.tries = h->tries,
		.since = h->since,
		.now = row->at,
		.exact = exact,
		.seed = (uint64_t)row->message,
	};
	struct err why;
	struct retry r;

	/* Where that can't be known, nothing is given up for want of it. */
	if (retry_needs_down(&rules, &facts) && store_road_down(f->store, b->route->pattern,
							h->since, row->at, &facts.down, &why) < 0)
		facts.down = row->at - h->since;
	r = retry_after(v, &rules, &facts);
	row->state = r.state;
	row->counts = r.counts;
	row->next_try = r.next_try;
}

/* Whether the last try, or one before it, may have been taken without our knowing. */
static void set_doubt(struct settling *s, struct store_settlement *row, const struct outcome *o,
	const struct verdict *v, const struct ehlo *peer)
{
	const bool answered = o->step == STEP_CONTENT && o->reply.code != 0 &&
			      (v->class == VERDICT_SENT || v->class == VERDICT_NEVER ||
				      v->class == VERDICT_LATER);

	if (answered && !v->maybe_sent) {
		row->doubt_journal = "";
		row->doubt_until = 0;
	} else if (v->maybe_sent && peer->xonce) {
		struct report *p = &s->report[row - s->row];

		memcpy(p->journal, peer->xonce_journal, sizeof p->journal);
		row->doubt_journal = p->journal;
		row->doubt_until = flying_known_until(peer, row->at);
	}
}

/* Said once, until a message is answered otherwise: the road is asked again and again. */
static void tell_operator(struct route *r, const char *relay, const struct verdict *v)
{
	char said[600];

	if (!r->refused)
		log_line(LOG_ERR, "smtp",
			"%s refuses the account, and mail waits until that is mended: %s", relay,
			reply_format(&v->reply, said, sizeof said));
	r->refused = true;
}

static void settle_rcpt(struct flusher *f, struct batch *b, unsigned i, struct way *w)
{
	const struct ehlo *peer = client_ehlo(link_client(w->link));
	const struct outcome *o = &b->rcpt[i].outcome;
	const struct hand *h = &b->hand[i];
	struct store_settlement *row;
	struct verdict v;

	verdict_pass(o,
		&(struct verdict_rules) {
			.peer_says_class = peer->xonce,
			.sender = b->sender,
			.recipient = h->address,
			.operator_reply = &f->conf->operator_reply,
		},
		&v);
	/* It lost SES's answer, as we might have lost its own. */
	if (peer->xonce && span_starts_nocase(span_of(o->reply.text), "cenmail: in doubt"))
		v.maybe_sent = true;
	v.own_mail &= !b->spared;
	if (v.operator_fault)
		tell_operator(b->route, w->end->relay.text, &v);
	route_answered(f, w, b, o, &v);
	row = add_row(f, b, h, w->end->relay.text, link_peer(w->link), &v);
	set_retry(f, row, b, h, &v, peer->xonce);
	set_doubt(f->settling, row, o, &v, peer);
	row->reports = peer->dsn;
}

void settle_collect(struct flusher *f, struct way *w, int64_t now)
{
	struct client *c = link_client(w->link);

	while (client_has_done(c) && make_room(f)) {
		struct transaction *t = client_done(c);
		struct batch *b = t->owner;

		b->answered_wall = clock_wall_ms();
		if (t->content_sent && t->ended)
			window_answered(&w->window, b->ahead, t->ended - t->content_sent,
				report_ses_ms(t->rcpt[0].outcome.reply.text) * 1000);
		b->spared = blame_spares(f, w, b);
		if (b->spared && blame_takes_back(f, w, b))
			continue;
		for (unsigned i = 0; i < b->hands; i++)
			settle_rcpt(f, b, i, w);
		keep_until_written(f, b);
	}
	if (client_flying(c) == 0 && client_state(c) == CLIENT_READY && w->idle_since == 0)
		w->idle_since = now;
}

/* One try, that never came to the wire, for all recipients of a batch: `as` has the state, the next
 * try and whether it is told. */
static void settle_whole(struct flusher *f, struct batch *b, const char *relay,
	const struct verdict *v, const struct store_settlement *as)
{
	b->answered_wall = clock_wall_ms();
	for (unsigned i = 0; i < b->hands; i++) {
		struct store_settlement *row = add_row(f, b, &b->hand[i], relay, "none", v);

		row->state = as->state;
		row->next_try = as->next_try;
		row->quiet = as->quiet;
	}
	keep_until_written(f, b);
}

void settle_road(struct flusher *f, struct route *r, const char *relay, const struct outcome *fault)
{
	const struct store_settlement due = { .state = STORE_QUEUED, .next_try = clock_wall_ms() };
	struct batch *b;
	struct verdict v;

	verdict_pass(fault, &(struct verdict_rules) { .sender = "", .recipient = "" }, &v);
	for (unsigned n = 0; n < NOTED_MAX && make_room(f) && (b = fair_pop(&r->waiting)); n++)
		settle_whole(f, b, relay, &v, &due);
}

/* For what we say ourselves. */
static struct verdict own_verdict(enum verdict_class class, const char *why)
{
	struct verdict v = { .class = class };

	log_printable(span_of(why), v.reply.text, sizeof v.reply.text);
	return v;
}

void settle_damaged(struct flusher *f, struct batch *b, const char *why)
{
	const struct store_settlement held = { .state = STORE_HELD, .next_try = clock_wall_ms() };
	const struct verdict v = own_verdict(VERDICT_HELD, why);

	if (make_room(f))
		settle_whole(f, b, "", &v, &held);
	else
		batch_drop(f, b);
}

void settle_postpone(struct flusher *f, struct batch *b, int64_t at, const char *why)
{
	const struct store_settlement later = {
		.state = STORE_QUEUED,
		.next_try = at,
		.quiet = true,
	};
	const struct verdict v = own_verdict(VERDICT_ROAD, why);

	if (make_room(f))
		settle_whole(f, b, "", &v, &later);
	else
		batch_drop(f, b);
}

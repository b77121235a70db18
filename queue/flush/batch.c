/*
 * From what is due to batches: the recipients of one message that go the same way, at most
 * FLUSH_BATCH_MAX of them. Knows nothing of the wire.
 */
#include "flush/flusher.h"

#include "base/clock.h"

struct taking {
	struct flusher *f;
	int64_t now; /* monotonic ms */
	unsigned flow;
	bool no_memory;
};

static void hand_done(struct hand *h)
{
	free(h->address);
	free(h->notify);
	free(h->orcpt);
	free(h->doubt_journal);
}

static int hand_init(struct hand *h, const struct store_due *d)
{
	*h = (struct hand) {
		.recipient = d->recipient,
		.version = d->version,
		.submitted = d->submitted,
		.since = d->since,
		.tries = d->tries,
		.notice = d->notice,
		.doubt_until = d->doubt_until,
		.address = strdup(d->address),
		.doubt_journal = strdup(d->doubt_journal),
		.notify = d->notify ? strdup(d->notify) : NULL,
		.orcpt = d->orcpt ? strdup(d->orcpt) : NULL,
	};
	memcpy(h->once, d->once, sizeof h->once);
	if (h->address && h->doubt_journal && (!d->notify || h->notify) && (!d->orcpt || h->orcpt))
		return 0;
	hand_done(h);
	return -1;
}

/* Room for one recipient more. */
static bool make_room(struct batch *b)
{
	const unsigned room = b->room == 0                    ? 1
			      : b->room * 4 < FLUSH_BATCH_MAX ? b->room * 4
							      : FLUSH_BATCH_MAX;
	struct hand *grown;

	if (b->hands < b->room)
		return true;
	grown = realloc(b->hand, room * sizeof *grown);
	if (!grown)
		return false;
	b->hand = grown;
	b->room = room;
	return true;
}

static struct batch *batch_new(struct route *r, int64_t message, uint64_t size)
{
	struct batch *b = calloc(1, sizeof *b);

	if (!b)
		return NULL;
	b->route = r;
	b->message = message;
	b->size = size;
	b->taken_wall = clock_wall_ms();
	b->taken_us = clock_mono_us();
	return b;
}

/* Its last try ended with the connection, or with an answer that means its end, and not with one
 * about itself: it may be what peers die of. */
static bool is_suspect(const struct store_due *d)
{
	return d->tries > 0 && (d->last_code < 400 || d->last_code == 421);
}

/* The recipient joins the last batch of his flow, if it is of the same message and has room. */
static int join(struct route *r, unsigned flow, const struct store_due *d)
{
	const bool suspect = is_suspect(d);
	struct batch *last = suspect ? r->waiting.suspect_last : r->waiting.flow[flow].last;
	struct batch *b = last && last->message == d->message && last->hands < FLUSH_BATCH_MAX
				  ? last
				  : batch_new(r, d->message, d->size);

	if (!b || !make_room(b) || hand_init(&b->hand[b->hands], d) < 0) {
		if (b && b->hands == 0) {
			free(b->hand);
			free(b);
		}
		return -1;
	}
	b->hands++;
	if (b == last) {
		fair_joined(&r->waiting, b);
		return 0;
	}
	b->flow = (unsigned char)flow;
	b->suspect = suspect;
	fair_add(&r->waiting, b);
	return 0;
}

/* Whether it takes more of the flow in hand. A road that is down needs no more than the messages
 * whose turn it would be. */
static bool takes_more(const struct flusher *f, const struct route *r, unsigned flow, int64_t now)
{
	return route_open(r, now) ? r->waiting.flow[flow].recipients < f->share
				  : r->waiting.recipients < FLUSH_BATCH_MAX;
}

static bool any_takes_more(const struct taking *t)
{
	for (unsigned i = 0; i < t->f->routes; i++)
		if (takes_more(t->f, &t->f->route[i], t->flow, t->now))
			return true;
	return false;
}

static bool in_hand(void *arg, int64_t recipient)
{
	const struct taking *t = arg;

	return idset_has(&t->f->in_hand, recipient);
}

static bool take_one(void *arg, const struct store_due *d)
{
	struct taking *t = arg;
	struct flusher *f = t->f;
	struct route *r = route_for(f, d->address);
	const uint64_t bit = UINT64_C(1) << t->flow;

	if (!takes_more(f, r, t->flow, t->now)) {
		if (route_open(r, t->now))
			r->more |= bit;
		if (!any_takes_more(t))
			return false;
		r->passed |= bit;
		return true;
	}
	/* They are in nobody's way, and do not fill the flow's share. */
	if (is_suspect(d) && r->waiting.suspects >= FLUSH_FLOW_MIN) {
		r->more_suspects = true;
		r->passed |= bit;
		return true;
	}
	if (!idset_add(&f->in_hand, d->recipient)) {
		t->no_memory = true;
		return false;
	}
	if (join(r, t->flow, d) < 0) {
		idset_remove(&f->in_hand, d->recipient);
		t->no_memory = true;
		return false;
	}
	return true;
}

/* What was passed over, for a road that had enough or was down, is looked for again when that road
 * wants more; until then the look goes on where the last one ended, and not through all of it
 * again. It ends two seconds back: a change by hand has the time in whole seconds. */
static void set_cursor(struct taking *t)
{
	struct flusher *f = t->f;
	const uint64_t bit = UINT64_C(1) << t->flow;
	const int64_t settled = clock_wall_ms() - 2000;
	bool passed = false, wanted = false;

	if (f->unread & bit)
		return; /* it is not through yet */

	for (unsigned i = 0; i < f->routes; i++) {
		struct route *r = &f->route[i];

		if (!(r->passed & bit))
			continue;
		passed = true;
		wanted |= takes_more(f, r, t->flow, t->now);
	}
	if (!passed || wanted) {
		for (unsigned i = 0; i < f->routes; i++)
			f->route[i].passed &= ~bit;
		f->cursor[t->flow] = STORE_FROM_THE_FIRST;
	} else if (f->cursor[t->flow].next_try > settled) {
		f->cursor[t->flow] = (struct store_cursor) { settled, 0 };
	}
}

/* Takes of one flow. 0 or -1. */
static int take_flow(struct taking *t, int64_t wall, struct err *e)
{
	struct flusher *f = t->f;
	const uint64_t bit = UINT64_C(1) << t->flow;
	const struct store_walk w = {
		.flow = t->flow,
		.now = wall,
		.horizon_ms = retry_horizon(f->conf->retry_max),
		.most = FLUSH_LOOKED_AT,
		.skip = in_hand,
		.fn = take_one,
		.arg = t,
	};
	int r;

	if (!any_takes_more(t)) {
		for (unsigned i = 0; i < f->routes; i++)
			if (route_open(&f->route[i], t->now))
				f->route[i].more |= bit;
		return 0;
	}
	for (unsigned i = 0; i < f->routes; i++)
		f->route[i].more &= ~bit;
	set_cursor(t);
	r = store_due(f->store, &w, &f->cursor[t->flow], e);
	if (r < 0)
		return -1;
	f->unread &= ~bit;
	if (r > 0 && any_takes_more(t) && !t->no_memory)
		f->unread |= bit; /* there was too much to look at */
	return 0;
}

/* Whether the road has less than a quarter of the share of a flow of which more is due. */
static bool runs_low(const struct flusher *f, const struct route *r)
{
	if (r->more_suspects && r->waiting.suspects < FLUSH_FLOW_MIN / 4)
		return true;
	for (uint64_t left = r->more; left; left &= left - 1)
		if (r->waiting.flow[__builtin_ctzll(left)].recipients < f->share / 4)
			return true;
	return false;
}

bool batch_wanted(const struct flusher *f, int64_t now)
{
	if (f->look || f->unread)
		return true;
	for (unsigned i = 0; i < f->routes; i++)
		if (route_open(&f->route[i], now) && runs_low(f, &f->route[i]))
			return true;
	return false;
}

void batch_rewind(struct flusher *f)
{
	for (unsigned i = 0; i < FLOW_COUNT; i++)
		f->cursor[i] = STORE_FROM_THE_FIRST;
	f->unread = 0;
	f->look = true;
}

/* What is due and not in hand is left for the next look, and if need be for the next flusher. */
static void give_up(struct flusher *f)
{
	for (unsigned i = 0; i < f->routes; i++) {
		f->route[i].more = 0;
		f->route[i].more_suspects = false;
	}
	f->unread = 0;
	log_line(LOG_WARNING, "flush", "warning: out of memory: what is not in hand waits");
}

int batch_take(struct flusher *f, struct err *e)
{
	struct taking t = { .f = f, .now = clock_mono_ms() };
	const int64_t wall = clock_wall_ms();
	struct store_flows flows;
	unsigned n;

	if (store_flows(f->store, wall, retry_horizon(f->conf->retry_max), &flows, e) < 0)
		return -1;
	n = (unsigned)__builtin_popcountll(flows.due);
	f->share = n * FLUSH_FLOW_MIN > FLUSH_WAITING ? FLUSH_FLOW_MIN : FLUSH_WAITING / (n + !n);
	f->next_due = flows.next;
	f->look = false;
	f->unread &= flows.due;
	for (unsigned i = 0; i < f->routes; i++) {
		f->route[i].more &= flows.due;
		f->route[i].more_suspects = false;
	}
	for (uint64_t left = flows.due; left && !t.no_memory; left &= left - 1) {
		t.flow = (unsigned)__builtin_ctzll(left);
		if (take_flow(&t, wall, e) < 0)
			return -1;
	}
	if (t.no_memory)
		give_up(f);
	return 0;
}

/* What it needs on the wire alone. */
static void leave_wire(struct batch *b)
{
	store_message_done(&b->stored);
	buf_done(&b->content);
	free(b->rcpt);
	b->rcpt = NULL;
}

void batch_again(struct batch *b)
{
	leave_wire(b);
	b->spared = b->blamed = false;
	b->route->again = true;
	fair_put_back(&b->route->waiting, b);
}

void batch_drop(struct flusher *f, struct batch *b)
{
	if (!b)
		return;
	for (unsigned i = 0; i < b->hands; i++) {
		idset_remove(&f->in_hand, b->hand[i].recipient);
		hand_done(&b->hand[i]);
	}
	leave_wire(b);
	free(b->hand);
	free(b);
}

void batch_forget(struct flusher *f, struct batch *b, unsigned i)
{
	idset_remove(&f->in_hand, b->hand[i].recipient);
	hand_done(&b->hand[i]);
	b->hands--;
	memmove(b->hand + i, b->hand + i + 1, (b->hands - i) * sizeof *b->hand);
}

int batch_split(struct batch *b, unsigned n, struct err *e)
{
	struct batch *rest = batch_new(b->route, b->message, b->size);

	if (!rest)
		return err_set(e, EX_OSERR, "out of memory for a batch");
	rest->flow = b->flow;
	rest->suspect = b->suspect;
	rest->hand = malloc((b->hands - n) * sizeof *rest->hand);
	if (!rest->hand) {
		free(rest);
		return err_set(e, EX_OSERR, "out of memory for a batch");
	}
	rest->hands = rest->room = b->hands - n;
	rest->taken_wall = b->taken_wall;
	rest->taken_us = b->taken_us;
	memcpy(rest->hand, b->hand + n, rest->hands * sizeof *rest->hand);
	b->hands = n;
	fair_put_back(&rest->route->waiting, rest);
	return 0;
}

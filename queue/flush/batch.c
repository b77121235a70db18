/*
 * From what is due to batches: the recipients of one message that go the same way, at most
 * FLUSH_BATCH_MAX of them. Knows nothing of the wire.
 */
#include "flush/flusher.h"

#include "base/clock.h"

struct taking {
	struct flusher *f;
	unsigned taken;
	bool more; /* is due, but a road that is open has enough in hand */
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

static struct batch *batch_new(struct route *r, int64_t message, uint64_t size)
{
	struct batch *b = calloc(1, sizeof *b);

	if (!b)
		return NULL;
	b->hand = calloc(FLUSH_BATCH_MAX, sizeof *b->hand);
	if (!b->hand) {
		free(b);
		return NULL;
	}
	b->route = r;
	b->message = message;
	b->size = size;
	b->taken_wall = clock_wall_ms();
	b->taken_us = clock_mono_us();
	return b;
}

static void append(struct route *r, struct batch *b)
{
	b->next = NULL;
	if (r->last)
		r->last->next = b;
	else
		r->first = b;
	r->last = b;
	r->waiting += b->hands;
}

struct batch *batch_pop(struct route *r)
{
	struct batch *b = r->first;

	if (!b)
		return NULL;
	r->first = b->next;
	if (!r->first)
		r->last = NULL;
	r->waiting -= b->hands;
	b->next = NULL;
	return b;
}

void batch_unpop(struct batch *b)
{
	struct route *r = b->route;

	b->next = r->first;
	r->first = b;
	if (!r->last)
		r->last = b;
	r->waiting += b->hands;
}

/* The batch that the recipient joins: the last one, if it is of the same message and has room. */
static struct batch *batch_for(struct route *r, const struct store_due *d)
{
	struct batch *b = r->last;

	if (b && b->message == d->message && b->hands < FLUSH_BATCH_MAX)
		return b;
	b = batch_new(r, d->message, d->size);
	if (b)
		append(r, b);
	return b;
}

/* Whether it takes more in hand. A road that is down needs no more than the messages whose turn it
 * would be. */
static bool takes_more(const struct route *r)
{
	return r->waiting < (r->resume_at != 0 ? FLUSH_BATCH_MAX : FLUSH_TAKE_MAX);
}

static bool any_takes_more(const struct flusher *f)
{
	for (unsigned i = 0; i < f->routes; i++)
		if (takes_more(&f->route[i]))
			return true;
	return false;
}

static bool take_one(void *arg, const struct store_due *d)
{
	struct taking *t = arg;
	struct flusher *f = t->f;
	struct route *r = route_for(f, d->address);
	struct batch *b;

	if (idset_has(&f->in_hand, d->recipient))
		return true;
	/* Once no road wants more, the rest of a long queue is not gone through. */
	if (!takes_more(r)) {
		t->more |= r->resume_at == 0;
		return any_takes_more(f);
	}
	b = batch_for(r, d);
	if (!b || hand_init(&b->hand[b->hands], d) < 0 || !idset_add(&f->in_hand, d->recipient)) {
		t->no_memory = true;
		return false;
	}
	b->hands++;
	r->waiting++;
	return ++t->taken < FLUSH_TAKE_MAX;
}

int batch_take(struct flusher *f, struct err *e)
{
	struct taking t = { .f = f };

	/* What is in hand is still shown as due, so the limit is not on what is shown. */
	if (store_due(f->store, clock_wall_ms(), f->conf->retry_max * 2, UINT32_MAX, take_one, &t,
		    e) < 0)
		return -1;
	if (t.no_memory)
		return err_set(e, EX_OSERR, "out of memory for what is due");
	f->look = t.more || t.taken == FLUSH_TAKE_MAX;
	return 0;
}

void batch_drop(struct flusher *f, struct batch *b)
{
	if (!b)
		return;
	for (unsigned i = 0; i < b->hands; i++) {
		idset_remove(&f->in_hand, b->hand[i].recipient);
		hand_done(&b->hand[i]);
	}
	store_message_done(&b->stored);
	buf_done(&b->content);
	free(b->hand);
	free(b->rcpt);
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
	rest->hands = b->hands - n;
	rest->taken_wall = b->taken_wall;
	rest->taken_us = b->taken_us;
	memcpy(rest->hand, b->hand + n, rest->hands * sizeof *rest->hand);
	b->hands = n;
	batch_unpop(rest);
	return 0;
}

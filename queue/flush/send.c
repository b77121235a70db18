/*
 * From a batch to the wire: the message is read from the queue, its sender rewritten and headers
 * added as the configuration says now, and given to a connection that has room.
 */
#include "flush/flusher.h"

#include "base/clock.h"
#include "flush/flying.h"
#include "flush/rewrite.h"

/* Header and envelope sender as the configuration says now. 0 or -1 (no memory). */
static int rewrite(struct flusher *f, struct batch *b, struct err *e)
{
	const struct rewrite w = {
		.senders = &f->conf->rewrite_sender,
		.reply_to = f->conf->rewrite_reply_to == CONF_YES,
		.fields = buf_span(&f->headers),
	};
	struct err note;
	int changed = rewrite_content(&w, buf_span(&b->stored.content), &b->content, &note);

	if (changed < 0)
		return err_set(e, EX_OSERR, "out of memory for a message");
	if (note.code != 0)
		log_line(LOG_WARNING, "smtp", "%010lld: warning: %s", (long long)b->message,
			note.text);
	if (changed)
		buf_done(&b->stored.content); /* big messages are held once */
	b->sender = conf_sent_as(w.senders, b->stored.sender);
	return 0;
}

static int prepare(struct flusher *f, struct batch *b, struct err *e)
{
	if (rewrite(f, b, e) < 0)
		return -1;
	b->rcpt = calloc(b->hands, sizeof *b->rcpt);
	if (!b->rcpt)
		return err_set(e, EX_OSERR, "out of memory for a message");
	for (unsigned i = 0; i < b->hands; i++) {
		b->rcpt[i].address = b->hand[i].address;
		b->rcpt[i].notify = b->hand[i].notify;
		b->rcpt[i].orcpt = b->hand[i].orcpt;
		memcpy(b->rcpt[i].once, b->hand[i].once, sizeof b->rcpt[i].once);
	}
	b->tx = (struct transaction) {
		.sender = b->sender,
		.rcpt = b->rcpt,
		.rcpts = b->hands,
		.content = buf_span(b->content.len > 0 ? &b->content : &b->stored.content),
		.eightbit = b->stored.eightbit,
		.ret = b->stored.ret,
		.envid = b->stored.envid,
		.owner = b,
	};
	return 0;
}

/* A recipient whose last try ended in doubt goes back to the journal that may know it, and to no
 * other one while that is so. Wall ms until which the batch has to wait, 0: it may go. */
static int64_t doubt_elsewhere(const struct batch *b, const struct ehlo *peer, int64_t wall)
{
	int64_t until = 0;

	for (unsigned i = 0; i < b->hands; i++) {
		const struct hand *h = &b->hand[i];

		if (h->doubt_journal[0] && wall < h->doubt_until &&
			(!peer->xonce || strcmp(peer->xonce_journal, h->doubt_journal) != 0) &&
			h->doubt_until > until)
			until = h->doubt_until;
	}
	return until;
}

/* What was held, dropped or corrected by hand since it was taken does not go as it was. 0 or -1. */
static int leave_changed(struct flusher *f, struct batch *b, struct err *e)
{
	for (unsigned i = 0; i < b->hands;) {
		int same = store_unchanged(f->store, b->hand[i].recipient, b->hand[i].version, e);

		if (same < 0)
			return -1;
		if (same) {
			i++;
			continue;
		}
		batch_forget(f, b, i);
		f->look = true;
	}
	return 0;
}

/* There is no memory for it now; the others may be smaller. */
static void send_later(struct flusher *f, struct batch *b, const struct err *why)
{
	log_line(LOG_WARNING, "smtp", "%010lld: warning: %s: it waits", (long long)b->message,
		why->text);
	settle_postpone(f, b, clock_wall_ms() + f->conf->retry_min, why->text);
}

/* How long what is in doubt elsewhere waits until it asks again: to ask another relay's journal all
 * that is in flight has to be answered first. An eighth of its age, within retry_min and retry_max.
 */
static int64_t ask_again_ms(const struct flusher *f, const struct batch *b, int64_t wall)
{
	const int64_t ms = (wall - b->hand[0].submitted) / 8;

	if (ms < f->conf->retry_min)
		return f->conf->retry_min;
	return ms < f->conf->retry_max ? ms : f->conf->retry_max;
}

/* One that is in doubt elsewhere until then. */
static void seek_or_wait(
	struct flusher *f, struct batch *b, int64_t until, int64_t wall, int64_t now)
{
	const int64_t again_ms = ask_again_ms(f, b, wall);

	if (route_seek(b->route, again_ms, now))
		fair_put_back(&b->route->waiting, b);
	else
		settle_postpone(f, b, until - wall < again_ms ? until : wall + again_ms,
			"in doubt: waits for the relay whose journal may know it");
}

/* The batch goes to the connection. 0 or -1. */
static int send_one(struct flusher *f, struct way *w, struct batch *b, int64_t now, struct err *e)
{
	struct client *c = link_client(w->link);
	struct err why = { 0 };
	const int64_t wall = clock_wall_ms();
	unsigned most = client_rcptmax(c);
	int64_t until;
	int found;

	if (leave_changed(f, b, e) < 0)
		goto fail;
	if (b->hands == 0) {
		batch_drop(f, b);
		return 0;
	}
	/* Where some have to wait, each is looked at by itself: the others need not. */
	if (doubt_elsewhere(b, client_ehlo(c), wall) != 0)
		most = 1;
	if (b->hands > most && batch_split(b, most, &why) < 0) {
		send_later(f, b, &why);
		return 0;
	}
	until = doubt_elsewhere(b, client_ehlo(c), wall);
	if (until != 0) {
		seek_or_wait(f, b, until, wall, now);
		return 0;
	}
	found = store_load(f->store, b->message, &b->stored, &why);
	if (found < 0 && why.code == EX_OSERR) {
		send_later(f, b, &why);
		return 0;
	}
	if (found < 0 && why.code != EX_DATAERR) {
		*e = why;
		goto fail;
	}
	if (found <= 0) {
		if (found == 0)
			batch_drop(f, b); /* dropped by hand meanwhile */
		else
			settle_damaged(f, b, why.text);
		return 0;
	}
	if (prepare(f, b, &why) < 0) {
		send_later(f, b, &why);
		return 0;
	}
	if (!w->charged) {
		b->connect_us = link_connect_us(w->link);
		w->charged = true;
	}
	w->idle_since = 0;
	bucket_take(&w->end->pace, b->hands, now);
	b->ahead = client_flying(c);
	flying_add(f, b, w->end->relay.text, client_ehlo(c));
	client_submit(c, &b->tx, now);
	way_watch(w, now);
	return 0;
fail:
	batch_drop(f, b);
	return -1;
}

static bool has_room(const struct way *w, size_t octets)
{
	struct client *c = link_client(w->link);

	if (client_ehlo(c)->xonce && client_flying(c) >= w->window.size)
		return false;
	return client_room(c, octets);
}

/* Suspects go one at a time, each alone on a connection, so that none takes others down with it. */
static struct batch *next_suspect(struct route *r, const struct way *w, int64_t now)
{
	if (r->waiting.suspects == 0 || now < r->lone_at ||
		client_flying(link_client(w->link)) > 0 || pacing_holds(r, r->waiting.suspect, now))
		return NULL;
	r->lone_since = now;
	return fair_pop_suspect(&r->waiting);
}

/* What goes to the connection next; NULL: nothing now. */
static struct batch *next_for(struct flusher *f, struct route *r, struct way *w, int64_t now)
{
	struct batch *b;

	if (w->lone)
		return next_suspect(r, w, now);
	b = fair_peek(&r->waiting);
	if (!b || !has_room(w, (size_t)(b->size + f->headers.len)) || pacing_holds(r, b, now))
		return NULL;
	return fair_pop(&r->waiting);
}

int send_fill(struct flusher *f, struct route *r, int64_t now, struct err *e)
{
	struct batch *b = fair_peek(&r->waiting);
	bool gave;
	int any = 0;

	r->pace_at = 0;
	if (!route_open(r, now) || r->seeking)
		return 0;
	/* Whether there is a connection or not: none is opened for what the pace holds. */
	gave = !b || !pacing_holds(r, b, now);
	/* One each in turn, so that several connections share what waits. */
	while (gave) {
		gave = false;
		for (unsigned i = 0; i < r->ways && !r->seeking; i++) {
			struct way *w = &r->way[i];

			if (!route_takes(r, w) || !(b = next_for(f, r, w, now)))
				continue;
			if (send_one(f, w, b, now, e) < 0)
				return -1;
			gave = true;
			any = 1;
		}
	}
	return any;
}

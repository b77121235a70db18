/*
 * Whose turn it is: deficit round robin among the flows that wait on one road.
 */
#include "flush/fair.h"

#include "flush/flusher.h"

static void list_append(struct fair_list *l, struct fair_flow *f)
{
	f->next = NULL;
	if (l->last)
		l->last->next = f;
	else
		l->first = f;
	l->last = f;
}

static void list_drop_first(struct fair_list *l)
{
	l->first = l->first->next;
	if (!l->first)
		l->last = NULL;
}

static void count(struct fair *q, const struct batch *b, int sign)
{
	q->recipients += (unsigned)sign * b->hands;
	if (b->suspect) {
		q->suspects += (unsigned)sign * b->hands;
		return;
	}
	q->flow[b->flow].recipients += (unsigned)sign * b->hands;
	q->batches += (unsigned)sign;
}

void fair_add(struct fair *q, struct batch *b)
{
	struct fair_flow *f = &q->flow[b->flow];
	struct batch **last = b->suspect ? &q->suspect_last : &f->last;
	struct batch **first = b->suspect ? &q->suspect : &f->first;

	b->next = NULL;
	if (*first)
		(*last)->next = b;
	else
		*first = b;
	*last = b;
	count(q, b, 1);
	if (b->suspect || f->listed)
		return;
	f->listed = true;
	f->credit = FAIR_QUANTUM;
	list_append(&q->fresh, f);
}

void fair_joined(struct fair *q, struct batch *b)
{
	q->recipients++;
	if (b->suspect)
		q->suspects++;
	else
		q->flow[b->flow].recipients++;
}

/* The flow whose turn it is, which has something waiting; NULL: none has. */
static struct fair_flow *choose(struct fair *q)
{
	for (;;) {
		struct fair_list *l = q->fresh.first ? &q->fresh : &q->old;
		struct fair_flow *f = l->first;

		if (!f)
			return NULL;
		if (f->first && f->credit > 0)
			return f;
		list_drop_first(l);
		/* One that is empty has to wait its turn among the old ones before it is new again:
		 * who sends one message at a time would else always be first. */
		if (f->first || (l == &q->fresh && q->old.first)) {
			if (f->credit <= 0)
				f->credit += FAIR_QUANTUM;
			list_append(&q->old, f);
		} else {
			f->listed = false;
		}
	}
}

struct batch *fair_peek(struct fair *q)
{
	struct fair_flow *f = q->back ? NULL : choose(q);

	return q->back ? q->back : f ? f->first : NULL;
}

struct batch *fair_pop(struct fair *q)
{
	struct batch *b = fair_peek(q);
	struct fair_flow *f;

	if (!b)
		return NULL;
	if (b == q->back) {
		q->back = b->next;
	} else {
		f = &q->flow[b->flow];
		f->first = b->next;
		if (!f->first)
			f->last = NULL;
		f->credit -= (int64_t)b->size + (int64_t)b->hands * FAIR_RECIPIENT;
	}
	b->next = NULL;
	count(q, b, -1);
	return b;
}

struct batch *fair_pop_suspect(struct fair *q)
{
	struct batch *b = q->suspect;

	if (!b)
		return NULL;
	q->suspect = b->next;
	if (!q->suspect)
		q->suspect_last = NULL;
	b->next = NULL;
	count(q, b, -1);
	return b;
}

void fair_put_back(struct fair *q, struct batch *b)
{
	if (b->suspect) {
		b->next = q->suspect;
		q->suspect = b;
		if (!b->next)
			q->suspect_last = b;
	} else {
		b->next = q->back;
		q->back = b;
	}
	count(q, b, 1);
}

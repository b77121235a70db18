/*
 * The ordered queue of a session's replies.
 */
#include "listen/replies.h"

#include "listen/message.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TEXT_MAX (1024 * 1024) /* of one slot; the session stops reading long before */

struct slot {
	struct slot *next;
	struct message *message; /* NULL: text */
	struct buf text;
};

struct replies {
	atomic_uint refs;
	int fd;
	pthread_mutex_t lock; /* for all below, and for `done` of the messages in it */
	struct slot *first, *last;
	unsigned messages;
	uint64_t octets;
	bool abandoned;
};

struct replies *replies_new(void)
{
	struct replies *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	r->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (r->fd < 0 || pthread_mutex_init(&r->lock, NULL) != 0) {
		if (r->fd >= 0)
			close(r->fd);
		free(r);
		return NULL;
	}
	atomic_init(&r->refs, 1);
	return r;
}

void replies_ref(struct replies *r)
{
	atomic_fetch_add(&r->refs, 1);
}

/* Unlinks the first slot. What it held of its message is the caller's to let go, without the
 * lock: it may be the last to hold the queue itself. */
static struct message *drop_first(struct replies *r)
{
	struct slot *s = r->first;
	struct message *m = s->message;

	r->first = s->next;
	if (!r->first)
		r->last = NULL;
	if (m) {
		r->messages--;
		r->octets -= message_octets(m);
	}
	buf_done(&s->text);
	free(s);
	return m;
}

void replies_unref(struct replies *r)
{
	if (!r || atomic_fetch_sub(&r->refs, 1) > 1)
		return;
	assert(!r->first); /* a slot's message holds a reference on us */
	pthread_mutex_destroy(&r->lock);
	close(r->fd);
	free(r);
}

static struct slot *append(struct replies *r)
{
	struct slot *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	buf_init(&s->text, TEXT_MAX);
	if (r->last)
		r->last->next = s;
	else
		r->first = s;
	r->last = s;
	return s;
}

int replies_add(struct replies *r, struct span text)
{
	int result = -1;

	pthread_mutex_lock(&r->lock);
	struct slot *s = r->last && !r->last->message ? r->last : append(r);
	if (s) {
		buf_add_span(&s->text, text);
		result = s->text.failed ? -1 : 0;
	}
	pthread_mutex_unlock(&r->lock);
	return result;
}

int replies_owe(struct replies *r, struct message *m)
{
	int result = -1;

	pthread_mutex_lock(&r->lock);
	struct slot *s = append(r);
	if (s) {
		message_ref(m);
		s->message = m;
		r->messages++;
		r->octets += message_octets(m);
		result = 0;
	}
	pthread_mutex_unlock(&r->lock);
	return result;
}

void replies_take(struct replies *r, struct buf *out)
{
	struct message *m = NULL;
	bool more = true;

	while (more) {
		pthread_mutex_lock(&r->lock);
		more = r->first && (!r->first->message || r->first->message->done);
		if (more) {
			if (r->first->message)
				message_say(r->first->message, out);
			else
				buf_add_span(out, buf_span(&r->first->text));
			m = drop_first(r);
		}
		pthread_mutex_unlock(&r->lock);
		message_unref(m);
		m = NULL;
	}
}

void replies_flying(struct replies *r, unsigned *ret_messages, uint64_t *ret_octets)
{
	pthread_mutex_lock(&r->lock);
	*ret_messages = r->messages;
	*ret_octets = r->octets;
	pthread_mutex_unlock(&r->lock);
}

bool replies_empty(struct replies *r)
{
	pthread_mutex_lock(&r->lock);
	bool empty = !r->first;
	pthread_mutex_unlock(&r->lock);
	return empty;
}

int replies_fd(const struct replies *r)
{
	return r->fd;
}

void replies_woken(struct replies *r)
{
	eventfd_t n;

	(void)eventfd_read(r->fd, &n);
}

void replies_abandon(struct replies *r)
{
	for (;;) {
		pthread_mutex_lock(&r->lock);
		r->abandoned = true;
		struct message *m = NULL;
		bool more = r->first;
		if (more)
			m = drop_first(r);
		pthread_mutex_unlock(&r->lock);
		message_unref(m);
		if (!more)
			return;
	}
}

void replies_done(struct replies *r, struct message *m)
{
	pthread_mutex_lock(&r->lock);
	m->done = true;
	if (!r->abandoned)
		(void)eventfd_write(r->fd, 1);
	pthread_mutex_unlock(&r->lock);
}

/*
 * A mail and its answers.
 */
#include "listen/message.h"

#include "base/clock.h"
#include "listen/figures.h"
#include "listen/replies.h"

#include <assert.h>

/* What stood in its place may have been SES's 250. */
static const char no_memory[] = "451 4.3.0 cenmail: in doubt: out of memory class=road retry=30";

/* Like a queue id in a Postfix log: unique for as long as a log is kept. */
static void name(char *out, size_t size)
{
	static atomic_uint last;
	unsigned n = atomic_fetch_add(&last, 1);

	snprintf(out, size, "%08llX%04X", (unsigned long long)(clock_wall_ms() / 1000) & 0xffffffff,
		n & 0xffff);
}

struct message *message_new(struct replies *replies, const char *client, const char *spool_dir)
{
	struct message *m = calloc(1, sizeof *m);

	if (!m)
		return NULL;
	atomic_init(&m->refs, 1);
	name(m->id, sizeof m->id);
	snprintf(m->client, sizeof m->client, "%s", client);
	spool_init(&m->content, spool_dir);
	replies_ref(replies);
	m->replies = replies;
	return m;
}

void message_ref(struct message *m)
{
	atomic_fetch_add(&m->refs, 1);
}

void message_unref(struct message *m)
{
	if (!m || atomic_fetch_sub(&m->refs, 1) > 1)
		return;
	for (unsigned i = 0; i < m->rcpts; i++)
		free(m->rcpt[i].answer);
	spool_done(&m->content);
	replies_unref(m->replies);
	free(m);
}

void message_answer(struct message *m, unsigned i, const char *line)
{
	assert(i < m->rcpts && !m->rcpt[i].answer);
	m->rcpt[i].answer = strdup(line);
	if (m->figures) {
		figures_one(&m->figures->answered[figures_class(line)]);
		figures_time(&m->figures->whole, clock_mono_us() - m->whole_us);
	}
	if (atomic_fetch_sub(&m->owed, 1) > 1)
		return;
	/* Whoever reads it answers when he has done so. The answers may wait for long, behind those
	 * to an earlier message. */
	spool_release(&m->content);
	replies_done(m->replies, m);
}

static const char *said(const struct message *m, unsigned i)
{
	return m->rcpt[i].answer ? m->rcpt[i].answer : no_memory;
}

void message_say(const struct message *m, struct buf *out)
{
	unsigned worst = 0;

	for (unsigned i = 0; i < m->rcpts && m->lmtp; i++)
		buf_printf(out, "%s\r\n", said(m, i));
	if (m->lmtp)
		return;
	while (worst < m->rcpts && said(m, worst)[0] == '2')
		worst++;
	buf_printf(out, "%s\r\n", said(m, worst < m->rcpts ? worst : 0));
}

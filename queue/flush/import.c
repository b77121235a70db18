/*
 * What senders left in incoming/ (rule 9) goes into the queue before anything is sent.
 */
#include "flush/import.h"

#include "base/log.h"
#include "base/number.h"
#include "store/incoming.h"

#define IMPORT_MOST 32 /* files, a commit each, before the connections are looked at again */

static void say(void *arg, const struct incoming_news *n)
{
	char key[33];

	switch (n->event) {
	case INCOMING_TAKEN:
		*(bool *)arg = true;
		hex_encode(n->m->key, sizeof n->m->key, key);
		log_line(LOG_INFO, "qmgr", "%010lld: from=<%s>, size=%zu, nrcpt=%u (queue active)",
			(long long)n->id, n->m->sender, n->m->content.n, n->m->rcpts);
		log_line(LOG_INFO, "qmgr", "%010lld: taken from incoming/ as %s", (long long)n->id,
			key);
		break;
	case INCOMING_ASIDE:
		log_line(LOG_ERR, "qmgr", "incoming/%s: moved to incoming/damaged: %s", n->name,
			n->why);
		break;
	case INCOMING_CLEARED:
		log_line(LOG_WARNING, "qmgr", "incoming/%s: removed: %s", n->name, n->why);
		break;
	}
}

int import_some(struct store *s, const char *queue, bool *ret_more, bool *ret_taken, struct err *e)
{
	*ret_taken = false;
	return incoming_import(s, queue, IMPORT_MOST, say, ret_taken, ret_more, e);
}

/*
 * Messages without sessions, for tests of the listener's parts.
 */
#ifndef CENMAIL_LISTEN_FIXTURE_H
#define CENMAIL_LISTEN_FIXTURE_H

#include "listen/message.h"
#include "listen/replies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A message to `n` recipients r0@example.org…, whose tokens are 32 times the digits of `tokens`
 * ('-': none). */
static inline struct message *fixture_message(
	struct replies *r, const char *client, const char *tokens, bool lmtp)
{
	struct message *m = message_new(r, client, "/tmp");

	assert_non_null(m);
	for (; *tokens; tokens++) {
		struct message_rcpt *to = &m->rcpt[m->rcpts];
		snprintf(to->address, sizeof to->address, "r%u@example.org", m->rcpts++);
		if (*tokens != '-')
			memset(to->once, *tokens, 32);
	}
	m->lmtp = lmtp;
	atomic_store(&m->owed, m->rcpts);
	return m;
}

#endif

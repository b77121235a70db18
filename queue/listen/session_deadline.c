/*
 * How long a session waits for its client, in each of its states.
 */
#include "listen/session_state.h"

#define GREETING_MS 120000             /* until EHLO */
#define IDLE_MS     300000             /* RFC 5321 section 4.5.3.2.7 */
#define WRITE_MS    120000             /* without taking an octet */
#define CONTENT_MS  120000             /* and 1 KB/s: a slower client is not waited for */
#define SESSION_MS  (12 * 3600 * 1000) /* in all, unless something is under way */
#define ENDING_MS   (3600 * 1000)      /* and for the transaction that is open then */

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t session_deadline(const struct session *s)
{
	int64_t total = s->began + SESSION_MS;

	/* An octet that it takes now and then keeps it no longer than that. */
	if (s->out.len > 0)
		return earlier(s->written + WRITE_MS, total + ENDING_MS);
	if (s->content_since > 0 && server_state(s->server) == SERVER_OPEN)
		return s->content_since + CONTENT_MS + (int64_t)(s->conn.in - s->content_from);
	if (!replies_empty(s->replies))
		return INT64_MAX; /* ours to hurry */
	if (server_in_transaction(s->server))
		total += ENDING_MS;
	return earlier(s->written + (server_helo(s->server)[0] ? IDLE_MS : GREETING_MS), total);
}

/*
 * The shared memory of a connection that could not be made.
 */
#include "listen/uplink.h"

#define PAUSE_MIN 1000 /* ms */
#define PAUSE_MAX 30000

void uplink_init(struct uplink *r)
{
	*r = (struct uplink) { .until = 0 };
	pthread_mutex_init(&r->lock, NULL);
}

void uplink_done(struct uplink *r)
{
	pthread_mutex_destroy(&r->lock);
}

bool uplink_is_down(struct uplink *r, int64_t now_ms, char answer[ANSWER_MAX + 1])
{
	pthread_mutex_lock(&r->lock);
	bool down = now_ms < r->until;
	if (down)
		memcpy(answer, r->answer, sizeof r->answer);
	pthread_mutex_unlock(&r->lock);
	return down;
}

static void explain(const struct outcome *o, int64_t retry_s, char answer[ANSWER_MAX + 1])
{
	struct answer_own own = { "451 4.4.1", VERDICT_ROAD, retry_s };
	char reply[300];

	reply_format(&o->reply, reply, sizeof reply);
	if (o->step == STEP_AUTH && !o->lost && (o->reply.code == 535 || o->reply.code == 530)) {
		own.code = "451 4.7.8";
		answer_own(&own, answer, "SES refused our password: %s", reply);
	} else {
		answer_own(&own, answer, "SES unreachable: %s: %s", step_name(o->step), reply);
	}
}

void uplink_failed(
	struct uplink *r, const struct outcome *fault, int64_t now_ms, char answer[ANSWER_MAX + 1])
{
	pthread_mutex_lock(&r->lock);
	/* Workers that failed together count once. */
	if (now_ms >= r->until) {
		r->pause_ms = r->pause_ms ? r->pause_ms * 2 : PAUSE_MIN;
		if (r->pause_ms > PAUSE_MAX)
			r->pause_ms = PAUSE_MAX;
		r->until = now_ms + r->pause_ms;
	}
	explain(fault, (r->pause_ms + 999) / 1000, r->answer);
	memcpy(answer, r->answer, sizeof r->answer);
	pthread_mutex_unlock(&r->lock);
}

void uplink_well(struct uplink *r)
{
	pthread_mutex_lock(&r->lock);
	r->until = r->pause_ms = 0;
	pthread_mutex_unlock(&r->lock);
}

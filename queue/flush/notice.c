/*
 * A step takes up to BATCH messages, makes their notices, and writes them at once.
 */
#include "flush/notice.h"

#include "base/clock.h"
#include "flush/notice_case.h"
#include "store/capacity.h"

#define BATCH       16
#define LOOKED_MAX  200 /* messages that are asked about in a step */
#define LOOK_MS     10000
#define LATE_MS     60000
#define AN_HOUR     (INT64_C(3600) * 1000)
#define COMPLAIN_MS 60000

struct round {
	struct flusher *f;
	int64_t now; /* wall ms */
	struct notice_case of[BATCH];
	unsigned n;
};

/* How many notices are under way to the address in this step. */
static unsigned also_to(const struct round *s, const char *address)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n; i++)
		if (s->of[i].to && strcmp(notice_case_to(&s->of[i]), address) == 0)
			n++;
	return n;
}

/* A storm of failures is no storm of notices. 0 or -1. */
static int keep_to_ceiling(struct round *s, struct notice_case *c, struct err *e)
{
	const unsigned most = c->kind == NOTICE_DELAYED ? WARNINGS_AN_HOUR : NOTICES_AN_HOUR;
	const char *to = notice_case_to(c);
	int n;

	if (!to)
		return 0;
	n = store_notices_to(s->f->store, to, s->now - AN_HOUR, most, e);
	if (n < 0)
		return -1;
	n += (int)also_to(s, to);
	c->last = n + 1 == NOTICES_AN_HOUR;
	if (n < (int)most)
		return 0;
	log_line(LOG_WARNING, "bounce",
		"%010lld: warning: no notice to <%s>: %u went there within an hour",
		(long long)c->untold.message, to, most);
	notice_case_drop(c);
	return 0;
}

/* Takes the untold. 0 or -1. */
static int add_case(struct round *s, enum notice_kind kind, struct untold *u, struct err *e)
{
	struct notice_case *c = &s->of[s->n];
	int r = notice_case_begin(c, s->f->conf, kind, u, e);

	if (r == 0)
		r = keep_to_ceiling(s, c, e);
	if (r == 0 && c->to && store_untold_head(s->f->store, &c->untold, e) < 0)
		r = -1;
	if (r == 0)
		r = notice_case_compose(c, s->f->conf, s->now, e);
	if (r < 0)
		notice_case_done(c);
	else
		s->n++;
	return r;
}

/* What fails later is told with it, unless that takes long. */
static bool may_wait(const struct round *s, const struct untold *u)
{
	if (!u->open || u->rcpts == NOTICE_RCPTS_MAX)
		return false;
	for (unsigned i = 0; i < u->rcpts; i++)
		if (u->rcpt[i].settled <= s->now - NOTICE_GROUP_MS ||
			u->rcpt[i].settled > s->now + NOTICE_GROUP_MS) /* a clock set back */
			return false;
	return true;
}

/* 0 or -1. */
static int look_at(
	struct round *s, int64_t message, enum notice_kind kind, int64_t cutoff, struct err *e)
{
	struct untold u;
	int r = store_untold_load(s->f->store, message, kind, cutoff, &u, e);

	if (r <= 0)
		return r;
	if (kind == NOTICE_DELAYED || !may_wait(s, &u))
		r = add_case(s, kind, &u, e);
	store_untold_done(&u);
	return r < 0 ? -1 : 0;
}

static void say(const struct telling *t)
{
	static const char *const what[] = {
		[NOTICE_FAILED] = "sender non-delivery notification",
		[NOTICE_RELAYED] = "sender delivery status notification",
		[NOTICE_DELAYED] = "sender delay notification",
	};

	if (!t->done || t->id == 0)
		return;
	log_line(LOG_INFO, "bounce", "%010lld: %s: %010lld", (long long)t->untold->message,
		what[t->kind], (long long)t->id);
	log_line(LOG_INFO, "qmgr", "%010lld: from=<%s>, size=%zu, nrcpt=%u (queue active)",
		(long long)t->id, t->notice->sender, t->notice->content.n, t->notice->rcpts);
}

/* 0 or -1. */
static int write_step(struct round *s, struct err *e)
{
	struct telling t[BATCH];

	for (unsigned i = 0; i < s->n; i++) {
		const struct notice_case *c = &s->of[i];

		t[i] = (struct telling) { .untold = &c->untold,
			.kind = c->kind,
			.notice = c->to ? &c->notice : NULL,
			.of = c->of,
			.at = s->now };
	}
	if (store_tell(s->f->store, t, s->n, s->f->conf->keep_sent, e) < 0)
		return -1;
	for (unsigned i = 0; i < s->n; i++)
		say(&t[i]);
	s->f->look |= s->n > 0;
	return 0;
}

static void step_done(struct round *s)
{
	for (unsigned i = 0; i < s->n; i++)
		notice_case_done(&s->of[i]);
}

/* 1: there is more, 0: the walk is at its end, -1. */
static int gather_untold(struct notices *n, struct round *s, struct err *e)
{
	int r = 1;

	for (unsigned i = 0; i < LOOKED_MAX && s->n + 2 <= BATCH; i++) {
		int64_t message;

		r = store_untold_next(s->f->store, n->after, &message, e);
		if (r <= 0)
			break;
		if (look_at(s, message, NOTICE_FAILED, 0, e) < 0 ||
			look_at(s, message, NOTICE_RELAYED, 0, e) < 0)
			return -1;
		n->after = message;
	}
	return r;
}

static int gather_late(struct notices *n, struct round *s, struct err *e)
{
	const int64_t cutoff = s->now - s->f->conf->warn_after;
	int r = 1;

	while (s->n < BATCH) {
		int64_t message;

		r = store_late_next(s->f->store, &n->late, cutoff, &message, e);
		if (r <= 0 || message == 0)
			break;
		if (look_at(s, message, NOTICE_DELAYED, cutoff, e) < 0)
			return -1;
	}
	return r;
}

/* A walk begins anew after its end. 1: there is more, 0, -1. */
static int run_step(struct notices *n, struct flusher *f,
	int (*gather)(struct notices *n, struct round *s, struct err *e), struct err *e)
{
	struct round s = { .f = f, .now = clock_wall_ms() };
	int r = capacity_disk(f->conf->queue, f->conf->min_free, e);

	if (r == 0)
		r = gather(n, &s, e);
	if (r >= 0 && s.n > 0 && write_step(&s, e) < 0)
		r = -1;
	step_done(&s);
	return r;
}

/* What can't be told now is told later. */
static void complain(struct notices *n, const struct err *why)
{
	const int64_t now = clock_mono_ms();

	if (n->complained != 0 && now - n->complained < COMPLAIN_MS)
		return;
	n->complained = now;
	log_line(LOG_WARNING, "bounce", "warning: notices to senders wait: %s", why->text);
}

static void tend_untold(struct notices *n, struct flusher *f, int64_t now)
{
	struct err why;
	int r = run_step(n, f, gather_untold, &why);

	n->known = f->stats.sent + f->stats.failed;
	n->next = r == 1 ? now : now + LOOK_MS;
	if (r < 1)
		n->after = 0;
	if (r < 0)
		complain(n, &why);
}

/* Not while a road is down: what waits for it would be warned of all at once when it is well, and
 * most of it is delivered then. */
static bool roads_are_well(const struct flusher *f)
{
	for (unsigned i = 0; i < f->routes; i++)
		if (f->route[i].down_since != 0)
			return false;
	return true;
}

static void tend_late(struct notices *n, struct flusher *f, int64_t now)
{
	struct err why;
	int r;

	if (f->conf->warn_after == 0 || !f->conf->bounce_sender[0] || !roads_are_well(f)) {
		n->late_under_way = false;
		n->late_next = now + LATE_MS;
		return;
	}
	if (!n->late_under_way)
		n->late = (struct late_walk) { 0 };
	r = run_step(n, f, gather_late, &why);
	n->late_under_way = r == 1;
	n->late_next = r == 1 ? now : now + LATE_MS;
	if (r < 0)
		complain(n, &why);
}

bool notice_tend(struct notices *n, struct flusher *f, bool idle)
{
	const int64_t now = clock_mono_ms();
	bool stepped = false;

	if (now >= n->next || f->look || n->known != f->stats.sent + f->stats.failed) {
		tend_untold(n, f, now);
		stepped = true;
	}
	if (idle && !f->look && now >= n->late_next) {
		tend_late(n, f, now);
		stepped = true;
	}
	return stepped;
}

bool notice_done(const struct notices *n)
{
	return n->after == 0 && !n->late_under_way;
}

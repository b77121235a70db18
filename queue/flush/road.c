/*
 * What is known of the relays: which of a route's may be asked, since when they are down, and that
 * the next flusher knows it too. Says nothing on the wire.
 */
#include "flush/flusher.h"
#include "flush/report.h"

#include "base/clock.h"

#include <assert.h>

#define MS_AN_HOUR 3600000

bool road_end_open(const struct relay_end *end, int64_t now)
{
	return end->resume_at == 0 || now >= end->resume_at;
}

void road_turned(struct route *r)
{
	for (unsigned i = 0; i < r->ways; i++)
		if (r->way[i].link && !r->way[i].stalled && r->way[i].end != &r->end[r->seek_to])
			return;
	r->seeking = false;
	r->at = r->seek_to;
}

void road_turn(struct route *r, unsigned to)
{
	r->seeking = true;
	r->seek_to = to;
	road_turned(r);
}

/* The first that may be asked, else the one that may be soonest. */
static unsigned best_of(const struct route *r, int64_t now)
{
	unsigned best = 0;

	for (unsigned i = 0; i < r->ends; i++) {
		if (road_end_open(&r->end[i], now))
			return i;
		if (r->end[i].resume_at < r->end[best].resume_at)
			best = i;
	}
	return best;
}

void road_choose(struct route *r, int64_t now)
{
	const unsigned in_use = r->seeking ? r->seek_to : r->at;
	const unsigned to = road_end_open(&r->end[in_use], now) ? in_use : best_of(r, now);

	r->resume_at = road_end_open(&r->end[to], now) ? 0 : r->end[to].resume_at;
	if (to != in_use)
		road_turn(r, to);
}

static bool all_closed(const struct route *r, int64_t now)
{
	for (unsigned i = 0; i < r->ends; i++)
		if (road_end_open(&r->end[i], now))
			return false;
	return true;
}

static bool all_down(const struct route *r)
{
	for (unsigned i = 0; i < r->ends; i++)
		if (r->end[i].down_since == 0)
			return false;
	return true;
}

/* How long a relay that fails again and again is left alone: long only while another one works. */
static int64_t longest(const struct flusher *f, const struct route *r, const struct relay_end *end)
{
	const int64_t most =
		f->conf->retry_max < FLUSH_RETURN_MS ? f->conf->retry_max : FLUSH_RETURN_MS;

	for (unsigned i = 0; i < r->ends; i++)
		if (&r->end[i] != end && r->end[i].down_since == 0 && !r->end[i].paused)
			return most > FLUSH_BACKOFF_MAX ? most : FLUSH_BACKOFF_MAX;
	return FLUSH_BACKOFF_MAX;
}

/* Now that there is no other, those that were left alone while another one worked are asked. */
static void lose_patience(struct route *r, const struct relay_end *failed, int64_t now)
{
	for (unsigned i = 0; i < r->ends; i++) {
		struct relay_end *end = &r->end[i];

		if (end != failed && !end->paused && end->backoff_ms > FLUSH_BACKOFF_MAX) {
			end->backoff_ms = FLUSH_BACKOFF_MAX;
			end->resume_at = 0;
		}
	}
}

/* A line an hour for as long as the road is down. */
static void tell(struct route *r, const struct relay_end *end)
{
	const int64_t hours = (clock_wall_ms() - r->down_since) / MS_AN_HOUR;

	if (hours <= r->hours)
		return;
	r->hours = hours;
	r->dirty = true;
	log_line(LOG_ERR, "smtp", "%s%s: no relay has worked for %lld hour%s: %s: %s",
		*r->pattern ? "route " : "relay", r->pattern, (long long)hours,
		hours == 1 ? "" : "s", end->relay.text, end->reason);
}

static void go_down(
	struct flusher *f, struct route *r, struct relay_end *end, const struct outcome *fault)
{
	if (r->down_since == 0) {
		r->down_since = clock_wall_ms();
		r->hours = 0;
	}
	if (!r->noted)
		settle_road(f, r, end->relay.text, fault);
	r->noted = true;
	tell(r, end);
}

static void set_reason(struct relay_end *end, const struct outcome *fault)
{
	char said[600], line[700];

	snprintf(line, sizeof line, "%s: %s", step_name(fault->step),
		reply_format(&fault->reply, said, sizeof said));
	log_printable(span_of(line), end->reason, sizeof end->reason);
}

int64_t road_backoff(int64_t last_ms, int64_t most_ms)
{
	const int64_t ms = last_ms == 0 ? FLUSH_BACKOFF_MIN : last_ms * 2;

	return ms < most_ms ? ms : most_ms;
}

void road_failed(struct flusher *f, struct route *r, struct relay_end *end,
	const struct outcome *fault, int64_t ms, int64_t now)
{
	const int64_t most = longest(f, r, end);

	if (!road_end_open(end, now))
		return; /* what was under way with it tells nothing new */
	end->backoff_ms = road_backoff(end->backoff_ms, most);
	ms = ms < end->backoff_ms ? end->backoff_ms : ms < FLUSH_PAUSE_MAX ? ms : FLUSH_PAUSE_MAX;
	end->resume_at = now + ms;
	end->paused = false;
	set_reason(end, fault);
	if (end->down_since == 0) {
		end->down_since = clock_wall_ms();
		report_road(end->relay.text, fault);
	}
	if (all_closed(r, now))
		lose_patience(r, end, now);
	r->dirty = true;
	road_choose(r, now);
	if (all_down(r))
		go_down(f, r, end, fault);
}

void road_paused(struct route *r, struct relay_end *end, const char *why, int64_t ms, int64_t now)
{
	if (ms < FLUSH_BACKOFF_MIN)
		ms = FLUSH_BACKOFF_MIN;
	if (ms > FLUSH_PAUSE_MAX)
		ms = FLUSH_PAUSE_MAX;
	if (now + ms <= end->resume_at)
		return;
	end->resume_at = now + ms;
	end->paused = true;
	log_printable(span_of(why), end->reason, sizeof end->reason);
	r->dirty = true;
	road_choose(r, now);
}

void road_well(struct route *r, struct relay_end *end)
{
	if (end->backoff_ms == 0 && end->down_since == 0 && r->down_since == 0)
		return;
	if (end->down_since != 0)
		log_line(LOG_INFO, "smtp", "%s: is well again", end->relay.text);
	end->backoff_ms = 0;
	end->down_since = 0;
	if (!end->paused) {
		end->resume_at = 0;
		end->reason[0] = '\0';
	}
	r->down_since = r->hours = 0;
	r->noted = false;
	r->dirty = true;
}

/* --- from one flusher to the next --- */

/* A moment on the wall clock that lies further ahead than anything is paused: the clock has been
 * set back, and nobody waits for it. */
static int64_t resume_after(int64_t at, int64_t wall, int64_t now)
{
	return at <= wall || at - wall > FLUSH_PAUSE_MAX ? 0 : now + (at - wall);
}

static void remember(struct relay_end *end, const struct store_relay *s, int64_t wall, int64_t now)
{
	const int64_t down = s->down_since != 0 ? wall - s->down_since : 0;

	end->resume_at = resume_after(s->resume_at, wall, now);
	end->paused = end->resume_at != 0 && s->down_since == 0;
	end->down_since = s->down_since;
	end->backoff_ms = down < FLUSH_BACKOFF_MAX ? down : FLUSH_BACKOFF_MAX;
	if (end->backoff_ms < 0)
		end->backoff_ms = 0;
	memcpy(end->reason, s->reason, sizeof end->reason - 1);
	pacing_restore(end, s, wall, now);
}

/* A flusher that begins asks a relay at once, if only faults have closed the road: somebody may
 * have mended it and started this one. */
static void ask_one(struct route *r)
{
	struct relay_end *soonest = NULL;

	for (unsigned i = 0; i < r->ends; i++) {
		struct relay_end *end = &r->end[i];

		if (!end->paused && (!soonest || end->resume_at < soonest->resume_at))
			soonest = end;
	}
	if (soonest)
		soonest->resume_at = 0;
}

/* It goes on with the relay in use, which alone knows what a flusher that was killed had in flight.
 * Connections that were made before this was known lead to the first. */
static void stay(struct flusher *f, struct route *r, int64_t now)
{
	for (unsigned i = 0; i < r->ways; i++)
		if (r->way[i].link && r->way[i].end != &r->end[r->at])
			way_free(f, &r->way[i]);
	r->probe_at = now + FLUSH_BACKOFF_MAX;
}

static int read_one(struct flusher *f, struct route *r, struct err *e)
{
	const int64_t wall = clock_wall_ms(), now = clock_mono_ms();
	struct store_relay relay[CONF_RELAYS] = { 0 };
	struct store_outage outage;

	assert(r->ends <= CONF_RELAYS);
	for (unsigned i = 0; i < r->ends; i++)
		relay[i].relay = r->end[i].relay.text;
	if (store_road_read(f->store, r->pattern, relay, r->ends, &outage, e) < 0)
		return -1;
	for (unsigned i = 0; i < r->ends; i++) {
		remember(&r->end[i], &relay[i], wall, now);
		if (relay[i].in_use)
			r->at = r->stored_at = i;
	}
	stay(f, r, now);
	r->down_since = outage.began;
	r->hours = outage.hours;
	if (all_closed(r, now))
		ask_one(r);
	road_choose(r, now);
	return 0;
}

int road_read(struct flusher *f, struct err *e)
{
	for (unsigned i = 0; i < f->routes; i++)
		if (read_one(f, &f->route[i], e) < 0)
			return -1;
	return 0;
}

void road_forget(struct flusher *f)
{
	const char **pattern = calloc(f->routes, sizeof *pattern);
	struct err e = { 0 };

	for (unsigned i = 0; pattern && i < f->routes; i++)
		pattern[i] = f->route[i].pattern;
	if (!pattern || store_road_keep(f->store, pattern, f->routes, clock_wall_ms(), &e) < 0)
		log_line(LOG_WARNING, "flush", "warning: roads that are no more stay known: %s",
			pattern ? e.text : "out of memory");
	free(pattern);
}

static int write_one(struct flusher *f, struct route *r, int64_t now, struct err *e)
{
	struct store_relay relay[CONF_RELAYS] = { 0 };
	struct store_road v = {
		.road = r->pattern,
		.relay = relay,
		.n = r->ends,
		.outage = { .began = r->down_since, .hours = r->hours },
		.now = clock_wall_ms(),
		.keep_history = f->conf->keep_history,
	};

	for (unsigned i = 0; i < r->ends; i++) {
		struct relay_end *end = &r->end[i];

		relay[i] = (struct store_relay) {
			.relay = end->relay.text,
			.in_use = i == r->at,
			.resume_at = road_end_open(end, now) ? 0 : v.now + (end->resume_at - now),
			.down_since = end->down_since,
		};
		memcpy(relay[i].reason, end->reason, sizeof end->reason);
		pacing_save(end, v.now, now, &relay[i]);
	}
	memcpy(v.outage.reason, r->end[r->at].reason, sizeof r->end[r->at].reason);
	return store_road_write(f->store, &v, e);
}

/* Whether messages wait for that it is stored which relay has them: the flusher after one that was
 * killed has to ask that one's journal. */
static bool is_urgent(const struct route *r)
{
	if (r->ends == 1 || r->stored_at == r->at || r->seeking)
		return false;
	for (unsigned i = 0; i < r->ways; i++)
		if (r->way[i].link && r->way[i].used && r->way[i].end == &r->end[r->at])
			return true;
	return false;
}

void road_write(struct flusher *f, bool all, int64_t now)
{
	struct err e;

	for (unsigned i = 0; i < f->routes && !f->unwritten; i++) {
		struct route *r = &f->route[i];
		const bool urgent = is_urgent(r) && !r->unstored;

		r->dirty |= all && pacing_is_used(r, now);
		if (!urgent && (!(r->dirty || is_urgent(r)) || (!all && now < r->store_at)))
			continue;
		r->unstored = write_one(f, r, now, &e) < 0;
		r->store_at = now + (r->unstored ? FLUSH_ROAD_AGAIN_MS : FLUSH_ROAD_MS);
		if (r->unstored && urgent)
			log_line(LOG_WARNING, "flush",
				"warning: %s: mail waits until it is stored which relay is in use",
				e.text);
		if (r->unstored)
			continue;
		r->dirty = false;
		r->stored_at = r->at;
	}
}

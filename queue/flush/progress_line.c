/*
 * The progress line: figures in the order of what matters, each whole or not at all, and a bar in
 * what room is left. No I/O.
 */
#include "flush/progress.h"

#define BAR_MIN   10
#define BAR_MAX   40
#define FIELD_MAX 64

struct line {
	char *out;
	size_t len, room; /* room: columns, without the terminator */
};

/* Two blanks and the words, if they fit whole. */
static void add(struct line *l, const char *words)
{
	const size_t n = strlen(words), gap = l->len > 0 ? 2 : 0;

	if (l->len + gap + n > l->room)
		return;
	memset(l->out + l->len, ' ', gap);
	memcpy(l->out + l->len + gap, words, n + 1);
	l->len += gap + n;
}

static void add_count(struct line *l, uint64_t n, const char *what)
{
	char field[FIELD_MAX];

	if (n == 0)
		return;
	snprintf(field, sizeof field, "%llu %s", (unsigned long long)n, what);
	add(l, field);
}

/* "0:05", "12:34", "3:04:05", "2 days". */
static void format_time(int64_t ms, char *out, size_t size)
{
	const long long s = (ms + 999) / 1000;

	if (s < 3600)
		snprintf(out, size, "%lld:%02lld", s / 60, s % 60);
	else if (s < 48 * 3600)
		snprintf(out, size, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(out, size, "%lld days", s / 86400);
}

/* How much longer: as things go now, and of a road that is closed only when it is looked at again.
 */
static void add_time(struct line *l, const struct progress_view *v)
{
	char time[FIELD_MAX / 2], field[FIELD_MAX];

	if (v->ending) {
		add(l, "ending");
	} else if (v->closed_ms > 0) {
		format_time(v->closed_ms, time, sizeof time);
		snprintf(field, sizeof field, v->down ? "road down, again in %s" : "paused for %s",
			time);
		add(l, field);
	} else if (v->left > 0 && v->rate > 0) {
		format_time((int64_t)((double)v->left / v->rate * 1000), time, sizeof time);
		snprintf(field, sizeof field, "%s left", time);
		add(l, field);
	} else if (v->left == 0 && v->lingers_ms > 0) {
		format_time(v->lingers_ms, time, sizeof time);
		snprintf(field, sizeof field, "waits %s for more", time);
		add(l, field);
	}
}

static void add_rate(struct line *l, const struct progress_view *v)
{
	char field[FIELD_MAX];

	if (v->rate <= 0)
		return;
	snprintf(field, sizeof field, v->rate < 10 ? "%.1f/s" : "%.0f/s", v->rate);
	add(l, field);
}

/* Before the figures, when there is room for one that says something. */
static void put_bar(struct line *l, const struct progress_view *v)
{
	const uint64_t all = v->done + v->left;
	size_t free_columns = l->room - l->len, n, full;

	if (free_columns < BAR_MIN + 3 || all == 0)
		return;
	n = free_columns - 3 < BAR_MAX ? free_columns - 3 : BAR_MAX;
	full = (size_t)((double)v->done / (double)all * (double)n);
	memmove(l->out + n + 3, l->out, l->len + 1);
	l->out[0] = '[';
	memset(l->out + 1, '#', full);
	memset(l->out + 1 + full, '.', n - full);
	l->out[n + 1] = ']';
	l->out[n + 2] = ' ';
	l->len += n + 3;
}

void progress_line(const struct progress_view *v, unsigned columns, char *out, size_t size)
{
	struct line l = { .out = out, .room = columns < size ? columns : size - 1 };
	char field[FIELD_MAX];

	out[0] = '\0';
	snprintf(field, sizeof field, "%llu/%llu", (unsigned long long)v->done,
		(unsigned long long)v->done + v->left);
	add(&l, field);
	add_time(&l, v);
	add_count(&l, v->failed, "failed");
	add_count(&l, v->held, "held");
	add_rate(&l, v);
	add_count(&l, v->flying, "in flight");
	add_count(&l, v->deferred, "deferred");
	add_count(&l, v->later, "later");
	put_bar(&l, v);
}

/*
 * `--dry-run`: the same routes and the same rewriting as when it is sent; only the peer's part is
 * not known.
 */
#include "flush/dry.h"

#include "base/clock.h"

#include <dirent.h>
#include <time.h>

#define SHOWN_MAX 320

struct dry {
	struct flusher *f;
	int64_t now, now_mono;
	int64_t message; /* whose heading has been said */
	uint64_t messages, now_rcpts, later, closed, doubt, held;
	bool message_counted;
	uint64_t *by_route;
};

static const char *clean(const char *text, char out[SHOWN_MAX])
{
	return log_printable(span_of(text), out, SHOWN_MAX);
}

static void format_local(int64_t wall_ms, char *out, size_t size)
{
	const time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;

	if (!localtime_r(&t, &tm) || strftime(out, size, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(out, size, "?");
}

static void say_message(struct dry *d, const struct store_listed *l)
{
	const char *sent = conf_sent_as(&d->f->conf->rewrite_sender, l->sender);
	char from[SHOWN_MAX], as[SHOWN_MAX];

	if (l->message == d->message)
		return;
	d->message = l->message;
	d->message_counted = false;
	printf("%010lld: from <%s>", (long long)l->message, clean(l->sender, from));
	if (strcmp(sent, l->sender) != 0)
		printf(", sent as <%s>", clean(sent, as));
	printf(", %llu octets\n", (unsigned long long)l->size);
}

/* "route *@qq.com, by smtps://…:465 or smtp://…:25": the relay first whose turn it is. */
static void say_way(const struct route *r)
{
	if (r->pattern[0])
		printf("route %s, ", r->pattern);
	for (unsigned i = 0; i < r->ends; i++)
		printf("%s%s", i > 0 ? " or " : "by ", r->end[(r->at + i) % r->ends].relay.text);
	putchar('\n');
}

/* Due, and its road is not asked before a time that an earlier flusher has learnt. */
static void say_closed(struct dry *d, const struct route *r)
{
	char at[40], why[SHOWN_MAX];

	d->closed++;
	format_local(d->now + (r->resume_at - d->now_mono), at, sizeof at);
	printf("at %s, when its road is tried again%s%s: ", at,
		r->end[r->at].reason[0] ? ", after " : "", clean(r->end[r->at].reason, why));
	say_way(r);
}

static void say_now(struct dry *d, const struct store_listed *l)
{
	const struct route *r = route_for(d->f, l->address);

	if (!route_open(r, d->now_mono)) {
		say_closed(d, r);
		return;
	}
	d->now_rcpts++;
	d->by_route[r - d->f->route]++;
	d->messages += !d->message_counted;
	d->message_counted = true;
	if (l->doubt_until > d->now) {
		d->doubt++;
		printf("now, if its journal may know it: ");
	} else {
		printf("now, ");
	}
	say_way(r);
}

static bool is_due(const struct dry *d, int64_t at)
{
	return at <= d->now || at > d->now + retry_horizon(d->f->conf->retry_max);
}

static bool show(void *arg, const struct store_listed *l)
{
	struct dry *d = arg;
	char to[SHOWN_MAX], why[SHOWN_MAX], at[40];

	say_message(d, l);
	printf("  <%s>: ", clean(l->address, to));
	if (strcmp(l->state, "held") == 0) {
		d->held++;
		printf("held: %s\n", l->last_reply[0] ? clean(l->last_reply, why) : "by hand");
	} else if (is_due(d, l->next_try)) {
		say_now(d, l);
	} else {
		d->later++;
		format_local(l->next_try, at, sizeof at);
		printf("at %s, after %u %s%s%s\n", at, l->tries, l->tries == 1 ? "try" : "tries",
			l->last_reply[0] ? ": " : "", clean(l->last_reply, why));
	}
	return !ferror(stdout);
}

/* What senders left beside the queue would be taken into it first. */
static unsigned count_incoming(const char *queue)
{
	struct buf path;
	unsigned n = 0;
	DIR *dir;

	buf_init(&path, 4096);
	store_incoming_path(queue, &path);
	dir = path.failed ? NULL : opendir(buf_str(&path));
	buf_done(&path);
	if (!dir)
		return 0;
	for (const struct dirent *one; (one = readdir(dir));)
		n += one->d_name[0] != '.' && !strchr(one->d_name, '.') && one->d_type == DT_REG;
	closedir(dir);
	return n;
}

static void say_sums(const struct dry *d)
{
	const struct flusher *f = d->f;
	const unsigned incoming = count_incoming(f->conf->queue);

	printf("to be sent now: %llu messages (%llu recipients)", (unsigned long long)d->messages,
		(unsigned long long)d->now_rcpts);
	if (d->doubt > 0)
		printf(", %llu of them in doubt", (unsigned long long)d->doubt);
	if (d->closed > 0)
		printf("; when the road is open: %llu", (unsigned long long)d->closed);
	printf("; later: %llu; held: %llu\n", (unsigned long long)d->later,
		(unsigned long long)d->held);
	for (unsigned i = 0; i < f->routes && f->routes > 1; i++)
		if (d->by_route[i] > 0) {
			printf("%llu of them: ", (unsigned long long)d->by_route[i]);
			say_way(&f->route[i]);
		}
	if (incoming > 0)
		printf("before them, %u files of incoming/ are taken into the queue\n", incoming);
}

int dry_run(struct flusher *f, struct err *e)
{
	struct dry d = {
		.f = f, .now = clock_wall_ms(), .now_mono = clock_mono_ms(), .message = INT64_MIN
	};
	int result = -1;

	d.by_route = calloc(f->routes, sizeof *d.by_route);
	if (!d.by_route)
		return err_set(e, EX_OSERR, "out of memory for routes");
	if (store_open(&f->store, f->conf->queue, STORE_FLUSH, f->conf->lock_wait, e) == 0 &&
		road_read(f, e) == 0)
		result = store_list(f->store, (uid_t)-1, show, &d, e);
	if (result == 0)
		say_sums(&d);
	if (result == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		result = err_set(e, EX_IOERR, "the list can't be written");
	free(d.by_route);
	return result;
}

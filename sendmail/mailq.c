/*
 * A message a paragraph: its line, then for each recipient the last answer and the address.
 */
#include "sendmail/mailq.h"

#include "base/number.h"
#include "store/incoming.h"

#include <inttypes.h>
#include <poll.h>
#include <sys/stat.h>

struct listing {
	const struct options *options;
	FILE *to;
	uid_t uid;       /* whose, (uid_t)-1: everybody's */
	int64_t message; /* the one under way, -1 before the first */
	uint64_t bytes;
	unsigned messages;
};

static void print_message(
	struct listing *l, const char *id, uint64_t size, int64_t submitted, const char *sender)
{
	time_t at = (time_t)(submitted / 1000);
	struct tm tm;
	char date[32] = "";

	if (localtime_r(&at, &tm))
		strftime(date, sizeof(date), "%a %b %e %H:%M:%S", &tm);
	fputs(l->messages++ == 0
			? "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n"
			: "\n",
		l->to);
	fprintf(l->to, "%-10s  %7" PRIu64 " %-20s %s\n", id, size, date,
		sender[0] ? sender : "MAILER-DAEMON");
	l->bytes += size;
}

static void print_recipient(struct listing *l, const char *reply, bool held, const char *address)
{
	size_t n = strlen(reply) + 2;

	if (reply[0])
		fprintf(l->to, "%*s(%s)\n", n < 76 ? (int)(76 - n) : 0, "", reply);
	fprintf(l->to, "%-39s%c %s\n", "", held ? '!' : ' ', address);
}

static bool print_queued(void *arg, const struct store_listed *m)
{
	struct listing *l = arg;
	char id[24];

	if (!options_chosen(l->options, m->message, m->sender, m->address))
		return true;
	snprintf(id, sizeof(id), "%010" PRId64, m->message);
	if (m->message != l->message)
		print_message(l, id, m->size, m->submitted, m->sender);
	l->message = m->message;
	print_recipient(
		l, m->last_reply ? m->last_reply : "", strcmp(m->state, "held") == 0, m->address);
	return !ferror(l->to);
}

/* It has no number yet: its key is what the log has. */
static void print_incoming(void *arg, const struct store_submission *m)
{
	struct listing *l = arg;
	char key[33];
	bool first = true;

	if (l->uid != (uid_t)-1 && l->uid != m->uid)
		return;
	hex_encode(m->key, sizeof(m->key), key);
	key[10] = '\0';
	for (unsigned i = 0; i < m->rcpts; i++) {
		if (!options_chosen(l->options, 0, m->sender, m->rcpt[i].address))
			continue;
		if (first)
			print_message(l, key, m->content.n, m->submitted, m->sender);
		print_recipient(l, first ? "in incoming/, not in the queue yet" : "", false,
			m->rcpt[i].address);
		first = false;
	}
}

/* What the queue holds, 0 or -1; and what is kept beside it, in any case. */
static int list(struct listing *l, const struct conf_mail *conf, struct err *e)
{
	struct store *store;
	int result = store_open(&store, conf->queue, STORE_LIST, conf->lock_wait, e);

	if (result == 0) {
		result = store_list(store, l->uid, print_queued, l, e);
		store_close(store);
	}
	/* When neither can be had, the queue's reason is the one that helps. */
	if (incoming_list(conf->queue, print_incoming, l, result == 0 ? e : NULL) != 0)
		result = -1;
	return result;
}

/* As with `mailq | head`: SIGPIPE, which ends other programs then, is ignored in this one. */
static bool reader_has_gone(FILE *to)
{
	struct pollfd p = { .fd = fileno(to), .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLERR) != 0;
}

int mailq_print(const struct options *o, const struct conf_mail *conf, uid_t caller, FILE *to,
	struct err *e)
{
	struct listing l = { .options = o, .to = to, .uid = caller, .message = -1 };
	struct stat st;
	int result;
	bool all = caller == 0 || (stat(conf->queue, &st) == 0 && st.st_uid == caller);

	if (all)
		l.uid = (uid_t)-1;
	result = list(&l, conf, e);
	if (result == 0 && l.messages == 0)
		fputs("Mail queue is empty\n", to);
	else if (l.messages > 0)
		fprintf(to, "\n-- %" PRIu64 " Kbytes in %u Request%s.\n", (l.bytes + 1023) / 1024,
			l.messages, l.messages == 1 ? "" : "s");
	if ((fflush(to) != 0 || ferror(to)) && !reader_has_gone(to))
		return err_sys(e, EX_IOERR, "the listing can't be written");
	return result;
}

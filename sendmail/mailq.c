/*
 * A message a paragraph: its line, then for each recipient the last answer and the address.
 */
#include "sendmail/mailq.h"

#include "store/store.h"

#include <inttypes.h>
#include <sys/stat.h>

struct listing {
	const struct options *options;
	FILE *to;
	int64_t message; /* the one under way, -1 before the first */
	uint64_t bytes;
	unsigned messages;
};

static void print_message(struct listing *l, const struct store_listed *m)
{
	time_t at = (time_t)(m->submitted / 1000);
	struct tm tm;
	char date[32] = "", id[24];

	if (localtime_r(&at, &tm))
		strftime(date, sizeof(date), "%a %b %e %H:%M:%S", &tm);
	snprintf(id, sizeof(id), "%010" PRId64, m->message);
	fputs(l->messages++ == 0
			? "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n"
			: "\n",
		l->to);
	fprintf(l->to, "%-10s  %7" PRIu64 " %-20s %s\n", id, m->size, date,
		m->sender[0] ? m->sender : "MAILER-DAEMON");
	l->bytes += m->size;
}

static bool print_recipient(void *arg, const struct store_listed *m)
{
	struct listing *l = arg;

	if (!options_chosen(l->options, m->message, m->sender, m->address))
		return true;
	if (m->message != l->message)
		print_message(l, m);
	l->message = m->message;
	if (m->last_reply && m->last_reply[0]) {
		size_t n = strlen(m->last_reply) + 2;
		fprintf(l->to, "%*s(%s)\n", n < 76 ? (int)(76 - n) : 0, "", m->last_reply);
	}
	fprintf(l->to, "%-39s%c %s\n", "", strcmp(m->state, "held") == 0 ? '!' : ' ', m->address);
	return !ferror(l->to);
}

int mailq_print(const struct options *o, const struct conf_mail *conf, uid_t caller, FILE *to,
	struct err *e)
{
	struct listing l = { .options = o, .to = to, .message = -1 };
	struct stat st;
	struct store *store;
	int result;
	bool all = caller == 0 || (stat(conf->queue, &st) == 0 && st.st_uid == caller);

	if (store_open(&store, conf->queue, STORE_LIST, conf->lock_wait, e) != 0)
		return -1;
	result = store_list(store, all ? (uid_t)-1 : caller, print_recipient, &l, e);
	store_close(store);
	if (result != 0)
		return -1;
	if (l.messages == 0)
		fputs("Mail queue is empty\n", to);
	else
		fprintf(to, "\n-- %" PRIu64 " Kbytes in %u Request%s.\n", (l.bytes + 1023) / 1024,
			l.messages, l.messages == 1 ? "" : "s");
	if (fflush(to) != 0 || ferror(to))
		return err_sys(e, EX_IOERR, "the listing can't be written");
	return 0;
}

/*
 * What becomes of a message at the final dot, where SES decides nearly everything.
 */
#ifndef SES_JUDGE_H
#define SES_JUDGE_H

#include "talk.h"

/* --- what SES allows, over all connections --- */

static struct {
	pthread_mutex_t lock;
	double tokens;
	int64_t filled;
	unsigned long spent;
} allowance = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Takes n recipients from the day's quota and the second's rate; NULL or SES's refusal. */
static const char *allowance_take(unsigned n)
{
	const char *no = NULL;
	pthread_mutex_lock(&allowance.lock);
	int64_t now = now_ms(CLOCK_MONOTONIC);
	if (!allowance.filled)
		allowance.tokens = opt.rate;
	else
		allowance.tokens += (double)(now - allowance.filled) / 1000 * opt.rate;
	allowance.filled = now;
	if (allowance.tokens > opt.rate)
		allowance.tokens = opt.rate;
	if (opt.quota && allowance.spent + n > opt.quota) {
		no = "454 Throttling failure: Daily message quota exceeded";
	} else if (opt.rate > 0 && allowance.tokens < 1) {
		no = "454 Throttling failure: Maximum sending rate exceeded";
		atomic_fetch_add(&counters.throttled, 1);
	} else {
		allowance.tokens -= n; /* below zero for a message of many: the next ones wait */
		allowance.spent += n;
	}
	pthread_mutex_unlock(&allowance.lock);
	return no;
}

/* SES's answer to a message it has wholly read; `out` gets the id when it is taken. */
static const char *judge(struct session *s, char *out, size_t size)
{
	struct header_facts h;
	const char *bad = NULL;
	if (s->size > opt.size)
		return "552 Message is too long.";
	if (s->rcpts > 50)
		return "554 Transaction failed: Recipient count exceeds 50.";
	headers_look(s->content ? s->content : "", s->size, &h);
	if (h.twice[0]) {
		snprintf(out, size, "554 Transaction failed: Duplicate header '%s'.", h.twice);
		return out;
	}
	if (!h.has_from)
		return "554 Transaction failed: Missing required header 'From'.";
	if (!strchr(h.from, '@'))
		return "554 Transaction failed: Missing final '@domain'";
	for (unsigned i = 0; i < s->rcpts && !bad; i++)
		if (patterns_match(&opt.unverified_rcpt, s->rcpt[i]))
			bad = s->rcpt[i];
	if (patterns_match(&opt.unverified, h.from))
		bad = h.from;
	if (patterns_match(&opt.unverified, s->sender))
		bad = s->sender;
	if (bad) {
		snprintf(out, size,
			"554 Message rejected: Email address is not verified. The following "
			"identities failed the check in region AP-NORTHEAST-1: %s",
			bad);
		return out;
	}
	const char *no = allowance_take(s->rcpts);
	if (no)
		return no;
	snprintf(out, size, "250 Ok ");
	record_id(out + 7, size - 7);
	return out;
}

/* Whether the scripted fault happens to a message that was taken all the same. */
static bool taken_but_untold(const char *what)
{
	return strcmp(what, "close-before-reply") == 0 || strcmp(what, "reset-before-reply") == 0 ||
	       strncmp(what, "cut ", 4) == 0 || strncmp(what, "stall ", 6) == 0 || what[0] == '2';
}

static enum next final_dot(struct session *s)
{
	char verdict[700], what[512] = "";
	bool scripted = fault_due(opt.faults, "dot", s->sender, what, sizeof what);
	const char *text = what;
	if (scripted)
		atomic_fetch_add(&counters.faults, 1);
	if (opt.latency_ms)
		sleep_ms(opt.latency_ms);
	if (!scripted || taken_but_untold(what)) {
		text = judge(s, verdict, sizeof verdict);
		if (text[0] == '2') {
			struct accepted m = { .id = text + 7,
				.sender = s->sender,
				.rcpt = s->rcpt,
				.rcpts = s->rcpts,
				.content = s->content ? s->content : "",
				.size = s->size,
				.connection = s->number,
				.bare = s->bare,
				.tls = s->io.ssl != NULL,
				.eightbit = s->eightbit };
			record_message(&m);
		}
	}
	if (text[0] != '2')
		atomic_fetch_add(&counters.refused, 1);
	transaction_reset(s);
	if (strncmp(what, "stall ", 6) == 0)
		sleep_ms((unsigned long)(strtod(what + 6, NULL) * 1000));
	else if (strncmp(what, "cut ", 4) == 0)
		return cut_reply(s, text, strtoul(what + 4, NULL, 10));
	else if (strncmp(what, "close", 5) == 0)
		return END;
	else if ((s->reset = strncmp(what, "reset", 5) == 0))
		return END;
	else if (what[0] == '2')
		text = what;
	enum next next = say(s, text);
	return strncmp(text, "421", 3) == 0 ? END : next;
}

#endif

/*
 * A scripted peer for the client's tests: it reads what the client writes, answers as an SMTP or
 * LMTP server would, and misbehaves where its script says so. It shares no code with the client,
 * and keeps account of what it took, for whom, and of where in its own stream it said so.
 */
#ifndef CLIENT_PEER_H
#define CLIENT_PEER_H

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define PEER_RCPTS 64
#define PEER_ACKS  4096

/* In place of the answer to the nth (from 1) command of a verb. */
struct peer_trick {
	const char *verb; /* MAIL RCPT DATA CONTENT RSET EHLO STARTTLS AUTH QUIT GREETING */
	unsigned nth;     /* 0: each */
	const char *say;  /* whole lines; "": nothing more is said, ever */
	bool ends;        /* and after it nothing more is said */
};

struct peer {
	/* set by the test */
	bool lmtp;
	const char *offers;     /* lines of the EHLO reply after the first: "PIPELINING\nSIZE 5" */
	const char *offers_tls; /* the same after STARTTLS; NULL: offers */
	struct peer_trick trick[4];

	/* its state */
	struct buf in, out; /* unread, unsaid */
	struct buf log;     /* the commands and sizes of contents, a line each */
	struct buf content; /* of the last message */
	unsigned count[16];
	bool in_data, mute, under_tls, mail;
	bool waits_tls;
	size_t bdat_left;
	bool in_bdat;
	char rcpt[PEER_RCPTS][128];
	unsigned rcpts;
	uint64_t said; /* octets ever put into out */
	uint64_t heard;

	/* what it took: recipient and where in its stream the good answer ended */
	struct peer_ack {
		char rcpt[128];
		uint64_t end;
	} ack[PEER_ACKS];
	unsigned acks;
};

static inline void peer_init(struct peer *p)
{
	buf_init(&p->in, 1 << 26);
	buf_init(&p->out, 1 << 20);
	buf_init(&p->log, 1 << 22);
	buf_init(&p->content, 1 << 26);
}

static inline void peer_done(struct peer *p)
{
	assert_false(p->in.failed || p->out.failed || p->log.failed || p->content.failed);
	buf_done(&p->in);
	buf_done(&p->out);
	buf_done(&p->log);
	buf_done(&p->content);
}

static inline void peer_say(struct peer *p, const char *text)
{
	if (p->mute)
		return;
	buf_add_str(&p->out, text);
	p->said += strlen(text);
}

/* Whether a trick took the place of the answer; *ret_good then says whether it is the good one. */
static inline bool peer_tricks(struct peer *p, const char *verb, bool *ret_good)
{
	static const char *const verbs[] = { "MAIL", "RCPT", "DATA", "CONTENT", "RSET", "EHLO",
		"STARTTLS", "AUTH", "QUIT", "GREETING", NULL };
	unsigned v = 0;

	while (verbs[v] && strcmp(verbs[v], verb) != 0)
		v++;
	p->count[v]++;
	for (int i = 0; i < 4; i++) {
		const struct peer_trick *k = &p->trick[i];
		if (!k->verb || strcmp(k->verb, verb) != 0 || (k->nth && k->nth != p->count[v]))
			continue;
		peer_say(p, k->say);
		if (k->ends || k->say[0] == '\0')
			p->mute = true;
		*ret_good = strcmp(verb, "DATA") == 0 ? strncmp(k->say, "354", 3) == 0
						      : k->say[0] == '2';
		return true;
	}
	return false;
}

static inline void peer_greet(struct peer *p)
{
	bool good;

	if (!peer_tricks(p, "GREETING", &good))
		peer_say(p, "220 peer.example ESMTP\r\n");
}

static inline void peer_ehlo(struct peer *p)
{
	const char *o = p->under_tls && p->offers_tls ? p->offers_tls : p->offers;
	bool good;

	if (peer_tricks(p, "EHLO", &good))
		return;
	peer_say(p, *o ? "250-peer.example\r\n" : "250 peer.example\r\n");
	while (*o) {
		size_t n = strcspn(o, "\n");
		char line[200];
		snprintf(line, sizeof line, "250%c%.*s\r\n", o[n] ? '-' : ' ', (int)n, o);
		peer_say(p, line);
		o += n + (o[n] ? 1 : 0);
	}
}

static inline void peer_end_transaction(struct peer *p)
{
	p->mail = false;
	p->rcpts = 0;
}

static inline void peer_ack(struct peer *p, const char *rcpt)
{
	if (p->mute)
		return;
	assert_in_range(p->acks, 0, PEER_ACKS - 1);
	memcpy(p->ack[p->acks].rcpt, rcpt, sizeof p->ack[0].rcpt);
	p->ack[p->acks++].end = p->said;
}

/* The content has come, whole. */
static inline void peer_content(struct peer *p, bool dot)
{
	bool good = true;

	buf_printf(&p->log, "(%zu)\n", p->content.len);
	if (p->rcpts == 0) { /* a lone dot is taken, a BDAT is not */
		if (!peer_tricks(p, "CONTENT", &good))
			peer_say(p, dot ? "250 2.0.0 Ok nobody\r\n" : "503 5.5.1 no RCPT\r\n");
	} else if (!p->lmtp) {
		if (!peer_tricks(p, "CONTENT", &good))
			peer_say(p, "250 2.0.0 Ok all\r\n");
		for (unsigned i = 0; i < p->rcpts && good; i++)
			peer_ack(p, p->rcpt[i]);
	} else {
		for (unsigned i = 0; i < p->rcpts; i++) {
			good = true;
			if (!peer_tricks(p, "CONTENT", &good))
				peer_say(p, "250 2.0.0 Ok one\r\n");
			if (good)
				peer_ack(p, p->rcpt[i]);
		}
	}
	peer_end_transaction(p);
	buf_clear(&p->content);
}

static inline bool is(const char *line, const char *verb)
{
	return strncmp(line, verb, strlen(verb)) == 0;
}

static inline void peer_rcpt(struct peer *p, const char *line)
{
	bool good = p->mail;

	if (!peer_tricks(p, "RCPT", &good))
		peer_say(p, good ? "250 2.1.5 Ok\r\n" : "503 5.5.1 MAIL first\r\n");
	if (!good)
		return;
	assert_in_range(p->rcpts, 0, PEER_RCPTS - 1);
	const char *from = strchr(line, '<') + 1;
	snprintf(p->rcpt[p->rcpts++], sizeof p->rcpt[0], "%.*s", (int)(strchr(from, '>') - from),
		from);
}

static inline void peer_command(struct peer *p, const char *line)
{
	bool good = true;

	buf_printf(&p->log, "%s\n", line);
	if (is(line, "EHLO ") || is(line, "LHLO ") || is(line, "HELO ")) {
		peer_ehlo(p);
		peer_end_transaction(p);
	} else if (is(line, "STARTTLS")) {
		if (!peer_tricks(p, "STARTTLS", &good))
			peer_say(p, "220 go\r\n");
		p->under_tls = good;
	} else if (is(line, "AUTH ")) {
		if (!peer_tricks(p, "AUTH", &good))
			peer_say(p, "235 2.7.0 Ok\r\n");
	} else if (is(line, "MAIL ")) {
		good = !p->mail;
		if (!peer_tricks(p, "MAIL", &good))
			peer_say(p, good ? "250 2.1.0 Ok\r\n" : "503 5.5.1 nested MAIL\r\n");
		p->mail = p->mail || good;
	} else if (is(line, "RCPT ")) {
		peer_rcpt(p, line);
	} else if (is(line, "DATA")) {
		good = p->rcpts > 0;
		if (!peer_tricks(p, "DATA", &good))
			peer_say(p, good ? "354 go\r\n" : "503 5.5.1 RCPT first\r\n");
		p->in_data = good;
	} else if (is(line, "BDAT ")) {
		char *end;
		p->bdat_left = strtoul(line + 5, &end, 10);
		assert_string_equal(end, " LAST");
		p->in_bdat = true;
	} else if (is(line, "RSET")) {
		if (!peer_tricks(p, "RSET", &good))
			peer_say(p, "250 2.0.0 Ok\r\n");
		peer_end_transaction(p);
	} else if (is(line, "QUIT")) {
		if (!peer_tricks(p, "QUIT", &good))
			peer_say(p, "221 2.0.0 Bye\r\n");
		p->mute = true;
	} else {
		fail_msg("the client said %s", line);
	}
}

/* One line or some content out of p->in. False: nothing whole is there. */
static inline bool peer_step(struct peer *p)
{
	if (p->in_bdat) {
		size_t n = p->in.len < p->bdat_left ? p->in.len : p->bdat_left;
		buf_add(&p->content, p->in.data, n);
		buf_drop(&p->in, n);
		p->bdat_left -= n;
		if (p->bdat_left > 0)
			return false;
		p->in_bdat = false;
		peer_content(p, false);
		return true;
	}
	char *lf = p->in.len ? memchr(p->in.data, '\n', p->in.len) : NULL;
	if (!lf)
		return false;
	size_t n = (size_t)(lf - p->in.data) + 1;
	assert_true(n >= 2 && lf[-1] == '\r');
	if (!p->in_data) {
		char line[2048];
		assert_in_range(n, 2, sizeof line);
		memcpy(line, p->in.data, n - 2);
		line[n - 2] = '\0';
		buf_drop(&p->in, n);
		peer_command(p, line);
	} else if (n == 3 && p->in.data[0] == '.') {
		buf_drop(&p->in, n);
		p->in_data = false;
		peer_content(p, true);
	} else {
		size_t dot = p->in.data[0] == '.';
		buf_add(&p->content, p->in.data + dot, n - dot);
		buf_drop(&p->in, n);
	}
	return true;
}

static inline void peer_hear(struct peer *p, struct span s)
{
	p->heard += s.n;
	buf_add_span(&p->in, s);
	while (peer_step(p))
		;
}

#endif

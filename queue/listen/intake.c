/*
 * What the engine tells of a client becomes a message: envelope, our header fields, the client's
 * content as it is to go on. Policy that needs no worker is here.
 */
#include "listen/session_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "listen/received.h"
#include "wire/sasl.h"

#include <assert.h>
#include <poll.h>

#define WRONG_PASSWORD_MS 1000 /* how long a guess takes */

static void on_reply(void *arg, struct span text)
{
	struct session *s = arg;

	if (replies_add(s->replies, text) < 0)
		s->gone = true;
}

static const char *refuse(struct session *s, const struct answer_own *own, const char *text)
{
	answer_own(own, s->refusal, "%s", text);
	figures_one(&s->l->figures.refused[own->class]);
	return s->refusal;
}

static const char *refuse_sender(struct session *s, const char *sender)
{
	log_line(LOG_WARNING, "listen", "warning: client=%s may not send as <%s>", s->client,
		sender);
	figures_one(&s->l->figures.refused[VERDICT_NEVER]);
	answer_own(&(struct answer_own) { "550 5.7.1", VERDICT_NEVER, 0 }, s->refusal,
		"client may not send as <%s>", sender);
	return s->refusal;
}

/* SIGHUP may have changed the terms since the last message; who is not let in by the new ones is
 * served no longer. */
static bool heed_terms(struct session *s)
{
	struct terms *t = terms_get(&s->l->terms);

	if (t == s->terms) {
		terms_unref(t);
		return true;
	}
	const struct door_client *who = door_client(t->door, server_auth_name(s->server));
	bool known = who && s->who && door_same_secret(who, s->who);
	bool welcome = door_allows(t->door, (const struct sockaddr *)&s->peer) &&
		       (known || !door_wants_names(t->door));
	terms_unref(s->terms);
	s->terms = t;
	s->who = known ? who : NULL;
	return welcome;
}

static const char *on_mail(void *arg, const struct server_mail *mail)
{
	struct session *s = arg;

	assert(!s->message);
	if (stop_said(&s->l->stop))
		return refuse(s, &(struct answer_own) { "421 4.3.2", VERDICT_ROAD, 0 }, "stopping");
	if (!heed_terms(s))
		return refuse(s, &(struct answer_own) { "421 4.7.0", VERDICT_ROAD, 0 },
			"you are no longer let in as you were");
	if (s->who && !door_may_send(s->who, mail->sender))
		return refuse_sender(s, mail->sender);
	s->message = message_new(s->replies, s->client, s->l->spool_dir);
	if (!s->message)
		return refuse(
			s, &(struct answer_own) { "452 4.3.1", VERDICT_ROAD, 30 }, "out of memory");
	s->message->figures = &s->l->figures;
	memcpy(s->message->sender, mail->sender, sizeof s->message->sender);
	s->begun = s->eightbit = false;
	return "";
}

static const char *on_rcpt(void *arg, const struct server_rcpt *rcpt)
{
	struct session *s = arg;
	struct message *m = s->message;
	struct span local = address_local(&rcpt->address);

	/* An old way to make a relay send to a third place, user%there@here: nobody means well by
	 * it any more. */
	if (local.p[0] != '"' && memchr(local.p, '%', local.n))
		return refuse(s, &(struct answer_own) { "550 5.7.1", VERDICT_NEVER, 0 },
			"no routing by % in an address");
	assert(m && m->rcpts < MESSAGE_RCPTS);
	struct message_rcpt *r = &m->rcpt[m->rcpts++];
	memcpy(r->address, rcpt->address.text, rcpt->address.len + 1);
	memcpy(r->once, rcpt->once, sizeof r->once);
	return "";
}

/* Our fields go first. 0 or -1. */
static int begin(struct session *s, struct err *e)
{
	struct message *m = s->message;
	struct received r = { .helo = server_helo(s->server),
		.address = s->address,
		.hostname = s->l->conf.hostname,
		.id = m->id,
		.tls = s->tls,
		.lmtp = server_is_lmtp(s->server),
		.extended = server_is_extended(s->server),
		.authenticated = server_auth_name(s->server)[0],
		.recipient = m->rcpts == 1 ? m->rcpt[0].address : NULL,
		.now = clock_wall_ms() };
	struct buf fields;

	if (s->begun)
		return 0;
	s->begun = true;
	strip_init(&s->strip, &s->terms->conf.allow_header, &s->terms->conf.header);
	buf_init(&fields, 1024 * 1024);
	received_write(&r, &s->terms->conf.header, &fields);
	int result = fields.failed ? err_set(e, EX_TEMPFAIL, "out of memory")
				   : spool_add(&m->content, fields.data, fields.len, e);
	buf_done(&fields);
	return result;
}

static const char *no_room(struct session *s, const struct err *e)
{
	log_line(LOG_ERR, "listen", "%s", e->text);
	return refuse(s, &(struct answer_own) { "452 4.3.1", VERDICT_ROAD, 60 },
		"no room for the content");
}

static bool has_eightbit(struct span in)
{
	for (size_t i = 0; i < in.n; i++)
		if ((unsigned char)in.p[i] > 127)
			return true;
	return false;
}

static const char *on_content(void *arg, struct span in)
{
	struct session *s = arg;
	struct err e = { 0 };

	if (begin(s, &e) < 0 || strip_add(&s->strip, in, &s->message->content, &e) < 0)
		return no_room(s, &e);
	if (s->strip.begins_folded)
		return refuse(s, &(struct answer_own) { "554 5.6.0", VERDICT_NEVER, 0 },
			"the header begins with a folded line");
	if (strip_loops(&s->strip))
		return refuse(s, &(struct answer_own) { "554 5.4.6", VERDICT_NEVER, 0 },
			"too many Received fields: the message runs in a circle");
	s->eightbit = s->eightbit || has_eightbit(in);
	return NULL;
}

/* In Postfix's words, of which pflogsumm(1) takes what was received, by whom, and how much. */
static void note_message(const struct session *s, const struct message *m)
{
	struct figures *f = &s->l->figures;
	bool named = m->client[0] != '[';

	figures_one(&f->messages);
	atomic_fetch_add(&f->recipients, m->rcpts);
	atomic_fetch_add(&f->octets, message_octets(m));
	log_line(LOG_INFO, "smtpd", "%s: client=%s[%s]", m->id, named ? m->client : "unknown",
		s->address);
	log_line(LOG_INFO, "listen", "%s: from=<%s>, size=%llu, nrcpt=%u", m->id, m->sender,
		(unsigned long long)message_octets(m), m->rcpts);
}

static void on_message(void *arg, bool lmtp, bool eightbit)
{
	struct session *s = arg;
	struct message *m = s->message;
	struct err e = { 0 };
	bool crowded, good = begin(s, &e) == 0 && strip_end(&s->strip, &m->content, &e) == 0;

	m->lmtp = lmtp;
	m->eightbit = eightbit || s->eightbit;
	m->whole_us = clock_mono_us();
	atomic_store(&m->owed, m->rcpts);
	s->messages++;
	note_message(s, m);
	if (replies_owe(s->replies, m) < 0) {
		s->gone = true; /* and the client will bring it again */
	} else if (good) {
		atomic_fetch_add(&s->l->figures.waiting, 1);
		pool_put(s->l->pool, m);
	} else {
		const char *answer = no_room(s, &e);
		for (unsigned i = 0; i < m->rcpts; i++)
			message_answer(m, i, answer);
	}
	/* More of them may be in what was read together with this one. */
	(void)session_may_read(s, &crowded);
}

static void on_reset(void *arg)
{
	struct session *s = arg;

	message_unref(s->message);
	s->message = NULL;
}

/* --- AUTH --- */

struct login {
	struct session *s;
	bool unheard; /* there were too many wrong ones to look at this */
};

/* Lets time pass, unless the listener stops. */
static void wait_ms(struct session *s, int64_t ms)
{
	if (ms > 0)
		(void)poll(&(struct pollfd) { s->l->stop.fd, POLLIN, 0 }, 1, (int)ms);
}

static bool verify(void *arg, const char *name, struct span password)
{
	struct login *login = arg;
	struct session *s = login->s;
	struct guess *g = s->l->guess;
	int64_t wait = guess_ask(g, name, s->address, clock_mono_ms());

	login->unheard = wait < 0;
	if (login->unheard)
		return false;
	wait_ms(s, wait);
	bool good = door_knows(s->terms->door, name, password);
	if (good)
		guess_right(g, name, s->address, clock_mono_ms());
	return good;
}

/* From now on the session counts as its client's, and no longer as its address's. */
static const char *enter(struct session *s, const char *name)
{
	struct visitor *one =
		visitor_enter(s->l->visitors, name, (unsigned)s->terms->conf.client_sessions);

	if (!one)
		return refuse(s, &(struct answer_own) { "421 4.3.2", VERDICT_ROAD, 30 },
			"too many sessions of yours");
	(void)visitor_flying(s->l->visitors, s->visitor, s->counted, 0);
	visitor_leave(s->l->visitors, s->visitor);
	s->visitor = one;
	(void)visitor_flying(s->l->visitors, s->visitor, 0, s->counted);
	s->who = door_client(s->terms->door, name);
	snprintf(s->client, sizeof s->client, "%s", name);
	log_line(LOG_INFO, "listen", "client=[%s], sasl_method=PLAIN, sasl_username=%s", s->address,
		name);
	return "";
}

static const char *on_auth(void *arg, struct span response, char *name, size_t size)
{
	struct session *s = arg;
	struct login login = { .s = s };
	struct err e = { 0 };

	switch (sasl_check_plain(response, verify, &login, name, size, &e)) {
	case SASL_GOOD:
		figures_one(&s->l->figures.logins[LOGIN_RIGHT]);
		return enter(s, name);
	case SASL_WRONG:
		figures_one(&s->l->figures.logins[login.unheard ? LOGIN_UNHEARD : LOGIN_WRONG]);
		log_line(LOG_WARNING, "listen", "warning: [%s]: SASL PLAIN authentication failed%s",
			s->address, login.unheard ? ": too many of late" : "");
		wait_ms(s, WRONG_PASSWORD_MS);
		if (login.unheard)
			return refuse(s, &(struct answer_own) { "454 4.7.0", VERDICT_ROAD, 60 },
				"too many failed logins");
		return "535 5.7.8 Authentication credentials invalid";
	case SASL_MALFORMED:
		return "501 5.5.2 Not a PLAIN response";
	case SASL_BROKEN:
		break;
	}
	log_line(LOG_ERR, "listen", "%s", e.text);
	return "454 4.7.0 Temporary authentication failure";
}

const struct server_ops intake_ops = { on_reply, on_mail, on_rcpt, on_content, on_message, on_reset,
	on_auth };

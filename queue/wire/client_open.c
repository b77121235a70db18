/*
 * From the greeting to CLIENT_READY:
 *
 *   greeting -> EHLO -> [STARTTLS -> TLS -> EHLO] -> [AUTH] -> ready
 *
 * What was promised to the operator holds here: no password and no mail to a peer that is not
 * verified where the relay's scheme says that it has to be, and no password in the clear ever.
 */
#include "wire/client_private.h"

#define AUTH_MAX 8192

/* The command, CRLF added, and its reply. `arg` may be NULL. */
static void say(struct client *c, enum step step, const char *verb, const char *arg)
{
	uint64_t begin = client_staged(c);

	buf_add_str(&c->out, verb);
	if (arg) {
		buf_add_char(&c->out, ' ');
		buf_add_str(&c->out, arg);
	}
	buf_add_str(&c->out, "\r\n");
	client_expect(c, step, NULL, 0, begin);
}

void client_say_ehlo(struct client *c)
{
	c->ehlo = (struct ehlo) { 0 };
	say(c, STEP_EHLO, c->o.relay->lmtp ? "LHLO" : "EHLO", c->o.helo);
}

void client_on_greeting(struct client *c, const struct expect *x, const struct reply *r)
{
	client_say_ehlo(c);
}

static void ready(struct client *c)
{
	c->state = CLIENT_READY;
	client_say_quit(c);
}

static void say_auth(struct client *c)
{
	const struct relay *relay = c->o.relay;
	const char *mechanism = c->ehlo.auth_plain ? "PLAIN" : "LOGIN";
	struct buf first;
	struct err e = { 0 };

	buf_init_secret(&first, AUTH_MAX);
	c->login = sasl_login_new(mechanism, relay->host, relay->user, relay->password, &e);
	if (!c->login || sasl_login_first(c->login, &first, &e) < 0)
		client_die_lost(c, STEP_AUTH, e.text);
	else if (first.failed)
		client_die_lost(c, STEP_AUTH, "user and password are too long");
	else if (first.len > 0) {
		buf_add_str(&c->out, "AUTH ");
		say(c, STEP_AUTH, mechanism, buf_str(&first));
	} else {
		say(c, STEP_AUTH, "AUTH", mechanism);
	}
	buf_done(&first);
}

/* All that TLS can give is there. */
static void authenticate(struct client *c)
{
	const struct relay *relay = c->o.relay;

	if (relay->user[0] == '\0')
		ready(c);
	else if (!c->tls || !c->verified)
		client_die_lost(c, STEP_AUTH,
			"the password is not said to a peer that is not verified by TLS");
	else if (!c->ehlo.auth_plain && !c->ehlo.auth_login)
		client_die_lost(c, STEP_AUTH, "a secret is configured and the peer offers no AUTH");
	else
		say_auth(c);
}

void client_on_ehlo(struct client *c, const struct expect *x, const struct reply *r)
{
	/* What HELO is answered with offers nothing. */
	c->ehlo = c->said_helo ? (struct ehlo) { 0 } : c->parser.ehlo;
	if (c->tls)
		authenticate(c);
	else if (c->ehlo.starttls && !c->o.in_clear)
		say(c, STEP_STARTTLS, "STARTTLS", NULL);
	else if (c->o.relay->tls == RELAY_TLS_STARTTLS)
		client_die_lost(c, STEP_STARTTLS, "STARTTLS is required and the peer offers none");
	else
		authenticate(c);
}

/* An SMTP server without extensions may be spoken to where nothing hangs on one. */
void client_on_no_ehlo(struct client *c, const struct expect *x, const struct reply *r)
{
	const struct relay *relay = c->o.relay;

	if (c->said_helo || relay->lmtp || relay->tls != RELAY_TLS_MAY || relay->user[0] != '\0' ||
		c->tls) {
		client_die_refused(c, STEP_EHLO, r);
		return;
	}
	c->said_helo = true;
	say(c, STEP_EHLO, "HELO", c->o.helo);
}

void client_on_starttls(struct client *c, const struct expect *x, const struct reply *r)
{
	c->state = CLIENT_TLS;
}

void client_on_no_starttls(struct client *c, const struct expect *x, const struct reply *r)
{
	if (c->o.relay->tls == RELAY_TLS_MAY)
		authenticate(c);
	else
		client_die_refused(c, STEP_STARTTLS, r);
}

void client_on_challenge(struct client *c, const struct expect *x, const struct reply *r)
{
	struct buf answer;
	struct err e = { 0 };

	buf_init_secret(&answer, AUTH_MAX);
	if (sasl_login_step(c->login, span_of(r->text), &answer, &e) < 0)
		client_die_lost(c, STEP_AUTH, e.text);
	else if (answer.failed)
		client_die_lost(c, STEP_AUTH, "user and password are too long");
	else
		say(c, STEP_AUTH, buf_str(&answer), NULL);
	buf_done(&answer);
}

void client_on_auth(struct client *c, const struct expect *x, const struct reply *r)
{
	sasl_login_free(c->login);
	c->login = NULL;
	/* The reply is only taken when its command is written: what is staged has had its use. */
	wipe(c->out.data, c->out.cap);
	c->out.len = c->out_off = 0;
	ready(c);
}

/*
 * The commands: a table of verb, what each needs, and its handler. Every refusal for being out of
 * sequence is made in one place from the table, before a handler runs.
 */
#include "wire/server_state.h"

#include "base/log.h"

#include <assert.h>

const char *server_forbids(const struct server *s, unsigned needs, struct span args)
{
	if (s->o.require_tls && !s->tls && !(needs & BEFORE_TLS))
		return "530 5.7.0 Must issue a STARTTLS command first";
	if ((needs & NEEDS_HELO) && !s->helo[0] && !s->o.helo_optional)
		return "503 5.5.1 Say EHLO or LHLO first";
	if ((needs & NEEDS_AUTH) && s->o.require_auth && !s->authenticated)
		return "530 5.7.0 Authentication required";
	if ((needs & NEEDS_MAIL) && !s->mail)
		return "503 5.5.1 No MAIL was accepted";
	if ((needs & NOT_IN_MAIL) && s->mail)
		return "503 5.5.1 Not within a transaction";
	if ((needs & NOT_IN_CHUNKS) && s->chunks)
		return "503 5.5.1 Not after BDAT";
	if ((needs & NEEDS_RCPT) && s->rcpts == 0)
		return "503 5.5.1 No recipient was accepted";
	if ((needs & NO_ARGUMENT) && args.n > 0)
		return "501 5.5.4 This command has no argument";
	return NULL;
}

static bool take_helo(struct server *s, struct span args, const char *syntax)
{
	struct span name = span_trim(args);
	char shown[sizeof s->helo];

	log_printable(name, shown, sizeof shown);
	/* Names that DNS would not have, with underscores say, are common and harmless. */
	if (name.n == 0 || name.n >= sizeof shown || memchr(name.p, ' ', name.n) ||
		memchr(shown, '?', name.n)) {
		server_wrong(s, syntax);
		return false;
	}
	server_reset(s);
	memcpy(s->helo, shown, sizeof shown);
	return true;
}

static void do_helo(struct server *s, struct span args)
{
	if (!take_helo(s, args, "501 5.5.4 Syntax: HELO hostname"))
		return;
	s->lmtp = s->extended = false;
	server_say(s, "250 %s", s->o.hostname);
}

static void offer(struct server *s)
{
	struct buf b;

	buf_init(&b, 2048);
	buf_printf(&b, "250-%s\r\n250-PIPELINING\r\n250-SIZE %llu\r\n", s->o.hostname,
		(unsigned long long)s->o.message_size);
	if (s->o.offer_chunking)
		buf_add_str(&b, "250-CHUNKING\r\n");
	if (s->o.offer_starttls && !s->tls)
		buf_add_str(&b, "250-STARTTLS\r\n");
	if (s->o.offer_auth && s->tls)
		buf_add_str(&b, "250-AUTH PLAIN\r\n");
	if (s->o.offer_dsn)
		buf_add_str(&b, "250-DSN\r\n");
	if (s->o.offer_limits)
		buf_printf(&b, "250-LIMITS RCPTMAX=%u\r\n", s->o.rcptmax);
	if (s->o.xonce)
		buf_printf(&b, "250-XONCE %s\r\n", s->o.xonce);
	buf_add_str(&b, "250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n");
	if (b.failed)
		server_end(s, "421 4.3.0 Out of memory");
	else
		s->ops->reply(s->arg, buf_span(&b));
	buf_done(&b);
}

static void do_ehlo(struct server *s, struct span args)
{
	if (!take_helo(s, args, "501 5.5.4 Syntax: EHLO hostname"))
		return;
	s->lmtp = false;
	s->extended = true;
	offer(s);
}

static void do_lhlo(struct server *s, struct span args)
{
	if (!s->o.offer_lmtp) {
		server_wrong(s, "500 5.5.1 Command unknown");
		return;
	}
	if (!take_helo(s, args, "501 5.5.4 Syntax: LHLO hostname"))
		return;
	s->lmtp = s->extended = true;
	offer(s);
}

static void do_starttls(struct server *s, struct span args)
{
	(void)args;
	if (!s->o.offer_starttls) {
		server_wrong(s, "502 5.5.1 STARTTLS is not offered");
	} else if (s->tls) {
		server_wrong(s, "503 5.5.1 TLS is on already");
	} else if (s->behind > 0) {
		/* Injected in the clear, it would be taken as said under TLS (CVE-2011-0411). */
		server_end(s, "421 5.5.1 Nothing may follow STARTTLS before the handshake");
	} else {
		server_reset(s);
		server_say(s, "220 2.0.0 Ready to start TLS");
		s->state = SERVER_WANTS_TLS;
	}
}

static void do_mail(struct server *s, struct span args)
{
	struct server_mail m;
	const char *reply;

	if (server_parse_mail(&s->o, args, &m, &reply) < 0) {
		server_wrong(s, reply);
		return;
	}
	if (m.size > s->o.message_size) {
		server_say(s, "552 5.3.4 Message too large: at most %llu octets",
			(unsigned long long)s->o.message_size);
		return;
	}
	reply = s->ops->mail(s->arg, &m);
	if (*reply) {
		server_refused(s, reply);
		return;
	}
	s->mail = true;
	s->eightbit = m.eightbit;
	server_say(s, "250 2.1.0 Ok");
}

static void do_rcpt(struct server *s, struct span args)
{
	struct server_rcpt r;
	const char *reply;

	if (server_parse_rcpt(&s->o, args, &r, &reply) < 0) {
		server_wrong(s, reply);
		return;
	}
	if (s->rcpts >= s->o.rcptmax) {
		server_say(s, "452 4.5.3 Too many recipients: at most %u", s->o.rcptmax);
		return;
	}
	reply = s->ops->rcpt(s->arg, &r);
	if (*reply) {
		server_refused(s, reply);
		return;
	}
	s->rcpts++;
	s->idle--; /* it moved the message on; how many may come, rcptmax says */
	server_say(s, "250 2.1.5 Ok");
}

static void do_rset(struct server *s, struct span args)
{
	(void)args;
	server_reset(s);
	server_say(s, "250 2.0.0 Ok");
}

static void do_noop(struct server *s, struct span args)
{
	(void)args;
	server_say(s, "250 2.0.0 Ok");
}

static void do_vrfy(struct server *s, struct span args)
{
	if (args.n == 0)
		server_wrong(s, "501 5.5.4 Syntax: VRFY address");
	else
		server_say(s, "252 2.5.2 Not verified: send it and see");
}

static void do_help(struct server *s, struct span args)
{
	(void)args;
	server_say(s, "214 2.0.0 See RFC 5321");
}

static void do_quit(struct server *s, struct span args)
{
	(void)args;
	server_end(s, "221 2.0.0 Bye");
}

#define IN_MAIL (NEEDS_HELO | NEEDS_AUTH | NEEDS_MAIL | NOT_IN_CHUNKS)

/* clang-format off */
static const struct command {
	const char *verb;
	unsigned needs;
	void (*run)(struct server *s, struct span args);
} commands[] = {
	{ "EHLO",     BEFORE_TLS, do_ehlo },
	{ "HELO",     BEFORE_TLS, do_helo },
	{ "LHLO",     BEFORE_TLS, do_lhlo },
	{ "STARTTLS", BEFORE_TLS | NEEDS_HELO | NO_ARGUMENT | NOT_IN_MAIL, do_starttls },
	{ "AUTH",     NEEDS_HELO | NOT_IN_MAIL, server_do_auth },
	{ "MAIL",     NEEDS_HELO | NEEDS_AUTH | NOT_IN_MAIL, do_mail },
	{ "RCPT",     IN_MAIL, do_rcpt },
	{ "DATA",     IN_MAIL | NEEDS_RCPT | NO_ARGUMENT, server_do_data },
	/* BDAT's octets have to be taken in any case: it looks at what it needs itself. */
	{ "BDAT",     BEFORE_TLS | COSTS_NOTHING, server_do_bdat },
	{ "RSET",     BEFORE_TLS | NO_ARGUMENT, do_rset },
	{ "NOOP",     BEFORE_TLS, do_noop },
	{ "QUIT",     BEFORE_TLS | NO_ARGUMENT, do_quit },
	{ "VRFY",     NEEDS_HELO | NEEDS_AUTH, do_vrfy },
	{ "HELP",     NEEDS_NOTHING, do_help },
};
/* clang-format on */

static const struct command *find(struct span verb)
{
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (span_eq_nocase(verb, span_of(commands[i].verb)))
			return &commands[i];
	return NULL;
}

void server_command(struct server *s, struct span line)
{
	long blank = span_find(line, ' ');
	size_t n = blank < 0 ? line.n : (size_t)blank;
	const struct command *c = find(span_make(line.p, n));
	struct span args = span_trim(span_from(line, n));

	if (!(c && (c->needs & COSTS_NOTHING)) && ++s->idle > SERVER_IDLE_MAX) {
		server_end(s, "421 4.7.0 Too many commands without a message");
		return;
	}
	if (!c) {
		server_wrong(s, "500 5.5.1 Command unknown");
		return;
	}
	const char *forbidden = server_forbids(s, c->needs, args);
	if (!forbidden)
		c->run(s, args);
	else if (strncmp(forbidden, "503", 3) == 0)
		/* Behind a refused MAIL a pipelining client says many of them in good faith. */
		server_say(s, "%s", forbidden);
	else
		server_wrong(s, forbidden);
}

/*
 * One connection to the stand-in: the commands, each with what it needs, and the dialogue.
 */
#ifndef SES_SESSION_H
#define SES_SESSION_H

#include <strings.h>

#include "judge.h"

static enum next timed_out(struct session *s)
{
	atomic_fetch_add(&counters.idled, 1);
	say(s, "451 4.4.2 Timeout waiting for data from client.");
	return END;
}

static enum next do_ehlo(struct session *s, const char *arg)
{
	char text[512], size[64] = "";
	(void)arg;
	transaction_reset(s);
	if (opt.offer_size)
		snprintf(size, sizeof size, "250-SIZE %lu\r\n", opt.size);
	snprintf(text, sizeof text,
		"250-email-smtp.amazonaws.com\r\n250-8BITMIME\r\n%s%s250-AUTH PLAIN LOGIN\r\n250 "
		"Ok",
		size, opt.mode == MODE_STARTTLS ? "250-STARTTLS\r\n" : "");
	return simple(s, "ehlo", text);
}

static enum next do_helo(struct session *s, const char *arg)
{
	(void)arg;
	transaction_reset(s);
	return simple(s, "ehlo", "250 email-smtp.amazonaws.com");
}

static void count_handshake(const struct session *s)
{
	atomic_fetch_add(&counters.handshakes, 1);
	if (SSL_session_reused(s->io.ssl))
		atomic_fetch_add(&counters.resumed, 1);
}

static enum next do_starttls(struct session *s, const char *arg)
{
	bool go;
	(void)arg;
	if (opt.mode != MODE_STARTTLS || s->io.ssl)
		return say(s, "502 Error: command not recognized");
	if (answer(s, "starttls", "", "220 Ready to start TLS", &go) == END)
		return END;
	if (!go)
		return GO_ON;
	transaction_reset(s);
	if (!io_start_tls(&s->io, opt.tls))
		return END;
	count_handshake(s);
	return GO_ON;
}

/* Strict base64 of at most `size` octets; the length, or -1. */
static int unbase64(const char *in, unsigned char *out, size_t size)
{
	size_t n = strlen(in);
	if (n % 4 || n / 4 * 3 > size || n == 0)
		return -1;
	int len = EVP_DecodeBlock(out, (const unsigned char *)in, (int)n);
	if (len < 0)
		return -1;
	return len - (in[n - 1] == '=') - (in[n - 2] == '=');
}

static bool is(const unsigned char *p, size_t n, const char *want)
{
	return want && strlen(want) == n && memcmp(p, want, n) == 0;
}

static bool plain_good(const char *response)
{
	unsigned char raw[4096];
	int n = unbase64(response, raw, sizeof raw);
	if (n < 0)
		return false;
	unsigned char *name = memchr(raw, 0, (size_t)n);
	if (!name++)
		return false;
	size_t left = (size_t)(raw + n - name);
	unsigned char *password = memchr(name, 0, left);
	if (!password++)
		return false;
	return is(name, (size_t)(password - 1 - name), opt.user) &&
	       is(password, (size_t)(raw + n - password), opt.password);
}

/* Asks for one line more of an AUTH; false when the connection is over. */
static bool ask(struct session *s, const char *challenge, char *line, size_t size)
{
	if (say(s, challenge) != GO_ON)
		return false;
	enum io_got got = io_line(&s->io, line, size, idle_deadline());
	if (got == IO_TIMEOUT)
		timed_out(s);
	return got == IO_OK;
}

static enum next auth_said(struct session *s, bool good)
{
	bool positive;
	enum next next = answer(s, "auth", "",
		good ? "235 Authentication successful." : "535 Authentication Credentials Invalid",
		&positive);
	s->authed = positive;
	atomic_fetch_add(positive ? &counters.authenticated : &counters.auth_refused, 1);
	return next;
}

static enum next do_auth(struct session *s, const char *arg)
{
	char line[LINE_MAX_OCTETS], second[LINE_MAX_OCTETS];
	unsigned char raw[4096];
	if (s->authed)
		return say(s, "503 Already authenticated");
	if (strncasecmp(arg, "PLAIN", 5) == 0) {
		if (arg[5] == ' ')
			return auth_said(s, plain_good(arg + 6));
		/* Not base64, but seen: RFC 4954 would have an empty challenge here. */
		return ask(s, "334 Ok", line, sizeof line) ? auth_said(s, plain_good(line)) : END;
	}
	if (strncasecmp(arg, "LOGIN", 5) != 0)
		return say(s, "504 Unrecognized authentication type");
	if (!ask(s, "334 VXNlcm5hbWU6", line, sizeof line) ||
		!ask(s, "334 UGFzc3dvcmQ6", second, sizeof second))
		return END;
	int n = unbase64(line, raw, sizeof raw);
	bool good = n >= 0 && is(raw, (size_t)n, opt.user);
	n = unbase64(second, raw, sizeof raw);
	return auth_said(s, good && n >= 0 && is(raw, (size_t)n, opt.password));
}

static bool mail_parameters_good(struct session *s, const char *p)
{
	while (*p == ' ')
		p++;
	for (; *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");
		if (n == 13 && strncasecmp(p, "BODY=8BITMIME", n) == 0)
			s->eightbit = true;
		else if (!(n == 9 && strncasecmp(p, "BODY=7BIT", n) == 0) &&
			 !(opt.offer_size && n > 5 && strncasecmp(p, "SIZE=", 5) == 0))
			return false;
		p += n;
	}
	return true;
}

static enum next do_mail(struct session *s, const char *arg)
{
	char address[512], text[700];
	const char *rest;
	bool good;
	if (s->has_sender)
		return say(s, "503 Error: nested MAIL command");
	if (strncasecmp(arg, "FROM:", 5) != 0 ||
		!path_take(arg + 5, address, sizeof address, &rest) || !strchr(address, '@') ||
		!mail_parameters_good(s, rest))
		return say(s, "501 Invalid MAIL FROM address provided");
	if (!address_good(address)) {
		snprintf(text, sizeof text, "553 <%s> Invalid email address", address);
		return say(s, text);
	}
	enum next next = answer(s, "mail", address, "250 Ok", &good);
	if (good) {
		memcpy(s->sender, address, sizeof address);
		s->has_sender = true;
	}
	return next;
}

static enum next do_rcpt(struct session *s, const char *arg)
{
	char address[512], text[700];
	const char *rest;
	bool good;
	if (!s->has_sender)
		return say(s, "503 Error: need MAIL command");
	if (strncasecmp(arg, "TO:", 3) != 0 ||
		!path_take(arg + 3, address, sizeof address, &rest) || *rest)
		return say(s, "501 Invalid RCPT TO address provided");
	if (!address_good(address)) {
		snprintf(text, sizeof text, "553 <%s> address unknown", address);
		return say(s, text);
	}
	if (s->rcpts == RCPT_MAX)
		return say(s, "452 Too many recipients");
	enum next next = answer(s, "rcpt", address, "250 Ok", &good);
	if (good && !(s->rcpt[s->rcpts++] = strdup(address)))
		abort();
	return next;
}

static enum next do_data(struct session *s, const char *arg)
{
	bool go;
	(void)arg;
	if (!s->rcpts)
		return say(s, "503 Error: need RCPT command");
	if (answer(s, "data", s->sender, "354 End data with <CR><LF>.<CR><LF>", &go) == END)
		return END;
	if (!go) {
		transaction_reset(s);
		return GO_ON;
	}
	enum io_got got = read_content(s);
	if (got == IO_TIMEOUT)
		return timed_out(s);
	return got == IO_OK ? final_dot(s) : END;
}

static enum next do_rset(struct session *s, const char *arg)
{
	(void)arg;
	transaction_reset(s);
	return simple(s, "rset", "250 Ok");
}

static enum next do_noop(struct session *s, const char *arg)
{
	(void)arg;
	return say(s, "250 Ok");
}

static enum next do_quit(struct session *s, const char *arg)
{
	(void)arg;
	simple(s, "quit", "221 Bye");
	return END;
}

enum { NEEDS_TLS = 1, NEEDS_AUTH = 2 };

static const struct command {
	const char *verb;
	unsigned needs;
	enum next (*handle)(struct session *s, const char *arg);
} commands[] = {
	{ "EHLO", 0, do_ehlo },
	{ "HELO", 0, do_helo },
	{ "STARTTLS", 0, do_starttls },
	{ "AUTH", NEEDS_TLS, do_auth },
	{ "MAIL", NEEDS_TLS | NEEDS_AUTH, do_mail },
	{ "RCPT", NEEDS_TLS | NEEDS_AUTH, do_rcpt },
	{ "DATA", NEEDS_TLS | NEEDS_AUTH, do_data },
	{ "RSET", 0, do_rset },
	{ "NOOP", 0, do_noop },
	{ "QUIT", 0, do_quit },
};

static enum next command(struct session *s, char *line)
{
	size_t n = strcspn(line, " ");
	const char *arg = line + n + strspn(line + n, " ");
	atomic_fetch_add(&counters.commands, 1);
	for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++) {
		const struct command *c = &commands[i];
		if (strlen(c->verb) != n || strncasecmp(c->verb, line, n) != 0)
			continue;
		if ((c->needs & NEEDS_TLS) && opt.mode != MODE_NONE && !s->io.ssl)
			return say(s, "530 Must issue a STARTTLS command first");
		if ((c->needs & NEEDS_AUTH) && opt.user && !s->authed)
			return say(s, "530 Authentication required");
		return c->handle(s, arg);
	}
	return say(s, "502 Error: command not recognized");
}

static void dialogue(struct session *s)
{
	char line[LINE_MAX_OCTETS];
	enum next next;
	if (opt.mode == MODE_WRAPPED) {
		if (!io_start_tls(&s->io, opt.tls))
			return;
		count_handshake(s);
	}
	unsigned long open = atomic_load(&counters.open);
	if (opt.max_connections && open > opt.max_connections)
		next = say(s, "421 Too many concurrent SMTP connections"), next = END;
	else
		next = simple(s, "greeting",
			"220 email-smtp.amazonaws.com ESMTP SimpleEmailService-d-STANDIN00 "
			"ABCDEFGHIJ0123456789");
	while (next == GO_ON) {
		enum io_got got = io_line(&s->io, line, sizeof line, idle_deadline());
		if (got == IO_EOF)
			return;
		if (got == IO_TIMEOUT)
			next = timed_out(s);
		else if (got == IO_LONG)
			next = (say(s, "500 Error: line too long"), END);
		else
			next = command(s, line);
	}
}

static void session_run(int fd, unsigned long number)
{
	char what[512];
	struct session *s = calloc(1, sizeof *s);
	if (!s)
		abort();
	s->io.fd = fd;
	s->number = number;
	if (fault_due(opt.faults, "connect", "", what, sizeof what)) {
		atomic_fetch_add(&counters.faults, 1);
		s->reset = strcmp(what, "reset") == 0;
	} else {
		dialogue(s);
	}
	transaction_reset(s);
	io_close(&s->io, s->reset);
	free(s);
}

#endif

/*
 * AUTH PLAIN (RFC 4954, 4616). Whether the name and the password are good is the owner's to say:
 * `sendmail -bs` shares these files and links no SASL.
 */
#include "wire/server_state.h"

#include "base/base64.h"
#include "base/log.h"

static void refuse_login(struct server *s, const char *line)
{
	if (++s->logins >= SERVER_LOGINS_MAX)
		server_end(s, "421 4.7.0 Too many failed logins");
	else
		server_refused(s, line);
}

static void check(struct server *s, struct span base64)
{
	struct buf response;
	char name[sizeof s->name] = "";

	buf_init_secret(&response, SERVER_AUTH_MAX);
	if (base64_decode(base64, &response) < 0) {
		refuse_login(s, "501 5.5.2 Not base64");
	} else {
		const char *refusal =
			s->ops->auth_plain(s->arg, buf_span(&response), name, sizeof name);
		if (*refusal) {
			refuse_login(s, refusal);
		} else {
			s->authenticated = true;
			log_printable(span_of(name), s->name, sizeof s->name);
			server_say(s, "235 2.7.0 Authentication successful");
		}
	}
	buf_done(&response);
}

void server_do_auth(struct server *s, struct span args)
{
	long blank = span_find(args, ' ');
	size_t n = blank < 0 ? args.n : (size_t)blank;
	struct span initial = span_trim(span_from(args, n));

	if (!s->o.offer_auth || !s->ops->auth_plain) {
		server_wrong(s, "502 5.5.1 AUTH is not offered");
	} else if (!s->tls) {
		server_wrong(s, "538 5.7.11 Encryption is required for it");
	} else if (s->authenticated) {
		server_wrong(s, "503 5.5.1 You have logged in already");
	} else if (!span_eq_nocase(span_make(args.p, n), span_of("PLAIN"))) {
		server_wrong(s, "504 5.5.4 AUTH PLAIN is what there is");
	} else if (blank < 0) {
		s->mode = MODE_LOGIN;
		server_say(s, "334 ");
	} else if (span_eq(initial, span_of("="))) { /* RFC 4954 section 4: empty */
		check(s, span_make("", 0));
	} else {
		check(s, initial);
	}
}

void server_login_line(struct server *s, struct span line)
{
	if (span_eq(line, span_of("*")))
		refuse_login(s, "501 5.7.0 Given up");
	else
		check(s, line);
}

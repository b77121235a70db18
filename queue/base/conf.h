/*
 * The configuration: `key value` lines, '#' only as the first non-blank character. One table for
 * each file drives parsing, defaults, ranges, --check-config, and the test that compares it with
 * the man page. Unknown, doubled and out-of-range keys are errors with file and line.
 */
#ifndef CENMAIL_CONF_H
#define CENMAIL_CONF_H

#include "base/err.h"
#include "base/log.h"
#include "base/relay.h"
#include "base/span.h"

#include <stdint.h>
#include <stdio.h>

#define CONF_RELAYS 8 /* ceilings on what may be repeated */
#define CONF_LIST   256

/* A repeatable key's values in file order, each as `first rest` (rest "" when there is none). */
struct conf_pair {
	char *first, *rest;
};
struct conf_list {
	struct conf_pair *v;
	unsigned n;
};

enum conf_yes { CONF_NO, CONF_YES };

/* cenmail.conf: `sendmail` and `cenmail-flush`. All strings are owned; "" where none is set. */
struct conf_mail {
	char *queue;            /* path of queue.db */
	struct conf_list relay; /* first: URL, rest: options; relay_parse checked them */
	struct conf_list route; /* PATTERN, relay-URL … */
	char *hostname;         /* the host's own name where none is set */
	char *domain;
	char *aliases;
	char *postmaster;
	struct conf_list rewrite_sender; /* PATTERN, ADDRESS */
	enum conf_yes rewrite_reply_to;
	struct conf_list verified; /* PATTERN */
	char *bounce_sender;
	struct conf_list header; /* NAME, VALUE */
	uint64_t message_size;   /* octets of content, line ends as CRLF */
	uint64_t recipients_max;
	int64_t retry_min, retry_max, lifetime, lifetime_max, bounce_lifetime; /* milliseconds */
	int64_t warn_after;
	struct conf_list operator_reply; /* CODE, words */
	int64_t linger;
	uint64_t window, window_bytes, connections;
	uint64_t rate; /* recipients a second and relay, times 1000; 0: unlimited */
	int64_t keep_sent, keep_failed, keep_history;
	uint64_t min_free, queue_max; /* octets; 0: no bound, as of the next */
	uint64_t user_max;            /* messages of one user that wait */
	int64_t lock_wait;
	char *notify;
	enum log_to log;
};

enum listen_tls { LISTEN_TLS_WRAPPED, LISTEN_TLS_STARTTLS, LISTEN_TLS_PLAIN };
enum in_doubt { IN_DOUBT_RESEND, IN_DOUBT_HOLD };

/* listen.conf: `cenmail-listen`. */
struct conf_listen {
	struct conf_list listen; /* HOST:PORT, `tls` `starttls` or `plain` */
	char *certificate, *key;
	struct conf_list allow; /* CIDR */
	char *clients;
	char *upstream; /* as a relay */
	uint64_t upstream_connections;
	uint64_t rate; /* `14/s` `0.5/s`: recipients a second, times 1000; 0: unlimited */
	uint64_t quota;
	enum in_doubt in_doubt;
	struct conf_list header, allow_header;
	char *journal;
	int64_t keep_journal;
	uint64_t message_size, sessions_max;
	uint64_t client_sessions, client_messages; /* of one client */
	char *metrics;                             /* a file */
	char *hostname;
	enum log_to log;
};

/* The first pair whose pattern (`first`) an address matches, as address_match has it; NULL: none.
 */
const struct conf_pair *conf_list_match(const struct conf_list *l, struct span address);
/* What an envelope sender is sent as, by the rewrite_sender of a configuration. Borrowed from
 * either; the null sender stays what it is. */
const char *conf_sent_as(const struct conf_list *rewrite_sender, const char *sender);
/* What is put behind a bare name in a header and a sender: `domain`, else `hostname`. */
const char *conf_mail_domain(const struct conf_mail *c);

/* Both read the whole file before they judge it; 0 or -1 (EX_CONFIG: `FILE:LINE: what, and what
 * to do`; a file that can't be read is EX_CONFIG too; EX_TEMPFAIL: want of memory or descriptors).
 * On failure *ret is left done. */
int conf_mail_read(const char *path, struct conf_mail *ret, struct err *e);
int conf_listen_read(const char *path, struct conf_listen *ret, struct err *e);
void conf_mail_done(struct conf_mail *c);
void conf_listen_done(struct conf_listen *c);

/* Every key with its value in force, as a configuration file that reads back the same: before each
 * a comment that tells what it is, and "#key" for one that has no value. */
void conf_mail_dump(const struct conf_mail *c, FILE *to);
void conf_listen_dump(const struct conf_listen *c, FILE *to);
/* The next key that takes a restart to be heeded and is not the same in both; NULL: no more. *at
 * begins as 0. */
const char *conf_listen_restart(
	const struct conf_listen *a, const struct conf_listen *b, unsigned *at);

/* The part of a listen value before the port, and the port (0: the kernel chooses one). 0 or -1.
 * Brackets are removed. */
int conf_split_hostport(struct span s, char *host, size_t size, char port[6], struct err *e);

#endif

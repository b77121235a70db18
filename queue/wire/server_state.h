/*
 * What the files of the server side share: the engine's state, and the calls between its rooms.
 * For server*.c and its tests only.
 */
#ifndef CENMAIL_SERVER_STATE_H
#define CENMAIL_SERVER_STATE_H

#include "wire/line.h"
#include "wire/server.h"

#define SERVER_REPLY_MAX   512  /* octets of a reply line with CRLF */
#define SERVER_LOGINS_MAX  3    /* refused logins until 421 */
#define SERVER_CHUNK_SMALL 1024 /* a chunk below it counts as a command that moves nothing on */
#define SERVER_DROP_MAX    (4 * 1024 * 1024) /* octets of one endless line until 421 */

enum server_mode {
	MODE_COMMAND,
	MODE_DROP,  /* the rest of a line that is too long is thrown away */
	MODE_LOGIN, /* 334 was said: the next line is the response */
	MODE_DATA,  /* content up to CRLF . CRLF */
	MODE_CHUNK, /* content of a known length */
};

struct server {
	struct server_options o;
	const struct server_ops *ops;
	void *arg;

	enum server_state state;
	enum server_mode mode;
	bool paused, lmtp, extended, tls, authenticated;
	char helo[256], name[256];

	struct buf line;       /* of the command that is not yet whole */
	size_t behind;         /* octets of this input that lie behind the line being handled */
	size_t dropped;        /* of the line that is too long */
	unsigned errors, idle; /* see SERVER_ERRORS_MAX, SERVER_IDLE_MAX */
	unsigned logins;       /* refused ones */

	/* The transaction; all of it is set back by server_reset. */
	bool mail, eightbit;
	unsigned rcpts;
	bool chunks;            /* BDAT was said */
	uint64_t octets;        /* of content so far */
	uint64_t chunk_left;    /* of the chunk under way */
	bool chunk_last, is_cr; /* is_cr: the content so far ends in CR */
	struct unstuff unstuff;
	char refusal[SERVER_REPLY_MAX]; /* "" while the content is good */
};

/* --- server.c --- */
/* One reply line; CRLF is added, and what is too long is cut. */
void server_say(struct server *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for a command that makes no sense; too many of them end the session. */
void server_wrong(struct server *s, const char *line);
/* A refusal of the owner's: 421 ends the session. */
void server_refused(struct server *s, const char *line);
/* The one way out of a transaction. */
void server_reset(struct server *s);

/* --- server_command.c --- */
void server_command(struct server *s, struct span line);
/* What keeps a command from being allowed now, or NULL; flags as in its table. */
enum server_needs {
	NEEDS_NOTHING = 0,
	BEFORE_TLS = 1, /* allowed in the clear where TLS is required */
	NEEDS_HELO = 2,
	NEEDS_AUTH = 4, /* where the options require it */
	NEEDS_MAIL = 8,
	NEEDS_RCPT = 16,
	NOT_IN_MAIL = 32,
	NOT_IN_CHUNKS = 64,
	NO_ARGUMENT = 128,
	COSTS_NOTHING = 256, /* does not count towards SERVER_IDLE_MAX here */
};
const char *server_forbids(const struct server *s, unsigned needs, struct span args);

/* --- server_mail.c: 0, or -1 with the reply to give --- */
int server_parse_mail(const struct server_options *o, struct span args, struct server_mail *ret,
	const char **ret_reply);
int server_parse_rcpt(const struct server_options *o, struct span args, struct server_rcpt *ret,
	const char **ret_reply);

/* --- server_login.c --- */
void server_do_auth(struct server *s, struct span args);
void server_login_line(struct server *s, struct span line);

/* --- server_content.c --- */
void server_do_data(struct server *s, struct span args);
void server_do_bdat(struct server *s, struct span args);
/* Both take content up to its end and say how many octets that was. */
size_t server_data(struct server *s, struct span in);
size_t server_chunk(struct server *s, struct span in);

#endif

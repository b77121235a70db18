/*
 * The queue: one SQLite file, and the only code that knows SQLite. Every write transaction and
 * every checkpoint is made under flock on `queue.lock` beside the database; see schema.sql for the
 * states, and cenmail-internals(7) for the rules.
 *
 * Times are milliseconds since 1970, UTC. Functions answer 0, or -1 with err; EX_TEMPFAIL when
 * another try may succeed, EX_CONFIG when the database is missing, foreign, or of another version.
 */
#ifndef CENMAIL_STORE_H
#define CENMAIL_STORE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/verdict.h"
#include "store/holder.h"

#include <stdint.h>
#include <sys/types.h>

struct store;

enum store_role {
	STORE_SUBMIT,
	STORE_FLUSH,
	STORE_LIST,
	STORE_HAND
}; /* which statements are prepared */

/* Opens, never creates. STORE_SUBMIT is for a process with one thread. lock_wait_ms: how long any
 * later call may wait for queue.lock and the database; of a submitter the opening and the first
 * call together, as somebody waits for him. */
int store_open(struct store **ret, const char *path, enum store_role role, int64_t lock_wait_ms,
	struct err *e);
void store_close(struct store *s);
/* Instead, where the process is likely to end now: its end closes all that is open, and taking the
 * rest apart would cost a tenth of the call. One that is left is closed when the next is. */
void store_leave(struct store *s);

/* Creates the database with its lock files and WAL, 0600 in a directory that must exist, or
 * migrates an older one; holds flush.lock, then queue.lock. Nothing to do is success. Refuses a
 * network file system, a foreign or damaged file, and a newer version. *ret_from: the version that
 * was there; 0: none. *ret_to: that there is now. */
int store_init(const char *path, int64_t *ret_from, int64_t *ret_to, struct err *e);

/* --- submission --- */

struct store_rcpt {
	const char *address;
	const char *notify, *orcpt; /* NULL: none */
};
struct store_submission {
	unsigned char key[16]; /* the message key: a second put of the same key stores nothing */
	int64_t submitted;
	uid_t uid;
	const char *sender;     /* "" is the null sender */
	const char *message_id; /* as in the header, with its angle brackets; "" when it has none */
	bool eightbit;
	bool notice; /* one of our own: a bounce, a warning */
	const char *ret, *envid;
	struct span content; /* normalised; may be a mapped file; written in pieces when large */
	const struct store_rcpt *rcpt;
	unsigned rcpts;
	uint64_t queue_max, user_max; /* ceilings, as in cenmail.conf(5); 0: none */
};
/* One transaction; durable when it answers 0. After COMMIT it checkpoints when the WAL has grown
 * past its bound, and what that yields changes nothing. EX_UNAVAILABLE: over a ceiling. */
int store_put(struct store *s, const struct store_submission *m, int64_t *ret_id, struct err *e);

/* --- the flusher's side --- */

struct store_due { /* valid during the callback only */
	int64_t recipient, message, version;
	const char *address;
	char once[33]; /* 32 hexadecimal digits */
	unsigned tries;
	int64_t submitted, next_try;
	int64_t since; /* when its lifetime began: submitted, or set anew by hand */
	uint64_t size; /* of the content */
	const char
		*doubt_journal; /* "" unless the last try ended in doubt: the journal it was at */
	int64_t doubt_until;    /* wall ms until which that journal will know the token */
	const char *notify, *orcpt;
	bool notice;    /* one of our own: a bounce, a warning */
	int last_code;  /* of the last try; 0: it had none, or there was no answer */
	int64_t warned; /* when its sender was told that it takes long; 0: he was not */
};
struct store_cursor { /* after what has been gone through */
	int64_t next_try, id;
};
#define STORE_FROM_THE_FIRST ((struct store_cursor) { INT64_MIN, INT64_MAX })

/* Goes through what is queued and due in one flow, those longest due first, of one time in the
 * order of their ids. One whose next_try lies further ahead than horizon_ms counts as due: the
 * clock has been set back. */
struct store_walk {
	unsigned flow;
	int64_t now, horizon_ms;
	unsigned most; /* that are looked at */
	/* Whether it need not be shown: it is in hand. */
	bool (*skip)(void *arg, int64_t recipient);
	/* Takes it. False: not this one, and no other. No transaction is open meanwhile. */
	bool (*fn)(void *arg, const struct store_due *d);
	void *arg;
};
/* From the cursor on, which is moved behind the last that was skipped or taken. 1: fn answered
 * false, or `most` were looked at; 0: there is no more; -1. */
int store_due(struct store *s, const struct store_walk *w, struct store_cursor *at, struct err *e);

struct store_flows {
	uint64_t due; /* a bit for each flow in which something is due */
	int64_t next; /* when the next one will be; INT64_MAX: none is queued for later */
};
/* A few looks into the index for each flow, however long the queue. 0 or -1. */
int store_flows(
	struct store *s, int64_t now, int64_t horizon_ms, struct store_flows *ret, struct err *e);

/* How many recipients are due, as store_due shows them, and how many are queued for later. Goes
 * through an index, all of it: a million take some 50 ms. 0 or -1. */
int store_waiting(struct store *s, int64_t now, int64_t horizon_ms, uint64_t *ret_due,
	uint64_t *ret_later, struct err *e);

/* Whether the recipient is still queued, and not changed by hand since store_due showed it with
 * this version. 1, 0 or -1. */
int store_unchanged(struct store *s, int64_t recipient, int64_t version, struct err *e);

struct store_message {
	int64_t id, submitted;
	uid_t uid;
	char *sender, *message_id; /* owned */
	bool eightbit;
	char *ret, *envid; /* owned, NULL: none */
	struct buf content;
};
/* Message and content, checksum verified. 1; 0: it is gone (dropped by hand); -1: EX_DATAERR when
 * what is stored can't be trusted (bad checksum, a value out of range): hold it with the words;
 * EX_OSERR: no memory for it. */
int store_load(struct store *s, int64_t message, struct store_message *ret, struct err *e);
void store_message_done(struct store_message *m);

enum store_state { STORE_QUEUED, STORE_HELD, STORE_SENT, STORE_FAILED };

struct store_settlement { /* one try at one recipient */
	int64_t recipient, message, version;
	const char *address;    /* as it was tried */
	enum store_state state; /* what the recipient becomes; QUEUED: next_try counts */
	int64_t next_try;
	bool counts;       /* tries goes up; false for the road's faults, which do not age mail */
	bool quiet;        /* no row in attempts: the road was down before this message's turn */
	const char *relay; /* scheme://host:port */
	const struct reply *reply;
	bool maybe_sent;
	const char *doubt_journal; /* "" : not in doubt */
	int64_t doubt_until;
	const char *ses_id; /* "" unless sent */
	bool reports;       /* sent to a peer that sees to NOTIFY=SUCCESS itself (RFC 3461) */
	int64_t at;
	int64_t queued_ms, connect_ms, hop_ms,
		ses_ms; /* the delay split; `seconds` is the last two */
};
/* All of them in one transaction. A recipient whose version has changed meanwhile (by hand), or
 * that is gone, keeps its state: the try goes to attempts alone. keep_sent 0: the content of a
 * message whose recipients are all sent is deleted here. ret_done (n flags, may be NULL) says for
 * each whether the message has no recipient left to settle. */
int store_settle(struct store *s, const struct store_settlement *v, unsigned n, int64_t keep_sent,
	bool *ret_done, struct err *e);

/* A recipient that was in flight when a flusher was killed, as it was then. */
struct store_flown {
	int64_t recipient;
	unsigned tries;
	char once[33];
};
struct store_doubt { /* a message to some of its recipients */
	int64_t message;
	const struct store_flown *rcpt;
	unsigned rcpts;
	const char *relay;   /* scheme://host:port */
	const char *journal; /* "": the peer has none */
	int64_t until;       /* it will know the tokens */
	int64_t at;
};
/* Of these n messages each recipient that has had no verdict since is in doubt, and its try is
 * noted. Adds how many there are to *count. In one transaction. 0 or -1. */
int store_doubt(
	struct store *s, const struct store_doubt *d, unsigned n, uint64_t *count, struct err *e);

/* --- what is known of a road (of a route's pattern; "": that of the key `relay`) --- */

#define STORE_RELAY_MAX 319
struct store_relay {
	const char *relay;  /* scheme://host:port */
	bool in_use;        /* messages may be under way over it */
	int64_t resume_at;  /* it is not asked before; 0 */
	int64_t down_since; /* 0: it is well */
	char reason[256];
	int64_t rate;    /* recipients in 1,000 s, as throttling has taught; 0: it has not */
	int64_t full_at; /* wall ms: when its bucket is full again; 0 */
};
struct store_outage {  /* all relays of the road are down */
	int64_t began; /* 0: they are not */
	int64_t hours; /* of it that the log has been told of */
	char reason[256];
};
struct store_road {
	const char *road;
	const struct store_relay *relay;
	unsigned n;
	struct store_outage outage;
	int64_t now;          /* when an outage ends that lasted */
	int64_t keep_history; /* ended ones older than that go */
};
/* Fills those of the n relays, whose names are set, of which something is stored; and the outage
 * that lasts. A value out of range is as one that is not there. 0 or -1. */
int store_road_read(struct store *s, const char *road, struct store_relay *relay, unsigned n,
	struct store_outage *ret_outage, struct err *e);
/* In one transaction; what was stored of the road before goes. */
int store_road_write(struct store *s, const struct store_road *v, struct err *e);
/* Of roads other than these n nothing is known any longer, and their outages are over. Writes only
 * where there is one. 0 or -1. */
int store_road_keep(
	struct store *s, const char *const *road, unsigned n, int64_t now, struct err *e);
/* How long the road was down between the two, ms. 0 or -1. */
int store_road_down(struct store *s, const char *road, int64_t from, int64_t to, int64_t *ret_ms,
	struct err *e);

/* Checkpoints when the WAL is past its bound, or in any case when `idle`. Answers the octets that
 * the WAL then has: past STORE_WAL_LOUD somebody keeps a read transaction open, which is to be
 * logged. */
#define STORE_WAL_LOUD (64 << 20)
int64_t store_checkpoint(struct store *s, bool idle);
/* Takes queue.lock and SQLite's own lock, and lets them go: after that, whatever was being
 * committed can be seen. A person's open transaction is not waited for. */
int store_barrier(struct store *s, struct err *e);

/* The locks of rule 7, in the directory of the queue: "flush.lock", "next.lock". wait: until it is
 * free, or the deadline (monotonic ms), or stop_fd is readable. 1 taken (*ret_fd), 0 not, -1. Dies
 * with its holder. */
int store_lock_file(const char *queue, const char *name, int64_t deadline_ms, int stop_fd,
	int *ret_fd, struct err *e);
/* Who holds one may say that he is ready for what it stands for; who wants to know asks. */
void store_lock_ready(int fd);
enum store_lock_state { STORE_LOCK_FREE, STORE_LOCK_HELD, STORE_LOCK_READY };
enum store_lock_state store_lock_state(const char *queue, const char *name);
/* "process 123 (cenmail-flush)", and whether it is stopped; see store/holder.h. */
void store_lock_holder(const char *queue, const char *name, char out[HOLDER_NAME_MAX]);
/* Paths beside the database, for inotify: queue.lock, the WAL, incoming/. out is emptied first. */
void store_lock_path(const char *queue, struct buf *out);
void store_wal_path(const char *queue, struct buf *out);
void store_incoming_path(const char *queue, struct buf *out);

/* --- mailq, and what is done by hand --- */

struct store_listed { /* valid during the callback only */
	int64_t message, submitted;
	uint64_t size;
	const char *sender, *address, *state, *last_reply;
	unsigned tries;
	int64_t next_try;
	int64_t doubt_until; /* as in store_due; 0: not in doubt */
};
/* Every recipient that is not settled, by message; those of one uid only, or of all ((uid_t)-1).
 * Pages by key: short transactions, none open while fn runs. */
int store_list(struct store *s, uid_t uid, bool (*fn)(void *arg, const struct store_listed *l),
	void *arg, struct err *e);

/* Recipients that are queued for a time after `now` become due at `now` where fn (called for each
 * recipient that is not settled) answers true; each is noted in attempts as a change by hand. A
 * transaction for each page. Of role STORE_HAND. *ret_n: how many became due. 0 or -1. */
int store_make_due(struct store *s, int64_t now,
	bool (*fn)(void *arg, const struct store_listed *l), void *arg, unsigned *ret_n,
	struct err *e);

#endif

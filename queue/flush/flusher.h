/*
 * The flusher's own rooms share these. One thread, one poll loop:
 *
 *   store --due--> batch --load, submit--> link ... done --> verdict --> settlement --> store
 *
 * batch.c takes what is due, send.c puts it on the wire, settle.c passes the verdicts and writes
 * them back, route.c keeps the relays and their connections, loop.c turns the wheel (wheel.h).
 */
#ifndef CENMAIL_FLUSHER_H
#define CENMAIL_FLUSHER_H

#include "base/conf.h"
#include "flush/idset.h"
#include "flush/retry.h"
#include "flush/window.h"
#include "store/store.h"
#include "wire/link.h"

#define FLUSH_TAKE_MAX    1024  /* recipients taken from the queue at once */
#define FLUSH_LOW_WATER   256   /* recipients in hand and waiting, below which more are taken */
#define FLUSH_BATCH_MAX   50    /* recipients of a batch: SES's own limit */
#define FLUSH_SETTLE_MAX  256   /* settlements that are written back at once */
#define FLUSH_SETTLE_MS   10    /* and how old one may get before */
#define FLUSH_IDLE_MS     5000  /* a connection to a peer without XONCE is kept so long */
#define FLUSH_LAST_MS     30000 /* for what is in flight, when the flusher has to go */
#define FLUSH_OPENING_MS  30000 /* from connect to ready, where there is another relay */
#define FLUSH_TX_MS       (10 * 60 * 1000)
#define FLUSH_BACKOFF_MIN 1000
#define FLUSH_BACKOFF_MAX 30000

/* One recipient in hand: taken from the queue, not yet settled. */
struct hand {
	int64_t recipient, version, submitted, since;
	unsigned tries;
	char *address, *notify, *orcpt; /* owned; the latter two NULL where there are none */
	char once[CLIENT_ONCE_HEX + 1];
	char *doubt_journal; /* owned; "" when not in doubt */
	int64_t doubt_until;
};

/* One message to some of its recipients, by one route. */
struct batch {
	struct batch *next;
	struct route *route;
	int64_t message;
	struct hand *hand;
	unsigned hands;
	uint64_t size;
	int64_t taken_wall, taken_us; /* when it was taken from the queue */
	int64_t answered_wall;        /* for all of it, so that it is due again together */
	int64_t connect_us;           /* the part of its wait that was for a connection */

	/* while on the wire */
	struct store_message stored;
	const char *sender; /* as it is sent: rewritten; borrowed */
	struct buf content; /* the same; empty when it goes as it is stored */
	struct client_rcpt *rcpt;
	struct transaction tx;
	unsigned ahead; /* others in flight on its connection when it was given to it */
};

struct relay_end { /* one next hop of a route */
	struct relay relay;
	struct tls_context *tls;
};

struct way { /* one of a route's connections */
	struct link *link;
	const struct relay_end *end; /* what it leads to */
	int64_t idle_since;          /* monotonic ms; 0: not idle */
	bool used;                   /* it has been ready */
	bool charged;                /* its set-up has been counted in a message's delay */
	struct window window;        /* for a peer with a journal */
};

struct route {
	const char *pattern; /* NULL: all that no other route wants */
	struct relay_end *end;
	unsigned ends, at; /* at: the one in use */
	struct way *way;
	unsigned ways;
	struct batch *first, *last; /* waiting for a connection or for room, oldest first */
	unsigned waiting;           /* recipients in them */
	int64_t resume_at;          /* monotonic ms: backing off or paused until then; 0: not */
	int64_t keep_after;         /* monotonic ms: no idle connection is opened before */
	int64_t backoff_ms;
	unsigned failed_ends; /* relays that have failed in a row */
	bool down;            /* the last that was heard of the road is a fault */
	bool refused;         /* the operator has been told that the account is */
	bool seeking;         /* closes its connections, to ask the next relay's journal */
	unsigned sought;      /* relays that were asked in a row */
	int64_t sought_at;    /* monotonic ms: the first of them */
};

struct flush_stats {
	uint64_t messages, recipients, sent, deferred, failed, held, connections, in, out;
};

struct flusher {
	const struct conf_mail *conf;
	struct store *store;
	struct route *route; /* the default route is the last one */
	unsigned routes;
	struct idset in_hand;
	struct buf headers; /* "Name: value\r\n" of the configuration, put before the content */
	struct settling *settling;
	struct progress *progress; /* what -v shows on a terminal, or NULL */
	bool look;                 /* there may be more due than is in hand */
	bool closing;              /* takes nothing new */
	bool unwritten; /* verdicts wait for a queue that can't be written: nothing new is sent */
	bool linger;
	struct flush_stats stats;
};

/* --- batch.c --- */
/* Takes due recipients into batches at their routes. 0 or -1. */
int batch_take(struct flusher *f, struct err *e);
/* Frees it; its recipients are no longer in hand. */
void batch_drop(struct flusher *f, struct batch *b);
/* The same for the i-th of its recipients. */
void batch_forget(struct flusher *f, struct batch *b, unsigned i);
struct batch *batch_pop(struct route *r);
/* Puts it back where it was. */
void batch_unpop(struct batch *b);
/* Cuts b after n recipients; the rest becomes the route's next batch. 0 or -1 (no memory). */
int batch_split(struct batch *b, unsigned n, struct err *e);

/* --- route.c --- */
int route_open_all(struct flusher *f, struct err *e);
void route_close_all(struct flusher *f);
struct route *route_for(struct flusher *f, const char *address);
/* Opens a connection where there is work and the backoff allows. */
void route_tend(struct flusher *f, struct route *r, int64_t now);
/* A connection has ended: frees it, and says what that means for the road. */
void route_ended(struct flusher *f, struct route *r, struct way *w, int64_t now);
/* At least so long; a longer pause stays. */
void route_pause(struct route *r, int64_t ms, int64_t now);
/* A message was answered: the faults before it are history. */
void route_well(struct route *r);
/* A batch has to go to a journal that another relay of the route may have: turns to the next one,
 * when the connections of this one are done. False: all have been asked in the last again_ms. */
bool route_seek(struct route *r, int64_t again_ms, int64_t now);
/* Whether it may send now: not backing off. */
bool route_open(const struct route *r, int64_t now);

/* --- flight.c --- */
/* Messages given to connections whose verdicts have not been passed. */
unsigned flight_count(const struct flusher *f);
/* Recipients in hand that can go: on roads that are open, or will be when one has connected. */
unsigned flight_waiting(const struct flusher *f, int64_t now);
/* Octets over the connections that are open; what the kernel still keeps for a peer has not moved.
 */
uint64_t flight_octets(const struct flusher *f);
/* The end of every connection, now. */
void flight_cut(struct flusher *f, int64_t now);

/* --- send.c --- */
/* Gives the ready connections of the route what waits for them and is to be written next. 1: some,
 * and once that is written there may be room for more; 0: none; -1 (the store). */
int send_fill(struct flusher *f, struct route *r, int64_t now, struct err *e);

/* --- settle.c --- */
int settle_open(struct flusher *f, struct err *e);
void settle_close(struct flusher *f);
/* Takes back what the connection has done with, and passes the verdicts. */
void settle_collect(struct flusher *f, struct way *w, int64_t now);
/* A fault of the road to `relay`, noted on the messages whose turn it was; they stay due. */
void settle_road(
	struct flusher *f, struct route *r, const char *relay, const struct outcome *fault);
/* What is stored can't be trusted: held, with the reason. Takes the batch. */
void settle_damaged(struct flusher *f, struct batch *b, const char *why);
/* Has to wait for the journal that may know it. Takes the batch. */
void settle_postpone(struct flusher *f, struct batch *b, int64_t until);
/* Writes back when there is enough, when it is old enough, or when `now` asks. 0 or -1: what could
 * not be written is kept for the next call. */
int settle_write(struct flusher *f, bool now, struct err *e);
/* Monotonic ms when settle_write wants to be called; INT64_MAX: nothing waits. */
int64_t settle_deadline(const struct flusher *f);

/* --- loop.c --- */
/* Until nothing is due (linger 0), the linger is over, or a signal asks to stop. 0 or -1. */
int flusher_run(struct flusher *f, int signal_fd, struct err *e);

#endif

/*
 * The flusher's own rooms share these. One thread, one poll loop:
 *
 *   store --due--> batch --load, submit--> link ... done --> verdict --> settlement --> store
 *
 * batch.c takes what is due, send.c puts it on the wire, settle.c passes the verdicts and writes
 * them back, loop.c turns the wheel (wheel.h). Of the roads, route.c knows which recipient takes
 * which, ways.c keeps the connections, road.c knows which relay may be asked, pacing.c how fast.
 */
#ifndef CENMAIL_FLUSHER_H
#define CENMAIL_FLUSHER_H

#include "base/bucket.h"
#include "base/conf.h"
#include "flush/fair.h"
#include "flush/idset.h"
#include "flush/retry.h"
#include "flush/window.h"
#include "store/store.h"
#include "wire/link.h"

#define FLUSH_WAITING    1024  /* recipients of a road in hand and waiting, shared by its flows */
#define FLUSH_FLOW_MIN   64    /* and what a flow may have of it at least */
#define FLUSH_LOOKED_AT  2000  /* entries of the index that one look goes through, for each flow */
#define FLUSH_BATCH_MAX  50    /* recipients of a batch: SES's own limit */
#define FLUSH_SETTLE_MAX 256   /* settlements that are written back at once */
#define FLUSH_SETTLE_MS  10    /* and how old one may get before */
#define FLUSH_IDLE_MS    5000  /* a connection to a peer without XONCE is kept so long */
#define FLUSH_LAST_MS    30000 /* for what is in flight, when the flusher has to go */
#define FLUSH_OPENING_MS 30000 /* from connect to ready, where there is another relay */
#define FLUSH_TX_MS      (10 * 60 * 1000)
#define FLUSH_CONNECT_MS 10000 /* of it: for the connection */
#define FLUSH_BACKOFF_MIN                                                                          \
	1000 /* a relay that failed is asked again after, and then twice that…                   \
	      */
#define FLUSH_BACKOFF_MAX 30000   /* up to this where there is no other */
#define FLUSH_RETURN_MS   300000  /* or this, or retry_max, while another one is in use */
#define FLUSH_PAUSE_MAX   3600000 /* whatever was said, a relay is asked again after */
#define FLUSH_WAYS_MORE                                                                            \
	3 /* connections beside those configured: for suspects, and in place of stalled ones */
#define FLUSH_STALL_MS      4000  /* nothing moves for so long, or up to twice: it has stalled */
#define FLUSH_LONE_MS       10000 /* suspects wait for the others to be done, but no longer */
#define FLUSH_MORE_MS       60000 /* one connection more is tried at a relay that had enough */
#define FLUSH_ROAD_MS       1000  /* what is known of a road is written no more often */
#define FLUSH_ROAD_AGAIN_MS 10000 /* after the queue could not be written */

/* One recipient in hand: taken from the queue, not yet settled. */
struct hand {
	int64_t recipient, version, submitted, since;
	unsigned tries;
	bool notice;                    /* one of our own: a bounce, a warning */
	char *address, *notify, *orcpt; /* owned; the latter two NULL where there are none */
	char once[CLIENT_ONCE_HEX + 1];
	char *doubt_journal; /* owned; "" when not in doubt */
	int64_t doubt_until;
};

/* One message to some of its recipients, by one route. */
struct batch {
	struct batch *next;
	struct route *route;
	unsigned char flow;
	bool suspect; /* the connection ended with its last try: it goes alone */
	int64_t message;
	struct hand *hand;
	unsigned hands, room;
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
	bool spared;     /* the connection ended, and it is not charged with that */
	unsigned spares; /* times that it was */
	bool blamed;     /* it has been laid at the relay's door */
	unsigned ahead;  /* others in flight on its connection when it was given to it */
	unsigned place;  /* in the file of what is in flight; 0: none */
};

struct relay_end { /* one next hop of a route */
	struct relay relay;
	struct tls_context *tls;
	bool in_clear;     /* TLS, that need not be, did not work with it */
	int64_t resume_at; /* monotonic ms: it is not asked before; 0: it may be */
	bool paused;       /* for that it asked us to wait, and not for a fault */
	int64_t backoff_ms;
	int64_t down_since; /* wall ms; 0: well */
	char reason[200];
	struct bucket pace;
	bool met, xonce; /* it has been ready; and has a journal */
	unsigned most;   /* connections that it takes, fewer than it should; 0: not known */
	int64_t more_at; /* monotonic ms: when one more is tried */
};

struct way { /* one of a route's connections */
	struct link *link;
	struct relay_end *end; /* what it leads to */
	int64_t idle_since;    /* monotonic ms; 0: not idle */
	bool used;             /* it has been ready */
	bool answered;         /* a message over it was, and the last answer was no fault */
	bool lone;             /* it is for suspects alone */
	bool stalled;          /* nothing moves on it: it gets nothing more */
	bool crowded;          /* the peer said that there are too many */
	bool ended;            /* a message that it ended with has been seen, */
	bool excused;          /* and one like it had ended another */
	int64_t watch_at;      /* monotonic ms: when it is looked whether it has stalled; 0: not */
	uint64_t moved;        /* octets, when that was looked at last */
	bool charged;          /* its set-up has been counted in a message's delay */
	struct window window;  /* for a peer with a journal */
};

struct route {
	const char *pattern; /* "": all that no other route wants */
	struct relay_end *end;
	unsigned ends, at; /* at: the one in use, or the next to be asked */
	struct way *way;   /* FLUSH_WAYS_MORE than are configured, and one for a probe */
	unsigned ways;
	struct fair waiting; /* for a connection or for room */
	uint64_t passed;     /* flows in which recipients of it were passed over */
	uint64_t more;       /* flows of which more is due than it takes in hand */
	bool more_suspects;  /* the same of them */
	bool again;          /* a connection may be opened, or something sent: at once */
	int64_t lone_since;  /* monotonic ms: suspects have waited since; 0: there are none */
	int64_t lone_at,
		lone_pause_ms; /* monotonic ms: none is sent before; the pause that was for */
	int64_t lone_next;     /* monotonic ms: when it is looked whether it is their turn; 0 */
	int64_t resume_at;     /* monotonic ms: no relay may be asked until then; 0: one may */
	int64_t keep_after;    /* monotonic ms: no idle connection is opened before */
	int64_t pace_at;       /* monotonic ms: what waits is held until then; 0: not by the pace */
	bool seeking;          /* closes its connections, and then turns to seek_to */
	unsigned seek_to;
	unsigned sought;   /* relays whose journals were asked in a row */
	int64_t sought_at; /* monotonic ms: the first of them */
	int64_t probe_at;  /* monotonic ms: while mail waits, no relay before the one in use is
			    * asked until then */

	int64_t down_since; /* wall ms: all its relays are down; 0: not */
	int64_t hours;      /* of that, as far as the log has been told */
	bool refused;       /* the operator has been told that the account is */
	bool noted;         /* on the messages whose turn it was */
	bool dirty;         /* what is known has changed since it was stored */
	unsigned stored_at; /* the relay in use, as stored */
	int64_t store_at;   /* monotonic ms: not written before */
	bool unstored;      /* the last time it could not be */
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
	struct idset spared; /* messages that were, and may have been taken */
	struct buf headers;  /* "Name: value\r\n" of the configuration, put before the content */
	struct settling *settling;
	struct flying *flying;     /* the file of what is in flight */
	struct progress *progress; /* what -v shows on a terminal, or NULL */
	struct turn_files *files;  /* that were read; who has newer ones is to come soon */
	bool look;                 /* something may have become due */
	uint64_t unread;           /* flows whose index has not been gone through to its end */
	unsigned share;            /* recipients that a flow may have waiting on a road */
	int64_t next_due;          /* wall ms, as of the last look */
	struct store_cursor cursor[FLOW_COUNT]; /* where the next look begins */
	bool closing;                           /* takes nothing new */
	bool unwritten; /* verdicts wait for a queue that can't be written: nothing new is sent */
	bool linger;
	struct flush_stats stats;
};

/* --- batch.c --- */
/* Whether a look into the queue is worth it: something may have become due, or a flow of which
 * there is more runs low. */
bool batch_wanted(const struct flusher *f, int64_t now);
/* Takes due recipients into batches at their routes, so many of each flow; what it costs does not
 * grow with the queue. Want of memory is said in the log, and the rest left for later. 0 or -1. */
int batch_take(struct flusher *f, struct err *e);
/* The next look begins at the first again: what is due may lie before what was seen. */
void batch_rewind(struct flusher *f);
/* Frees it; its recipients are no longer in hand. */
void batch_drop(struct flusher *f, struct batch *b);
/* The same for the i-th of its recipients. */
void batch_forget(struct flusher *f, struct batch *b, unsigned i);
/* It has not been sent, and is the next again. */
void batch_again(struct batch *b);
/* Cuts b after n recipients; the rest becomes the route's next batch. 0 or -1 (no memory). */
int batch_split(struct batch *b, unsigned n, struct err *e);

/* --- route.c --- */
int route_open_all(struct flusher *f, struct err *e);
void route_close_all(struct flusher *f);
struct route *route_for(struct flusher *f, const char *address);

/* --- ways.c --- */
/* How many connections to it are configured. */
unsigned route_connections(const struct conf_mail *c, const struct relay_end *end);
/* Opens a connection where there is work and the backoff allows. */
void route_tend(struct flusher *f, struct route *r, int64_t now);
/* The connection can take messages. */
void route_ready(struct flusher *f, struct route *r, struct way *w, int64_t now);
/* A route's connections to one relay. */
struct ways {
	unsigned all;
	unsigned plain, lone; /* of them, that have not stalled */
	bool used;            /* one of those is, or has been, ready */
};
struct ways ways_to(const struct route *r, const struct relay_end *end);
/* Whether messages may be given to it now. */
bool route_takes(const struct route *r, const struct way *w);
/* A batch has to go to a journal that another relay of the route may have: turns to the next one,
 * when the connections of this one are done. False: all have been asked in the last again_ms. */
bool route_seek(struct route *r, int64_t again_ms, int64_t now);
/* Whether it may send now: some relay may be asked. */
bool route_open(const struct route *r, int64_t now);
/* When route_tend has something to do, monotonic ms; INT64_MAX: not by itself. */
int64_t route_deadline(const struct route *r);
/* Whether some route is asking a relay whether it is well again. */
bool route_probing(const struct flusher *f);
/* --- blame.c --- */
/* A connection has ended: frees it, and says what that means for the road. */
void route_ended(struct flusher *f, struct route *r, struct way *w, int64_t now);
/* A recipient was answered over it (or not): what that means for the road. */
void route_answered(struct flusher *f, struct way *w, struct batch *b, const struct outcome *o,
	const struct verdict *v);
/* Of a batch that comes back, in order, from a connection that may have ended: whether that is
 * nobody's fault, and charged to no message. */
bool blame_spares(struct flusher *f, struct way *w, struct batch *b);
/* Of one that is spared: where nobody of it has an answer, and none can have got it, it goes again
 * at once. */
bool blame_takes_back(struct flusher *f, struct way *w, struct batch *b);

/* --- way.c --- */
/* NULL: no memory, or no place. */
struct way *way_open(struct flusher *f, struct route *r, struct relay_end *end, int64_t now);
/* Ends at once, and whatever was in flight has been taken back. */
void way_free(struct flusher *f, struct way *w);
/* Octets that have gone over it; what the kernel still keeps for the peer has not. */
uint64_t way_octets(const struct way *w);
/* Whether it has stalled is looked at every now and then. */
void way_watch(struct way *w, int64_t now);
/* An idle connection to a peer that keeps no journal is not kept for long: SES ends it after 10 s.
 * When that is over, monotonic ms; INT64_MAX: not in question. */
int64_t way_idle_until(const struct way *w);
/* Ends one that has nothing to do, if it is not to be kept. */
void way_rest(struct flusher *f, struct route *r, struct way *w, int64_t now);

/* --- pacing.c --- */
void pacing_open(const struct conf_mail *c, struct relay_end *end, int64_t now);
/* Whether the pace of the relay in use holds what is next, and until when (pace_at). */
bool pacing_holds(struct route *r, const struct batch *b, int64_t now);
/* The relay said that it is given too much; and that it took something. */
void pacing_throttled(struct route *r, struct relay_end *end, const struct batch *b, int64_t now);
void pacing_well(struct route *r, struct relay_end *end, int64_t now);
/* To and from what is stored of it. */
void pacing_save(struct relay_end *end, int64_t wall, int64_t now, struct store_relay *ret);
void pacing_restore(struct relay_end *end, const struct store_relay *s, int64_t wall, int64_t now);
/* Whether there is anything that the next flusher has to know. */
bool pacing_is_used(struct route *r, int64_t now);

/* --- road.c --- */
/* What flushers before this one have learnt. 0 or -1. */
int road_read(struct flusher *f, struct err *e);
/* What is known of roads that are configured no longer goes, and their outages end. */
void road_forget(struct flusher *f);
/* Stores what has changed, now and then, or all of it now. What can't be stored is tried again. */
void road_write(struct flusher *f, bool all, int64_t now);
/* Turns to the first relay that may be asked, if the one in use may not. */
void road_choose(struct route *r, int64_t now);
/* The same, to this one, as soon as the connections to others are done. */
void road_turn(struct route *r, unsigned to);
/* When the turn can be made, makes it. */
void road_turned(struct route *r);
bool road_end_open(const struct relay_end *end, int64_t now);
/* The relay failed: it is not asked for a while, at least ms. */
void road_failed(struct flusher *f, struct route *r, struct relay_end *end,
	const struct outcome *fault, int64_t ms, int64_t now);
/* The pause after one of last_ms; 0: the first. */
int64_t road_backoff(int64_t last_ms, int64_t most_ms);
/* It asked us to wait. */
void road_paused(struct route *r, struct relay_end *end, const char *why, int64_t ms, int64_t now);
/* It answered: the faults before are history. */
void road_well(struct route *r, struct relay_end *end);

/* --- flight.c --- */
/* Messages given to connections whose verdicts have not been passed. */
unsigned flight_count(const struct flusher *f);
/* The same on one road. */
unsigned flight_on(const struct route *r);
/* Recipients in hand that can go: on roads that are open, or will be when one has connected. */
unsigned flight_waiting(const struct flusher *f, int64_t now);
/* Octets over the connections that are open; what the kernel still keeps for a peer has not moved.
 */
uint64_t flight_octets(const struct flusher *f);
/* Whether a peer that keeps no journal owes the answer to a content: who cuts it sends it twice. */
bool flight_unsure(const struct flusher *f);
/* At the end of this flusher: what has stalled, and may not have been taken, is not waited for. */
void flight_let_go(struct flusher *f, int64_t now);
/* Whether something has that may have been taken. */
bool flight_stalled(const struct flusher *f);
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
/* A fault of the road to `relay` is noted on the messages whose turn it was; they stay due. */
void settle_road(
	struct flusher *f, struct route *r, const char *relay, const struct outcome *fault);
/* What is stored can't be trusted: held, with the reason. Takes the batch. */
void settle_damaged(struct flusher *f, struct batch *b, const char *why);
/* Has to wait until then, wall ms. Takes the batch. */
void settle_postpone(struct flusher *f, struct batch *b, int64_t at, const char *why);
/* Writes back when there is enough, when it is old enough, or when `now` asks. 0 or -1: what could
 * not be written is kept for the next call. */
int settle_write(struct flusher *f, bool now, struct err *e);
/* Monotonic ms when settle_write wants to be called; INT64_MAX: nothing waits. */
int64_t settle_deadline(const struct flusher *f);

/* --- loop.c --- */
/* Until nothing is due (linger 0), the linger is over, or a signal asks to stop. 0 or -1. */
int flusher_run(struct flusher *f, int signal_fd, struct err *e);

#endif

/*
 * struct visitors: what each client has open and under way, over all its sessions, so that none
 * of them can use up what is there for all. A client is counted by its address until it has said
 * its name. For any thread.
 */
#ifndef CENMAIL_VISITORS_H
#define CENMAIL_VISITORS_H

struct visitors;
struct visitor;

struct visitors *visitors_new(void); /* NULL: no memory */
void visitors_free(struct visitors *v);

/* One session more for this client. NULL: it has `most` already, or there is no memory. */
struct visitor *visitor_enter(struct visitors *v, const char *client, unsigned most);
void visitor_leave(struct visitors *v, struct visitor *one); /* NULL is fine */
/* One of its sessions had `before` messages under way and has `now`; answers what all have. */
unsigned visitor_flying(struct visitors *v, struct visitor *one, unsigned before, unsigned now);

#endif

/*
 * What a link is made of, for link.c and link_step.c alone.
 */
#ifndef CENMAIL_LINK_STATE_H
#define CENMAIL_LINK_STATE_H

#include "wire/conn.h"
#include "wire/dial.h"
#include "wire/link.h"

enum phase { CONNECTING, HANDSHAKE, TALKING, DEAD };

struct link {
	struct link_options o;
	struct client *client;
	struct dial dial;
	struct conn conn;
	enum phase phase;

	int64_t began_us, connect_us;
	int64_t deadline_ms; /* of the handshake; in TALKING the client's, as last seen */
	int64_t since_ms;    /* from when on that deadline has stood */
	int64_t quit_ms;     /* when an answer to QUIT is no longer waited for; 0: not quitting */

	short read_wants, write_wants; /* 0: not known to block */
	bool more;                     /* decrypted octets wait that poll() does not show */
	struct err write_failed;       /* code 0: no */
	uint64_t in, out;              /* of the connection, when it is closed */
};

#endif

/*
 * What all threads of the listener share: made by main before there are threads, fixed from then
 * on; the parts have their own locks.
 */
#ifndef CENMAIL_LISTENER_H
#define CENMAIL_LISTENER_H

#include "base/conf.h"
#include "listen/door.h"
#include "listen/journal.h"
#include "listen/pace.h"
#include "listen/pool.h"
#include "listen/road.h"
#include "listen/stop.h"
#include "wire/tls.h"

struct listener {
	struct conf_listen conf;
	char spool_dir[256]; /* where content beyond SPOOL_MEMORY goes */
	struct relay upstream;
	struct tls_context *upstream_tls, *server_tls;
	struct door *door;
	struct journal *journal;
	struct pool *pool;
	struct road road;
	struct pace pace;
	struct stop stop;
	atomic_uint sessions; /* alive */
};

#endif

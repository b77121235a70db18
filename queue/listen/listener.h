/*
 * What all threads of the listener share: made by main before there are threads, fixed from then
 * on; the parts have their own locks.
 */
#ifndef CENMAIL_LISTENER_H
#define CENMAIL_LISTENER_H

#include "base/conf.h"
#include "listen/figures.h"
#include "listen/guess.h"
#include "listen/journal.h"
#include "listen/pace.h"
#include "listen/pool.h"
#include "listen/stop.h"
#include "listen/terms.h"
#include "listen/uplink.h"
#include "listen/visitors.h"

struct listener {
	const char *conf_path;
	struct conf_listen conf; /* as it was at the start: what a reload does not change */
	struct terms_now terms;  /* what it does */
	char spool_dir[256];     /* where content beyond SPOOL_MEMORY goes */
	struct relay upstream;
	struct tls_context *upstream_tls;
	struct guess *guess;
	struct figures figures;
	struct visitors *visitors;
	struct journal *journal;
	struct pool *pool;
	struct uplink uplink;
	struct pace pace;
	struct stop stop;
	atomic_uint sessions;   /* alive */
	unsigned sessions_room; /* as many have descriptors beside what the rest needs */
};

#endif

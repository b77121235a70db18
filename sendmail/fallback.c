/*
 * The queue first; incoming/ when it can't be had. That is every fault that is not about the
 * message: a lock that is not let go, a database that is missing, damaged, foreign, of another
 * version or full. Most callers, cron first, take 75 for done: for them it is lost mail.
 */
#include "sendmail/fallback.h"

#include "store/capacity.h"
#include "store/incoming.h"

static int put(const struct conf_mail *conf, const struct store_submission *m, int64_t *ret_id,
	struct err *e)
{
	struct store *store;
	int result;

	if (store_open(&store, conf->queue, STORE_SUBMIT, conf->lock_wait, e) != 0)
		return -1;
	result = store_put(store, m, ret_id, e);
	store_leave(store);
	return result;
}

int fallback_room(const struct conf_mail *conf, struct err *e)
{
	return capacity_disk(conf->queue, conf->min_free, e);
}

int fallback_store(const struct conf_mail *conf, const struct store_submission *m,
	struct fallback_stored *ret, struct err *e)
{
	struct fallback_stored stored = { 0 };
	struct err *why = &stored.why, second = { 0 };

	if (fallback_room(conf, e) < 0)
		return -1;
	if (put(conf, m, &stored.id, why) == 0) {
		*ret = stored;
		return 0;
	}
	if (why->code != EX_TEMPFAIL && why->code != EX_CONFIG) {
		*e = *why;
		/* Over a ceiling: there is no way around it, and later there may be room. */
		if (e->code == EX_UNAVAILABLE)
			e->code = EX_TEMPFAIL;
		return -1;
	}
	/* A COMMIT that failed may have stored it all the same; the key makes the file do nothing
	 * then. */
	if (incoming_write(conf->queue, m, &second) == 0) {
		stored.incoming = true;
		*ret = stored;
		return 0;
	}
	/* With no directory to write to, what is wrong with the queue is what is wrong. */
	return err_set(e, second.code == EX_CONFIG ? why->code : EX_TEMPFAIL,
		"%s; nor can it be kept beside it: %s", why->text, second.text);
}

/*
 * The order of a submission: sender and recipients of the arguments; all of the input; then the
 * queue, in one transaction. What can be refused is refused before the queue is opened.
 */
#include "sendmail/submit.h"

#include "base/clock.h"
#include "sendmail/fallback.h"
#include "sendmail/input.h"

static int add_arguments(const struct submit *s, struct draft *d, struct err *e)
{
	const struct options *o = s->options;

	/* Said for the command line here, so that it is a usage error. */
	if (o->rcpts > s->conf->recipients_max)
		return err_set(e, EX_USAGE, "%u recipients: at most %llu (recipients_max)",
			o->rcpts, (unsigned long long)s->conf->recipients_max);
	for (unsigned i = 0; i < o->rcpts; i++) {
		struct span one = span_of(o->rcpt[i]);
		if (span_has_break(one))
			return err_set(e, EX_DATAERR, "recipient %u holds a line end", i + 1);
		if (draft_add_recipients(d, one, NULL, NULL, e) != 0)
			return err_prefix(e, "recipient %u: ", i + 1);
	}
	return 0;
}

int submit_run(const struct submit *s, struct submitted *ret, struct err *e)
{
	const struct options *o = s->options;
	const struct draft_options draft = { .conf = s->conf,
		.caller = s->caller,
		.full_name = o->full_name,
		.no_aliases = o->no_aliases,
		.header_recipients = o->from_header,
		.dot_ends = !o->ignore_dots };
	const struct draft_wishes wishes = {
		.eightbit = o->eightbit, .notify = o->notify, .ret = o->ret, .envid = o->envid
	};
	struct draft *d = fallback_room(s->conf, e) == 0 ? draft_new(&draft, e) : NULL;
	int result = -1;

	if (d && draft_set_sender(d, o->sender, e) == 0 && add_arguments(s, d, e) == 0 &&
		input_read(s->fd, clock_mono_ms() + INPUT_DEADLINE_MS, draft_intake(d), e) == 0 &&
		draft_store(d, &wishes, ret, e) == 0)
		result = 0;
	draft_free(d);
	return result;
}

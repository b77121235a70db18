/*
 * A sender of this host's own is a local name: its notice goes where mail to that name would.
 */
#include "flush/notice_case.h"

#include "base/random.h"

#include <unistd.h>

/* NOTIFY of RFC 3461 section 4.1; without it, a failure and a delay are told. */
static bool permits(const char *notify, enum notice_kind kind)
{
	static const char *const word[] = { [NOTICE_FAILED] = "FAILURE",
		[NOTICE_RELAYED] = "SUCCESS",
		[NOTICE_DELAYED] = "DELAY" };

	if (!notify[0])
		return kind != NOTICE_RELAYED;
	return strstr(notify, word[kind]) != NULL;
}

static bool is_local(const struct conf_mail *conf, struct span domain)
{
	return span_eq_nocase(domain, span_of(conf->hostname)) ||
	       (conf->domain[0] && span_eq_nocase(domain, span_of(conf->domain)));
}

/* A local name that leads nowhere is an address all the same. */
static int find_people(
	struct recipients *to, const struct conf_mail *conf, const char *sender, struct err *e)
{
	struct address a;

	if (address_parse(span_of(sender), &a, e) < 0)
		return -1;
	if (is_local(conf, address_domain(&a)) && recipients_add(to, address_local(&a), e) == 0)
		return 0;
	if (is_local(conf, address_domain(&a)) && e->code == EX_TEMPFAIL)
		return -1;
	return recipients_add(to, span_of(sender), e);
}

static bool find_recipients(struct notice_case *c)
{
	bool any = false;

	for (unsigned i = 0; i < c->untold.rcpts; i++) {
		c->of[i] = permits(c->untold.rcpt[i].notify, c->kind);
		any |= c->of[i];
	}
	return any;
}

static bool may_be_told(const struct notice_case *c, const struct conf_mail *conf)
{
	return conf->bounce_sender[0] && !c->untold.notice && c->untold.sender[0] &&
	       !span_eq_nocase(span_of(c->untold.sender), span_of(conf->bounce_sender));
}

int notice_case_begin(struct notice_case *c, const struct conf_mail *conf, enum notice_kind kind,
	struct untold *untold, struct err *e)
{
	const struct recipients_rules rules = recipients_rules_of(conf, false);

	*c = (struct notice_case) { .kind = kind, .untold = *untold };
	*untold = (struct untold) { 0 };
	c->of = calloc(c->untold.rcpts, sizeof *c->of);
	if (!c->of)
		return err_set(e, EX_TEMPFAIL, "out of memory for a notice");
	if (!find_recipients(c) || !may_be_told(c, conf))
		return 0;
	c->to = recipients_new(&rules);
	if (!c->to)
		return err_set(e, EX_TEMPFAIL, "out of memory for a notice");
	if (find_people(c->to, conf, c->untold.sender, e) == 0)
		return 0;
	if (e->code == EX_TEMPFAIL)
		return -1;
	notice_case_drop(c); /* an address that can't be used */
	return 0;
}

const char *notice_case_to(const struct notice_case *c)
{
	return c->to ? recipients_at(c->to, 0) : NULL;
}

void notice_case_drop(struct notice_case *c)
{
	recipients_free(c->to);
	c->to = NULL;
	memset(c->of, 0, c->untold.rcpts * sizeof *c->of);
}

int notice_case_compose(
	struct notice_case *c, const struct conf_mail *conf, int64_t now, struct err *e)
{
	const struct notice_report report = {
		.kind = c->kind,
		.hostname = conf->hostname,
		.from = conf->bounce_sender,
		.to = c->untold.sender,
		.untold = &c->untold,
		.of = c->of,
		.now = now,
		.lifetime = conf->lifetime,
		.last = c->last,
	};
	unsigned n;

	if (!c->to)
		return 0;
	n = recipients_count(c->to);
	c->rcpt = calloc(n, sizeof *c->rcpt);
	if (!c->rcpt)
		return err_set(e, EX_TEMPFAIL, "out of memory for a notice");
	for (unsigned i = 0; i < n; i++)
		c->rcpt[i] = (struct store_rcpt) {
			.address = recipients_at(c->to, i),
			.notify = "NEVER",
		};
	if (notice_compose(&report, &c->made, e) < 0)
		return -1;
	c->notice = (struct store_submission) {
		.submitted = now,
		.uid = geteuid(),
		.sender = conf->bounce_sender,
		.message_id = c->made.message_id,
		.eightbit = c->made.eightbit,
		.notice = true,
		.content = buf_span(&c->made.content),
		.rcpt = c->rcpt,
		.rcpts = n,
	};
	random_bytes(c->notice.key, sizeof c->notice.key);
	return 0;
}

void notice_case_done(struct notice_case *c)
{
	store_untold_done(&c->untold);
	recipients_free(c->to);
	buf_done(&c->made.content);
	free(c->rcpt);
	free(c->of);
	*c = (struct notice_case) { 0 };
}

/*
 * The aliases as a graph: depth first, with a stack of its own, as the file may nest as deep as it
 * is long. Each alias is visited once.
 */
#include "sendmail/aliases_check.h"

#include "base/address.h"
#include "base/address_list.h"

#include <stdlib.h>

#define PROBLEMS_MAX (1024 * 1024) /* octets said; what is more is left out */

struct visit {
	struct alias *a;
	struct span rest; /* of its value */
	bool any, used;   /* it has items; one of them leads somewhere */
};

struct check {
	struct aliases *aliases;
	const char *path;
	struct recipients *trial; /* resolves what is no alias */
	struct visit *stack;
	size_t depth;
	struct buf problems;
	struct err broken; /* what kept us from finding out; code 0: nothing */
};

static void open_alias(struct check *c, struct alias *a)
{
	a->state = ALIAS_OPEN;
	a->depth = 1;
	c->stack[c->depth++] = (struct visit) { .a = a, .rest = a->value };
}

/* An item of v leads to an alias that has been looked at. */
static void join(struct visit *v, const struct alias *to)
{
	v->used = v->used || to->state == ALIAS_USED;
	if (to->depth >= v->a->depth)
		v->a->depth = to->depth + 1;
}

struct item {
	struct check *c;
	struct visit *v;
	bool second;
};

/* What is no alias: a whole address, or a name by the rules for names. */
static int try_mailbox(struct check *c, const struct mailbox *m, struct err *e)
{
	struct span name = m->addr;
	struct address a;

	if (!m->bare)
		return address_parse(m->addr, &a, e);
	if (name.p[0] == '\\')
		name = span_from(name, 1);
	if (!address_is_local_part(name))
		return err_set(e, EX_DATAERR, "an item is no address and no name");
	return recipients_add(c->trial, m->addr, e);
}

static int on_mailbox(void *arg, const struct mailbox *m, struct err *e)
{
	struct item *item = arg;
	struct check *c = item->c;
	struct visit *v = item->v;
	struct alias *to = NULL;

	if (m->addr.n == 0)
		return err_set(e, EX_DATAERR, "<>: no recipient");
	if (item->second)
		return err_set(e, EX_DATAERR, "two addresses without a comma between them");
	item->second = true;
	if (m->bare && m->addr.p[0] != '\\')
		to = aliases_find(c->aliases, m->addr);
	if (to && to->state == ALIAS_UNUSED) {
		open_alias(c, to); /* close_alias joins it to v */
		return 0;
	}
	if (to && to->state != ALIAS_OPEN) {
		join(v, to);
		return 0;
	}
	if (to && to != v->a)
		alias_note(&c->problems, c->path, v->a, "leads back to itself, by alias %.*s",
			(int)to->name.n, to->name.p);
	if (try_mailbox(c, m, e) != 0)
		return -1;
	v->used = true;
	return 0;
}

static void close_alias(struct check *c)
{
	struct visit *v = &c->stack[--c->depth];

	if (!v->any)
		alias_note(&c->problems, c->path, v->a, "has no value");
	else if (!v->used)
		alias_note(&c->problems, c->path, v->a, "leads to no address that can be used");
	if (v->a->depth == ALIASES_DEPTH_MAX + 1)
		alias_note(
			&c->problems, c->path, v->a, "nested more than %d deep", ALIASES_DEPTH_MAX);
	v->a->state = v->used ? ALIAS_USED : ALIAS_DEAD;
	if (c->depth > 0)
		join(v - 1, v->a);
}

/* The next item of the alias on top. */
static void step(struct check *c)
{
	struct visit *v = &c->stack[c->depth - 1];
	struct item item = { .c = c, .v = v };
	struct span text;
	enum alias_kind kind;
	struct err e;

	if (!alias_next(&v->rest, &text, &kind)) {
		close_alias(c);
		return;
	}
	v->any = true;
	if (kind != ALIAS_ADDRESS)
		alias_note(&c->problems, c->path, v->a, "leads to %s, which is not used here",
			alias_kind_name(kind));
	else if (address_list_parse(text, on_mailbox, &item, &e) != 0) {
		if (e.code == EX_TEMPFAIL)
			c->broken = e;
		alias_note(&c->problems, c->path, v->a, "%s", e.text);
	}
}

static int by_line(const void *p, const void *q)
{
	const struct alias *const *a = p, *const *b = q;
	return (*a)->line < (*b)->line ? -1 : (*a)->line > (*b)->line;
}

static int walk(struct check *c, struct err *e)
{
	size_t n = aliases_count(c->aliases);
	struct alias **order = calloc(n + 1, sizeof(*order));

	c->stack = calloc(n + 1, sizeof(*c->stack));
	if (!order || !c->stack) {
		free(order);
		return err_set(e, EX_TEMPFAIL, "out of memory");
	}
	for (size_t i = 0; i < n; i++)
		order[i] = aliases_at(c->aliases, i);
	qsort(order, n, sizeof(*order), by_line);
	for (size_t i = 0; i < n; i++) {
		if (order[i]->state == ALIAS_UNUSED)
			open_alias(c, order[i]);
		while (c->depth > 0)
			step(c);
	}
	free(order);
	return 0;
}

int aliases_check(const struct recipients_rules *rules, struct buf *out, struct err *e)
{
	struct recipients_rules without = *rules;
	struct check c = { .path = rules->aliases };
	int result = -1;

	if (aliases_read(rules->aliases, &c.aliases, e) != 0)
		return -1;
	without.aliases = NULL;
	without.max = ALIASES_MAX; /* more than the file can name */
	buf_init(&c.problems, PROBLEMS_MAX);
	c.trial = recipients_new(&without);
	if (!c.trial) {
		err_set(e, EX_TEMPFAIL, "out of memory");
		goto out;
	}
	if (walk(&c, e) != 0)
		goto out;
	buf_add_str(out, aliases_problems(c.aliases));
	buf_add_str(out, buf_str(&c.problems));
	if (c.broken.code != 0)
		err_set(e, c.broken.code, "%s", c.broken.text);
	else if (out->starved || c.problems.starved)
		err_set(e, EX_TEMPFAIL, "out of memory");
	else
		result = 0;
out:
	free(c.stack);
	recipients_free(c.trial);
	buf_done(&c.problems);
	aliases_free(c.aliases);
	return result;
}

/*
 * A set of addresses. Expansion is bounded: an alias is expanded once for a message, and nested at
 * most ALIASES_DEPTH_MAX deep.
 */
#include "base/recipients.h"

#include "base/address.h"
#include "base/address_list.h"
#include "base/aliases.h"
#include "base/log.h"
#include "base/user.h"

#include <inttypes.h>

#define SYSTEM_UID    1000 /* accounts below it are the system's */
#define NAMES_PER_MAX 4    /* bare names met, doubled ones counted, for each recipient allowed */

struct recipients {
	struct recipients_rules rules;
	struct aliases *aliases; /* NULL until a bare name came */
	char **v; /* each an address, and behind its NUL the bare name that led to it, or "" */
	unsigned n;
	struct span name; /* the mailbox at hand as it was given, where it is a bare name */
	unsigned *slot;   /* hash table: index into v plus one, 0: free */
	unsigned slots;   /* a power of two, at least twice n */
	uint64_t names;   /* bare names met: each may ask the user database, which may be slow */
	bool full;        /* one more than a maximum came */
	struct buf notes;
};

/* Where a name was met. */
struct place {
	struct recipients *r;
	const struct alias *alias; /* NULL: in the arguments or the header */
	unsigned depth;
	unsigned used; /* mailboxes that led somewhere */
};

static int add_name(struct place *at, struct span name, struct err *e);

struct recipients_rules recipients_rules_of(const struct conf_mail *conf, bool no_aliases)
{
	return (struct recipients_rules) { .domain = conf->domain,
		.postmaster = conf->postmaster,
		.aliases = no_aliases ? NULL : conf->aliases,
		.max = conf->recipients_max };
}

struct recipients *recipients_new(const struct recipients_rules *rules)
{
	struct recipients *r = calloc(1, sizeof(*r));

	if (r) {
		r->rules = *rules;
		buf_init(&r->notes, 64 * 1024);
	}
	return r;
}

void recipients_free(struct recipients *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < r->n; i++)
		free(r->v[i]);
	free(r->v);
	free(r->slot);
	aliases_free(r->aliases);
	buf_done(&r->notes);
	free(r);
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static uint32_t hash(const char *s)
{
	uint32_t h =
		2166136261U; /* FNV-1a; the count of addresses is bounded, so is its worst case */
	for (; *s; s++)
		h = (h ^ (unsigned char)lower(*s)) * 16777619U;
	return h;
}

/* Local parts are told apart by case, as only their owner knows whether it matters. */
static bool same_address(const char *a, const char *b)
{
	const char *at = strrchr(a, '@');
	size_t local = (size_t)(at - a);

	return strlen(a) == strlen(b) && memcmp(a, b, local) == 0 &&
	       span_eq_nocase(span_of(a + local), span_of(b + local));
}

static void place_in(struct recipients *r, unsigned *slot, unsigned slots, unsigned i)
{
	uint32_t at = hash(r->v[i]) & (slots - 1);
	while (slot[at])
		at = (at + 1) & (slots - 1);
	slot[at] = i + 1;
}

static int grow(struct recipients *r, struct err *e)
{
	unsigned slots = r->slots ? 2 * r->slots : 32;
	unsigned *slot = calloc(slots, sizeof(*slot));
	char **v = slot ? realloc(r->v, slots / 2 * sizeof(*v)) : NULL;

	if (v)
		r->v = v;
	if (!v) {
		free(slot);
		return err_set(e, EX_TEMPFAIL, "out of memory");
	}
	for (unsigned i = 0; i < r->n; i++)
		place_in(r, slot, slots, i);
	free(r->slot);
	r->slot = slot;
	r->slots = slots;
	return 0;
}

static bool has(const struct recipients *r, const char *address)
{
	if (r->slots == 0)
		return false;
	for (uint32_t at = hash(address) & (r->slots - 1); r->slot[at];
		at = (at + 1) & (r->slots - 1))
		if (same_address(r->v[r->slot[at] - 1], address))
			return true;
	return false;
}

static int add_address(struct recipients *r, struct span s, struct err *e)
{
	struct address a;

	if (address_parse(s, &a, e) != 0)
		return -1;
	if (has(r, a.text))
		return 0;
	if (r->n >= r->rules.max) {
		r->full = true;
		return err_set(e, EX_DATAERR,
			"more than %" PRIu64 " recipients (recipients_max in the configuration)",
			r->rules.max);
	}
	if (2 * r->n >= r->slots && grow(r, e) != 0)
		return -1;
	r->v[r->n] = calloc(1, a.len + 1 + r->name.n + 1);
	if (!r->v[r->n])
		return err_set(e, EX_TEMPFAIL, "out of memory");
	memcpy(r->v[r->n], a.text, a.len);
	memcpy(r->v[r->n] + a.len + 1, r->name.p, r->name.n);
	place_in(r, r->slot, r->slots, r->n);
	r->n++;
	return 0;
}

/* 1, 0, or -1: it can't be told now. */
static int is_system_account(struct span name, struct err *e)
{
	char text[ADDRESS_LOCAL_MAX + 1];
	struct user user;
	int found;

	if (name.n >= sizeof(text))
		return 0;
	memcpy(text, name.p, name.n);
	text[name.n] = '\0';
	found = user_by_name(text, &user, e);
	return found > 0 ? user.uid < SYSTEM_UID : found;
}

static int is_for_postmaster(const struct recipients *r, struct span name, struct err *e)
{
	return r->rules.postmaster[0] ? is_system_account(name, e) : 0;
}

static int add_qualified(struct recipients *r, struct span name, struct err *e)
{
	char text[ADDRESS_LOCAL_MAX + 1 + ADDRESS_DOMAIN_MAX + 1];

	int n = snprintf(text, sizeof(text), "%.*s@%s", (int)name.n, name.p, r->rules.domain);
	if (n < 0 || (size_t)n >= sizeof(text))
		return err_set(
			e, EX_DATAERR, "%.*s: is too long with its domain", (int)name.n, name.p);
	return add_address(r, span_of(text), e);
}

/* A bare name that is no alias. Its syntax has been checked. */
static int add_local(struct recipients *r, struct span name, struct err *e)
{
	int postmasters = is_for_postmaster(r, name, e);

	if (postmasters < 0)
		return -1;
	if (postmasters) {
		name = span_of(r->rules.postmaster);
		if (span_find(name, '@') >= 0)
			return add_address(r, name, e);
	}
	if (r->rules.domain[0])
		return add_qualified(r, name, e);
	return err_set(e, EX_NOUSER,
		"%.*s: no such local name; give an address with a domain, or set an alias, "
		"`postmaster` or `domain`",
		(int)name.n, name.p);
}

/* An item of an alias, or any mailbox of a list. */
static int add_mailbox(void *arg, const struct mailbox *m, struct err *e)
{
	struct place *at = arg;

	if (m->addr.n == 0)
		return err_set(e, EX_DATAERR, "<>: no recipient");
	if (at->depth == 0)
		at->r->name = m->bare ? m->addr : span_make("", 0);
	if ((m->bare ? add_name(at, m->addr, e) : add_address(at->r, m->addr, e)) != 0)
		return -1;
	at->used++;
	return 0;
}

/* The items of an alias that is open. */
static int add_items(struct place *at, struct err *e)
{
	struct recipients *r = at->r;
	struct span rest = at->alias->value, item;
	enum alias_kind kind;
	struct err why;

	while (alias_next(&rest, &item, &kind)) {
		if (kind != ALIAS_ADDRESS) {
			alias_note(&r->notes, r->rules.aliases, at->alias, "%s is not used here",
				alias_kind_name(kind));
			continue;
		}
		if (address_list_parse(item, add_mailbox, at, &why) == 0)
			continue;
		if (r->full || (why.code != EX_DATAERR && why.code != EX_NOUSER))
			return err_set(e, why.code, "%s", why.text);
		alias_note(&r->notes, r->rules.aliases, at->alias, "%s", why.text);
	}
	return 0;
}

static int add_alias(const struct place *from, struct alias *a, struct err *e)
{
	struct place at = { from->r, a, from->depth + 1, 0 };

	if (at.depth > ALIASES_DEPTH_MAX)
		return err_set(e, EX_NOUSER, "%s:%u: alias %.*s: nested more than %d deep",
			at.r->rules.aliases, a->line, (int)a->name.n, a->name.p, ALIASES_DEPTH_MAX);
	if (a->state == ALIAS_UNUSED) {
		a->state = ALIAS_OPEN;
		if (add_items(&at, e) != 0)
			return -1;
		a->state = at.used > 0 ? ALIAS_USED : ALIAS_DEAD;
	}
	if (a->state == ALIAS_USED)
		return 0;
	return err_set(e, EX_NOUSER, "%s:%u: alias %.*s: leads to no address that can be used",
		at.r->rules.aliases, a->line, (int)a->name.n, a->name.p);
}

/* An alias of which nothing can be used must not swallow mail: a system account's goes to
 * postmaster then, as if there were no alias; any other is refused. */
static int add_alias_or_postmaster(
	const struct place *at, struct alias *a, struct span name, struct err *e)
{
	struct recipients *r = at->r;
	struct err why;
	int postmasters = 0;

	if (add_alias(at, a, &why) == 0)
		return 0;
	if (!r->full && why.code == EX_NOUSER)
		postmasters = is_for_postmaster(r, name, e);
	if (postmasters < 0)
		return -1;
	if (!postmasters)
		return err_set(e, why.code, "%s", why.text);
	alias_note(&r->notes, r->rules.aliases, a, "leads nowhere: its mail goes to postmaster");
	return add_local(r, name, e);
}

static int load_aliases(struct recipients *r, struct err *e)
{
	if (r->aliases || !r->rules.aliases || !r->rules.aliases[0])
		return 0;
	return aliases_read(r->rules.aliases, &r->aliases, e);
}

/* *ret is NULL where there is no alias; also where the file can't be read, for an account whose
 * mail postmaster has then: cron does not try again. */
static int find_alias(struct recipients *r, struct span name, struct alias **ret, struct err *e)
{
	struct err why;
	int postmasters = 0;

	*ret = NULL;
	if (load_aliases(r, &why) != 0) {
		if (why.code == EX_CONFIG)
			postmasters = is_for_postmaster(r, name, e);
		if (postmasters < 0)
			return -1;
		if (!postmasters)
			return err_set(e, why.code, "%s", why.text);
		buf_printf(&r->notes, "%s: the mail of %.*s goes to postmaster\n", why.text,
			(int)name.n, name.p);
		return 0;
	}
	if (r->aliases)
		*ret = aliases_find(r->aliases, name);
	return 0;
}

static int count_name(struct recipients *r, struct err *e)
{
	if (++r->names <= NAMES_PER_MAX * r->rules.max)
		return 0;
	r->full = true;
	return err_set(e, EX_DATAERR,
		"more than %" PRIu64
		" names without a domain (recipients_max in the configuration)",
		NAMES_PER_MAX * r->rules.max);
}

/* `\name` is taken literally. So is a name within its own expansion: "root: root, a@example.com"
 * says that root has his copy too. Any other loop is broken in the same way, and noted. */
static int add_name(struct place *at, struct span name, struct err *e)
{
	struct recipients *r = at->r;
	struct alias *a = NULL;
	bool literal = name.n > 0 && name.p[0] == '\\';
	char shown[ADDRESS_LOCAL_MAX + 1];

	if (literal)
		name = span_from(name, 1);
	if (!address_is_local_part(name))
		return err_set(e, EX_DATAERR, "\"%s\": is no address and no name",
			log_printable(name, shown, sizeof(shown)));
	if (count_name(r, e) != 0 || (!literal && find_alias(r, name, &a, e) != 0))
		return -1;
	if (a && a->state != ALIAS_OPEN)
		return add_alias_or_postmaster(at, a, name, e);
	if (a && a != at->alias)
		alias_note(&r->notes, r->rules.aliases, a, "leads back to itself");
	return add_local(r, name, e);
}

/* Takes back all from the nth on. The aliases met may be met again: what they lead to beside it is
 * on the list already. */
static void take_back(struct recipients *r, unsigned n)
{
	while (r->n > n)
		free(r->v[--r->n]);
	if (r->slots > 0)
		memset(r->slot, 0, r->slots * sizeof(*r->slot));
	for (unsigned i = 0; i < r->n; i++)
		place_in(r, r->slot, r->slots, i);
	if (r->aliases)
		aliases_reset(r->aliases);
}

int recipients_add(struct recipients *r, struct span list, struct err *e)
{
	struct place top = { r, NULL, 0, 0 };
	unsigned before = r->n;

	r->full = false;
	if (address_list_parse(list, add_mailbox, &top, e) == 0)
		return 0;
	take_back(r, before);
	return -1;
}

bool recipients_are_full(const struct recipients *r)
{
	return r->full;
}

unsigned recipients_count(const struct recipients *r)
{
	return r->n;
}

const char *recipients_at(const struct recipients *r, unsigned i)
{
	return r->v[i];
}

const char *recipients_name_of(const struct recipients *r, unsigned i)
{
	return r->v[i] + strlen(r->v[i]) + 1;
}

const char *recipients_notes(struct recipients *r)
{
	return r->notes.starved ? NULL : buf_str(&r->notes);
}

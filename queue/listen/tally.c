/*
 * A short list of clients and their counts.
 */
#include "listen/tally.h"

#include <stdio.h>
#include <string.h>

static struct tally_row *row_of(struct tally *t, const char *client)
{
	for (unsigned i = 0; i < t->rows; i++)
		if (strcmp(t->row[i].client, client) == 0)
			return &t->row[i];
	if (t->rows > TALLY_CLIENTS)
		return &t->row[TALLY_CLIENTS];
	struct tally_row *row = &t->row[t->rows++];
	*row = (struct tally_row) { .n = { 0 } };
	snprintf(
		row->client, sizeof row->client, "%s", t->rows > TALLY_CLIENTS ? "others" : client);
	return row;
}

void tally_add(struct tally *t, const char *client, enum tally_what what, uint64_t n)
{
	if (n > 0)
		row_of(t, client)->n[what] += n;
}

void tally_join(struct tally *t, const struct tally *from)
{
	for (unsigned i = 0; i < from->rows; i++)
		for (unsigned k = 0; k < TALLY_KINDS; k++)
			tally_add(t, from->row[i].client, (enum tally_what)k, from->row[i].n[k]);
}

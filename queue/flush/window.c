/*
 * The size of the window.
 */
#include "flush/window.h"

void window_init(struct window *w, unsigned max)
{
	*w = (struct window) {
		.size = max < WINDOW_FIRST ? max : WINDOW_FIRST, .max = max, .shortest_us = -1
	};
}

/* The peer took `ahead` messages in `line_us`: how many it takes in the time that one may wait. */
static void shrink(struct window *w, unsigned ahead, int64_t line_us)
{
	int64_t n = (int64_t)ahead * WINDOW_LINE_US / line_us;

	if (n < WINDOW_LEAST)
		n = WINDOW_LEAST;
	if (n < w->size)
		w->size = (unsigned)n;
}

void window_answered(struct window *w, unsigned ahead, int64_t took_us, int64_t ses_us)
{
	int64_t line_us = took_us - ses_us;

	if (line_us < 0)
		line_us = 0;
	if (w->shortest_us < 0 || line_us < w->shortest_us)
		w->shortest_us = line_us;
	line_us -= w->shortest_us;
	if (line_us > WINDOW_LINE_US)
		shrink(w, ahead, line_us);
	else if (line_us < WINDOW_LINE_US / 2 && ahead + 1 >= w->size / 2 && w->size < w->max)
		w->size++; /* by as many as were answered: it doubles with each round trip */
}

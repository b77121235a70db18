/*
 * The thread that writes the figures: every few seconds into the file of `metrics`, and each minute
 * in which something happened as a line of the log.
 */
#ifndef CENMAIL_FIGURES_WRITER_H
#define CENMAIL_FIGURES_WRITER_H

#include "listen/listener.h"

struct figures_writer;

/* NULL: no thread; e says. */
struct figures_writer *figures_writer_start(struct listener *l, struct err *e);
/* After stop_say and the end of all else: writes for the last time. NULL is fine. */
void figures_writer_join(struct figures_writer *w);

#endif

/*
 * What the options that are honoured do with their values. Each: 0, or -1 (EX_USAGE).
 */
#ifndef CENMAIL_OPTION_VALUE_H
#define CENMAIL_OPTION_VALUE_H

#include "sendmail/options.h"

int option_from_header(struct options *o, const char *value, struct err *e);
int option_ignore_dots(struct options *o, const char *value, struct err *e);
int option_no_aliases(struct options *o, const char *value, struct err *e);
int option_verbose(struct options *o, const char *value, struct err *e);
int option_aliases(struct options *o, const char *value, struct err *e);
int option_sender(struct options *o, const char *value, struct err *e);
int option_full_name(struct options *o, const char *value, struct err *e);
int option_body(struct options *o, const char *value, struct err *e);
int option_notify(struct options *o, const char *value, struct err *e);
int option_return(struct options *o, const char *value, struct err *e);
int option_envid(struct options *o, const char *value, struct err *e);
int option_short(struct options *o, const char *value, struct err *e);
int option_long(struct options *o, const char *value, struct err *e);
int option_mode(struct options *o, const char *value, struct err *e);
int option_queue(struct options *o, const char *value, struct err *e);

#endif

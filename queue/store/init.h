/*
 * For tests: which file systems --init refuses.
 */
#ifndef CENMAIL_STORE_INIT_H
#define CENMAIL_STORE_INIT_H

#include <stdbool.h>

/* f_type of statfs(2). */
bool init_is_network(long type);

#endif

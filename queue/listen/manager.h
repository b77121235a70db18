/*
 * What systemd is told of this service (sd_notify(3), without its library). Where NOTIFY_SOCKET is
 * not set nothing happens.
 */
#ifndef CENMAIL_MANAGER_H
#define CENMAIL_MANAGER_H

void manager_ready(void);
void manager_reloading(void); /* until manager_ready */
void manager_stopping(void);

#endif

/* serve.h - answers the agent's requests out of the directory, one after the other
 *
 *     Directory{read}   -> Accounts... of about 64 KiB each, the last with the directory's state
 *     Directory{write}  -> Done, after what it changed was said to who watches
 *     Directory{watch}  -> Accounts... without end: batches, each last part with a state, and one each WATCH_BEAT_MS
 *
 * The connection is made when it is needed, and made anew after it was lost.
 */
#pragma once
#include "local/local.h"

typedef struct Serve Serve;

Serve *serve_new(const char *socket, const char *user_domain);
void serve_free(Serve **serve);

/* All that has come, from both sides.  An error is the end of the agent's connection. */
CHECKED Error *serve_run(Serve *serve, LocalPeer *agent);
void serve_wait(const Serve *serve, Waiter *wake);

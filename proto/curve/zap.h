/* zap.h - who may pass a CURVE handshake
 *
 * libzmq asks over inproc://zeromq.zap.01 (RFC 27/ZAP); a thread answers from a table
 * in memory.  It is bound before any socket listens, and the sockets enforce their
 * domain: when the thread is gone, nobody gets in.  The key as Z85 text goes into
 * every message of the connection as its User-Id.
 */
#pragma once
#include "base/error.h"

#include <stdint.h>

typedef struct Zap Zap;

#define ZAP_DOMAIN_KNOWN "known" /* keys that are allowed */
#define ZAP_DOMAIN_ANY "any"     /* any key but the published ones */

CHECKED Error *zap_start(void *zmq, Zap **ret_zap);
void zap_end(Zap **zap); /* the thread has ended and its sockets are closed */

/* From any thread. */
void zap_allow(Zap *zap, const char *key);
void zap_disallow(Zap *zap, const char *key);
uint64_t zap_refused(const Zap *zap);

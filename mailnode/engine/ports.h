/* ports.h - who holds the ports that the engine needs
 *
 * Asked before anything of the engine is touched: a taken port shall be one error
 * with a name in it, not a daemon that does not come up.
 *
 * What can be bound is free: that is tried first, without listening and for an instant.
 * Source otherwise: proc(5): /proc/net/tcp{,6} joined with /proc/PID/fd by socket inode.
 * Needs root to name other users' programs; without it the holder is "unknown".
 */
#pragma once
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PORTS_MAX = 1024 };

typedef struct Port {
    char address[46]; /* numeric IPv4 or IPv6, or "*" */
    uint16_t number;  /* host byte order */
} Port;

typedef struct PortList {
    Port items[PORTS_MAX];
    size_t n;
} PortList;

void port_add(PortList *list, const char *address, uint16_t number); /* doubles are dropped */

void ports_without(PortList *list, const PortList *less); /* its order stays */

/* Looks for a holder of any of 'wanted' for which 'ours' says false; listens on nothing.
 * CONFLICT names port, program and pid of the first: "port 25 of 127.0.1.1 is in use by exim4, pid 812"; a listener on all
 * addresses holds each of them.  SYSTEM: /proc unreadable. */
CHECKED Error *ports_check(const PortList *wanted, bool (*ours)(void *context, pid_t pid), void *context);

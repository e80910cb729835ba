/* events.h - what happened, once, kept in the store and told to followers
 *
 * events_add logs it at once and keeps it for events_run, which stores all of a turn
 * in one transaction of their own: a thousand nodes that come back are one fsync.  Who
 * follows reads the store behind the last number it has, and looks again when
 * events_newest has risen.
 */
#pragma once
#include "base/loop.h"
#include "store/store.h"

typedef struct Events Events;

CHECKED Error *events_new(Store *store, Events **ret_events); /* the store outlives it */
void events_free(Events **events);

/* node NULL: the cluster's own.  'what' is a short literal ("node online", "clone refused"), the rest is for people.  An
 * event that cannot be stored is logged all the same. */
void events_add(Events *events, Mail__FactState severity, const char *node, const char *what, const char *format, ...)
    PRINTF_LIKE(5, 6);

/* What a node told of itself: told once, by its number, which is kept in the same transaction. */
void events_happened(Events *events, const char *node, const Mail__Happening *happening);

void events_run(Events *events, Msec now); /* no batch of others is open */
void events_wait(const Events *events, Waiter *wake);

uint64_t events_newest(const Events *events); /* number; 0: none yet */

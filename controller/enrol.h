/* enrol.h - the enrolment port: a token, once, for one name, and from then on the key counts
 *
 * Guesses, spent and expired tokens and other names are answered alike (but for "expired"), counted as events, and slowed:
 * after some within a minute the door answers UNAVAILABLE for a while.
 */
#pragma once
#include "door.h"
#include "nodes.h"

typedef struct Enrol Enrol;

Enrol *enrol_new(Store *store, Door *door, Nodes *nodes, Events *events);
void enrol_free(Enrol **enrol);
void enrol_run(Enrol *enrol, Msec now);

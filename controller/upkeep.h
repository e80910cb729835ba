/* upkeep.h - what the controller does for its own store, by the clock: the audit, and forgetting */
#pragma once
#include "events.h"
#include "nodes.h"

typedef struct Upkeep Upkeep;

Upkeep *upkeep_new(Store *store, Nodes *nodes, Events *events); /* all outlive it */
void upkeep_free(Upkeep **upkeep);
void upkeep_run(Upkeep *upkeep, Msec now); /* no batch is open */
void upkeep_wait(const Upkeep *upkeep, Waiter *wake);

const char *upkeep_alarm(const Upkeep *upkeep); /* the store does not add up: the words; NULL: it does */

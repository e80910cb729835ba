/* touched.h - what is to be computed anew: sets of names, up to a size at which everything is cheaper */
#pragma once
#include "tables/names.h"

typedef enum TouchedSet { /* in the order in which they are computed: what is read before what reads it */
                          TOUCHED_BELOW, /* groups, for the users below them: their list of groups is another */
                          TOUCHED_USERS,
                          TOUCHED_GROUPS,
                          TOUCHED_PUBLIC,
                          TOUCHED_FORWARDERS, /* users, for where their forwards end */
                          TOUCHED_DOMAINS,
                          TOUCHED_ADDRESSES, /* specific ones, "info@example.org" */
                          TOUCHED_LOCALS,    /* what a local part means where there is no specific address */
                          TOUCHED_CLIENTS,   /* relay clients; nobody else reads them */
                          N_TOUCHED_SETS
} TouchedSet;

enum { TOUCHED_MAX = 25000 };

typedef struct Touched {
    Names sets[N_TOUCHED_SETS];
    size_t n;
    bool policy;
    bool all; /* everything: the sets do not count, and nothing is added to them */
} Touched;

void touched_add(Touched *touched, TouchedSet set, const char *name);
void touched_done(Touched *touched); /* empty again */

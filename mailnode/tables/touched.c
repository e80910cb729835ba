#include "tables/touched.h"

void touched_add(Touched *touched, TouchedSet set, const char *name)
{
    if (touched->all || !names_add(&touched->sets[set], name))
        return;
    if (++touched->n > TOUCHED_MAX)
        touched->all = true; /* the sets stay: somebody may be walking through one */
}

void touched_done(Touched *touched)
{
    for (int set = 0; set < N_TOUCHED_SETS; set++)
        names_done(&touched->sets[set]);
    touched->n = 0;
    touched->all = touched->policy = false;
}

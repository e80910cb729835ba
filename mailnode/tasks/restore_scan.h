/* restore_scan.h - viruses among messages that nobody has seen yet
 *
 * clamd of this node is sent each, as Rspamd sends it mail that arrives, with the same signatures and limits: the files
 * stay where only root reaches them, and no profile of AppArmor needs to know the place.
 */
#pragma once
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct ScanWays {
    const char *root;
    bool (*tick)(void *context); /* before each message; false: stop */
    void (*infected)(void *context, const char *folder, const char *message, const char *what); /* it is gone already */
    void *context;
} ScanWays;

/* Every message of every folder in 'new'; those that are infected are removed.  UNAVAILABLE: clamd does not answer, or
 * could not look at one; CONFLICT: stopped. */
CHECKED Error *scan_folders(int new, const ScanWays *ways, uint64_t *ret_infected);

/* happened.h - what happened to the engine, kept until the agent has written it down
 *
 * In memory: the log has it for ever, the agent asks after each second or so.
 */
#pragma once
#include "base/attributes.h"
#include "base/loop.h"
#include "report.pb-c.h"

#include <stddef.h>

typedef struct Happened Happened;

enum { HAPPENED_KEPT = 100 };

Happened *happened_new(void);
void happened_free(Happened **happened);

/* what: "daemon ended"; also one line in the log, level by severity.  Words of daemons may be in it. */
void happened_add(Happened *happened, Mail__FactState severity, const char *what, const char *format, ...)
    PRINTF_LIKE(4, 5);

uint64_t happened_life(const Happened *happened); /* differs for each process, never 0 */
/* Those newer than 'after' (0: all), oldest first, ages as of now; borrowed until the next add.  At most HAPPENED_KEPT. */
size_t happened_list(Happened *happened, uint64_t after, Msec now, Mail__Happening *const **ret_list);

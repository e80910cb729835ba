/* findings.h - what a task has seen, kept within what fits into one message */
#pragma once
#include "base/buf.h"
#include "control.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

enum { FINDINGS_MAX = 199, FINDING_TEXT_MAX = 2000, FINDING_WHERE_MAX = 300 };

typedef struct Findings {
    Mail__Finding *list[FINDINGS_MAX];
    size_t n;        /* in the list */
    size_t n_beyond; /* seen, but there was no place */
} Findings;

void findings_done(Findings *findings);

/* Text is cut where it is too long, and what is not UTF-8 becomes '?'. */
void findings_add(Findings *findings, Mail__FactState severity, const char *where, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* The last ones that were added, from 'first' on, have been put right. */
void findings_repaired(Findings *findings, size_t first);

size_t findings_bad(const Findings *findings); /* those that are not GOOD, with the ones there was no place for */

/* As lines, for what comes from a child: one each, escaped. */
void findings_write(const Findings *findings, Buf *out);
void findings_read(Findings *findings, const char *lines); /* adds them; a line that is none is left out */

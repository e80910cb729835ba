/* amount.h - sizes, spans and scores as people write them: 500M, 1536Mi, 90s, 7d, 6.5
 *
 * Whole numbers with one unit: K M G T are powers of 1000, Ki Mi Gi Ti of 1024;
 * s m h d are seconds.  Scores are hundredths, with a point and at most two digits
 * behind it.  Written in the shortest form that is exact.
 */
#pragma once
#include "base/error.h"
#include "options.pb-c.h"

#include <stdint.h>

/* SIZE, SPAN, SCORE or NUMBER.  INVALID: "write 10M". */
CHECKED Error *amount_read(Mail__FieldType type, const char *text, uint64_t *ret_amount);

char *amount_text(Mail__FieldType type, uint64_t amount); /* owned by the caller */

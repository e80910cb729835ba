/* amount.h - sizes and spans as people write them: 500M, 1536Mi, 90s, 7d
 *
 * Whole numbers with one unit: K M G T are powers of 1000, Ki Mi Gi Ti of 1024;
 * s m h d are seconds.  Written in the shortest form that is exact.
 */
#pragma once
#include "base/error.h"
#include "options.pb-c.h"

#include <stdint.h>

/* SIZE, SPAN or NUMBER.  INVALID: "write 10M". */
CHECKED Error *amount_read(Mail__FieldType type, const char *text, uint64_t *ret_amount);

char *amount_text(Mail__FieldType type, uint64_t amount); /* owned by the caller */

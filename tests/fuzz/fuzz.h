/* fuzz.h - what every fuzzer gives: one input, which must do no harm
 *
 * An input is refused with an Error or taken.  What is taken keeps the promises that the fuzzer asks for with REQUIRE,
 * and memory and time are watched from outside.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(promise)                                                                                               \
    do {                                                                                                               \
        if (!(promise)) {                                                                                              \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #promise);                                      \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

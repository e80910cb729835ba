/* attributes.h - the two compiler attributes that our code uses, by name */
#pragma once

#define CHECKED __attribute__((warn_unused_result))

/* Calls f(&variable) when the variable's scope ends: DEFER(buf_done) Buf line = {0}; */
#define DEFER(f) __attribute__((cleanup(f)))

#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

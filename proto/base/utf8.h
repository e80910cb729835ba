/* utf8.h - is it UTF-8?  Source: RFC 3629 (no overlong forms, no surrogates, up to U+10FFFF) */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Octets of the character that begins at 'text', 0 if none does within 'size'. */
size_t utf8_char_len(const char *text, size_t size);

bool utf8_valid(const char *text, size_t size);

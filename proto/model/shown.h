/* shown.h - a value as it may stand in an error
 *
 * What is wrong with a value is often a character that must not reach a terminal
 * or forge a second line.  Errors are escaped once more when they are printed, so
 * the form here has nothing in it that would be: "a<U+001B>[31mb", "a<ff>".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHOWN_MAX = 80 }; /* octets of the value; what follows is "..." */

/* Owned by the caller; NULL is shown as "". */
char *shown(const char *text);

/* A character that people cannot see or that changes what they see: control characters, line separators, the marks that
 * turn the direction of writing. */
bool character_hidden(uint32_t character);

/* The character that begins at 'text' (valid UTF-8, not its end), and its octets. */
uint32_t character_at(const char *text, size_t *ret_len);

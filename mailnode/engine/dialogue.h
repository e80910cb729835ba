/* dialogue.h - lines and octets to and from a daemon, with a deadline; for the children that probe
 *
 * Blocks, at most until the deadline that it was opened with.  What comes from the other
 * side is bounded and hostile: it is quoted in errors, never followed.
 */
#pragma once
#include "base/error.h"
#include "base/loop.h"

#include <stddef.h>
#include <stdint.h>

typedef struct Dialogue Dialogue;

CHECKED Error *dialogue_tcp(const char *address, uint16_t port, Msec until, Dialogue **ret_dialogue);
CHECKED Error *dialogue_unix(const char *path, Msec until, Dialogue **ret_dialogue);
void dialogue_free(Dialogue **dialogue);

/* A handshake; who the other side is does not matter here. */
CHECKED Error *dialogue_tls(Dialogue *dialogue);

CHECKED Error *dialogue_say(Dialogue *dialogue, const void *data, size_t size);
CHECKED Error *dialogue_say_line(Dialogue *dialogue, const char *line); /* adds CR LF */

/* The answer has come: whether these words still arrive does not matter. */
void dialogue_goodbye(Dialogue *dialogue, const void *data, size_t size);

/* Exactly so many octets. */
CHECKED Error *dialogue_take(Dialogue *dialogue, void *out, size_t size);

enum { DIALOGUE_LINE_MAX = 2048 };

/* One line without its end. */
CHECKED Error *dialogue_line(Dialogue *dialogue, char ret_line[DIALOGUE_LINE_MAX]);

/* The next line begins with 'words'. */
CHECKED Error *dialogue_expect(Dialogue *dialogue, const char *words);

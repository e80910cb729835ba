/* envelope.h - the one message of every link, with its limits
 *
 * A peer's octets become an Envelope only when they keep all limits: at most
 * ENVELOPE_BYTES_MAX, unpacked within ENVELOPE_ARENA_MAX (1 MiB of empty items would
 * otherwise cost 87 MB), canonical at every depth, valid UTF-8.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "control.pb-c.h"

enum {
    ENVELOPE_VERSION = 1,
    ENVELOPE_BYTES_MAX = 1024 * 1024,
    ENVELOPE_ARENA_MAX = 8 * 1024 * 1024,
    ENVELOPE_PART_BYTES = 64 * 1024, /* what is larger travels in parts of about this size */
};

typedef Mail__Envelope Envelope;
typedef Mail__Envelope__BodyCase BodyCase;

/* INVALID: broken, not canonical, too large, not UTF-8, id 0, a version of 0.
 * UNSUPPORTED: another version, or a body this program does not know; *ret_id then tells whom to answer (0: unknown).
 * One arena: envelope_free frees all of it at once. */
CHECKED Error *envelope_unpack(const void *bytes, size_t size, Envelope **ret_envelope, uint64_t *ret_id);
void envelope_free(Envelope **envelope);

/* Appends version, id and the rest as they are in 'envelope' (version 0 becomes ENVELOPE_VERSION).
 * INVALID when it would be over ENVELOPE_BYTES_MAX: the caller should have sent parts. */
CHECKED Error *envelope_pack(const Envelope *envelope, Buf *out);

const char *body_name(BodyCase body); /* "hello"; "nothing" for 0 */

/* For replies: a Failure that says what the error says.  Its strings are borrowed from err, whose words are mended for the
 * wire: at most 16 KiB, and '?' for what is not UTF-8. */
Mail__Failure failure_of(const Error *err);
/* In place: cut at 16 KiB, and what is not UTF-8 becomes a question mark.  For texts that come from other programs. */
char *words_mend(char *text);
/* And back; a code that is not known here becomes ERROR_SYSTEM. */
Error *error_of(const Mail__Failure *failure);

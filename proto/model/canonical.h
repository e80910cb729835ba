/* canonical.h - does a message say exactly what its octets say?
 *
 * protobuf-c takes octets that mean the same in many spellings, and keeps what it
 * does not know.  Comparing octets compares meaning only where there is one
 * spelling, and "applied" is only said of what was understood: so both are asked
 * of every message of a peer or a file, at every depth.  Fields of type bytes are
 * not looked into.
 */
#pragma once
#include "base/error.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

/* INVALID: the message, packed, is not these octets (wrong order, doubled field, long varint, NUL in a text), or a text
 * is not UTF-8.  UNSUPPORTED: a field or an enum's value that this program does not know. */
CHECKED Error *message_check(const ProtobufCMessage *message, const void *bytes, size_t size);

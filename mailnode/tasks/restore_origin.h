/* restore_origin.h - is a snapshot of the instance that it shall be restored to?
 *
 * What the node knew when it was made lies in it.  Another hostname, or another user domain, is another's backup, or one of
 * another time: mail of people who are others here (THREATS B39).  That is shown, and needs the admin's word.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "model/object.h"

/* 'state': STATE_OBJECTS of a snapshot.  *ret_other: what differs, "hostname old.example.org, not mx1.example.org", owned by
 * the caller; NULL: nothing.  DAMAGED: it does not read. */
CHECKED Error *origin_compare(const Buf *state, const Object *instance, char **ret_other);

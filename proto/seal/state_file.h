/* state_file.h - objects with their secrets, as a backup keeps them
 *
 *     "MAILNODE-STATE 1\n", then records: u32 length (little endian), packed Delta
 *
 * The first says the revision, those behind it objects and secrets, the last has no object and no secret: without it the
 * file is cut.  Reading trusts nothing: a backup is what somebody else may have written.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "model/object.h"

typedef struct StateFile StateFile;

StateFile *state_file_new(uint64_t revision);
void state_file_free(StateFile **file); /* wipes */
void state_file_object(StateFile *file, const Object *object);
void state_file_secret(StateFile *file, uint64_t id, const void *value, size_t size);
/* The whole; no more may be added.  Lives as long as the file. */
const void *state_file_end(StateFile *file, size_t *ret_size);

/* Each object in the order in which it was added, borrowed for the call; secrets are left out.  DAMAGED: cut, or no such file; UNSUPPORTED: made by
 * a newer program. */
CHECKED Error *state_file_read(const void *bytes, size_t size, uint64_t *ret_revision,
                               Error *(*each)(void *context, const void *object, size_t size), void *context);

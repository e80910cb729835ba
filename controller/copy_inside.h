/* copy_inside.h - what copy_make.c and copy_restore.c share; nobody else includes it */
#pragma once
#include "copy.h"

#include "base/buf.h"
#include "base/path.h"
#include "seal/digest.h"
#include "store/store.h"

enum {
    COPY_HEAD_MAX = 128 * 1024, /* octets of a packed CopyHead */
    COPY_KEY_SIZE = 32,         /* of the store's key file */
    COPY_IDENTITY_MAX = 64 * 1024,
};

/* A file as memory: what is digested and sealed is the same. */
typedef struct Mapped {
    void *data; /* NULL: not mapped */
    size_t size;
} Mapped;
CHECKED Error *mapped_open(const char *path, Mapped *ret_mapped);
void mapped_done(Mapped *mapped);

/* A folder of our own for what is made or checked, with nothing in it; 'name' is below the store's folder. */
CHECKED Error *copy_work_make(const char *root, const char *name);
void copy_work_remove(const char *root, const char *name);
Path copy_work_in(const char *root, const char *name, const char *file);

/* Reads head and store out of a parcel of ours; the store's octets are handed on in pieces.  INVALID, DENIED, DAMAGED as
 * seal/parcel.h has them; DAMAGED, too, where the head is not what a copy has. */
typedef Error *CopyTake(void *context, const void *data, size_t size);
CHECKED Error *copy_read(int fd, const Secret *password, Mail__CopyHead **ret_head, CopyTake *take, void *context);
void copy_head_free(Mail__CopyHead **head); /* wipes */

/* Opens the store in the work folder and has it audited; what it says of itself goes into 'info'. */
CHECKED Error *copy_audit(const char *store, Store **ret_store);

/* parcel.h - any number of octets under a password: what is kept away from the machine that made it
 *
 * Whoever opens one needs the password and nothing else.  A parcel that was cut, lengthened, reordered or changed anywhere is
 * DAMAGED; another password is DENIED, before anything is handed out.  Nothing is handed out before its tag was checked, but
 * the end is known to be the end only after parcel_end.
 *
 * Layout: the line "mailnode parcel 1", 16 octets of salt, 16 of a tag over nothing (the password's check), then pieces: u32
 * (big endian: octets, the highest bit set in the last one), ciphertext, tag.  AES-256-GCM under a key of scrypt (N 2^16, r 8,
 * p 1: 64 MiB and a fifth of a second) that serves this parcel alone, so a counter is nonce enough.
 */
#pragma once
#include "base/error.h"
#include "seal/secret.h"

#include <stddef.h>
#include <stdint.h>

enum {
    PARCEL_PIECE = 64 * 1024,   /* octets in each piece but the last */
    PARCEL_PASSWORD_MAX = 1024, /* octets */
    PARCEL_HEAD = 18 + 16 + 16, /* octets */
    PARCEL_PIECE_MORE = 4 + 16, /* octets around those of a piece */
};

/* ---- making ---- */

typedef struct ParcelOut ParcelOut;
/* Takes the parcel as it grows: the head, then piece by piece. */
typedef Error *ParcelTake(void *context, const void *data, size_t size);

/* INVALID: no password, or one over PARCEL_PASSWORD_MAX. */
CHECKED Error *parcel_begin(const Secret *password, ParcelTake *take, void *context, ParcelOut **ret_out);
CHECKED Error *parcel_add(ParcelOut *out, const void *data, size_t size);
CHECKED Error *parcel_close(ParcelOut *out); /* the last piece; without it nobody opens it to the end */
void parcel_out_free(ParcelOut **out);

/* ---- opening ---- */

typedef struct ParcelIn ParcelIn;

/* From the descriptor's place on; it stays the caller's.  INVALID: no parcel, DENIED: another password. */
CHECKED Error *parcel_open(int fd, const Secret *password, ParcelIn **ret_in);
CHECKED Error *parcel_read(ParcelIn *in, void *data, size_t size); /* exactly so many; DAMAGED when there are fewer */
CHECKED Error *parcel_end(ParcelIn *in);                           /* nothing follows, in the parcel or behind it */
void parcel_in_free(ParcelIn **in);

/* generation.h - gen/000123 on the disk: written whole, made current by a link, read back, swept
 *
 *     gen/000124.new    prepared: all is written and synced
 *     gen/000124        in force, on trial, or one of those before it
 *     gen/000124.check  the same texts for the daemons' checkers, with 'current' in them replaced by this folder
 *     current           link to gen/000123: what is in force
 *     current.back      while a switch is proved: the link to go back to, made before so that a full disk cannot forbid it
 *     trial             "124 123": 124 is being proved, 123 was proved last (0: nothing was)
 *
 * Nothing here decides; change.c does.
 */
#pragma once
#include "control.pb-c.h"
#include "engine/rendered.h"
#include "render/state.h"

#include <stdint.h>

enum { GENERATIONS_KEPT = 3, GENERATION_BYTES_MAX = 8 * 1024 * 1024 };

typedef struct Generation {
    uint64_t number;
    uint64_t revision;
    Digest config;     /* sum over its objects */
    NodeState *state;  /* of these objects, with the certificate */
    Rendered rendered; /* its 'prepare' is the one in 'objects' */
    bool mended;       /* 'objects' did not read back: those that the texts were rendered from stand for it */
} Generation;

void generation_free(Generation **generation);

Path generation_path(const char *root, uint64_t number, const char *suffix); /* "", ".new", ".check" */

/* Durable when it returns.  Number and what is in 'rendered' (files as rendered, prepare); the rest is not looked at. */
CHECKED Error *generation_write(const char *root, uint64_t number, const Rendered *rendered);

/* .new becomes the generation itself. */
CHECKED Error *generation_name(const char *root, uint64_t number);

/* Other objects of the same texts. */
CHECKED Error *generation_objects_write(const char *root, uint64_t number, const Buf *prepare);

/* suffix as above.  NOT_FOUND; DAMAGED: it is not whole. */
CHECKED Error *generation_read(const char *root, uint64_t number, const char *suffix, Generation **ret_generation);

/* NodeState, revision and digest of a packed EnginePrepare.  INVALID, UNSUPPORTED as node_state_read. */
CHECKED Error *objects_read(const Buf *prepare, const char *root, Generation *out);

/* Those with a number of their own, ascending; owned by the caller. */
size_t generations_list(const char *root, uint64_t **ret_numbers);

/* Removes all but 'used' and the last GENERATIONS_KEPT; with them everything half-made. */
void generations_sweep(const char *root, const uint64_t *used, size_t n_used);

/* Files of the engine's folder that were not whole when their writer died; at the start, when nobody writes. */
void halves_sweep(const char *root);

/* ---- what is current, and what is being proved --------------------------------------- */

/* 0: there is none.  DAMAGED: it leads elsewhere. */
CHECKED Error *current_read(const char *root, uint64_t *ret_number);
CHECKED Error *current_set(const char *root, uint64_t number); /* 0: no link */

typedef struct Trial {
    uint64_t number; /* 0: nothing is being proved */
    uint64_t last;   /* the last good one; 0: none */
} Trial;

/* DAMAGED: does not read back. */
CHECKED Error *trial_read(const char *root, Trial *ret_trial);
CHECKED Error *trial_begin(const char *root, const Trial *trial); /* before the link moves; makes current.back */
CHECKED Error *trial_back(const char *root, const Trial *trial);  /* the link leads to the last good one again */
CHECKED Error *trial_end(const char *root);                       /* proved, or gone back */

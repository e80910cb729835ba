/* pile.h - many objects as their octets, in the order in which they can be stored
 *
 * What a file states, or what a revision takes back: 100,000 objects in two buffers,
 * not in a million pieces of memory.
 */
#pragma once
#include "work_secret.h"

#include "base/buf.h"

typedef struct PileRow {
    Kind kind;
    size_t kind_at;               /* its place in kinds[] */
    size_t instance_at, name_at;  /* in 'texts' */
    size_t place_at;              /* the same; SIZE_MAX: none */
    size_t bytes_at, size;        /* in 'bytes'; size 0: the object goes */
    size_t secrets_at, n_secrets; /* in 'secrets' */
    bool fresh;                   /* known not to be stored; false: not known */
    bool same;                    /* these very octets are stored */
} PileRow;

typedef struct Pile {
    Buf texts, bytes;
    PileRow *rows;
    size_t n, room;
    GivenSecret *secrets;
    size_t n_secrets;
    bool sorted;
} Pile;

void pile_done(Pile *pile); /* empty again */

/* bytes NULL: it goes; place NULL: none. */
void pile_add(Pile *pile, const ObjectRef *ref, const char *place, const void *bytes, size_t size);

/* Of the row that was added last: what its field is given.  Takes the secret over. */
void pile_add_secret(Pile *pile, const FieldMeta *field, Secret *secret);

/* In the order of kinds, then instance, then name.  INVALID: the same object twice, with both places. */
CHECKED Error *pile_sort(Pile *pile);

ObjectRef pile_ref(const Pile *pile, size_t i);
const char *pile_place(const Pile *pile, size_t i);   /* NULL: none */
PileRow *pile_find(Pile *pile, const ObjectRef *ref); /* sorted; NULL: not there */

/* Stores what differs, in order; rows of size 0 are left out.  An address that says it sleeps, and whose domain is there,
 * is awake. */
CHECKED Error *pile_put(const Pile *pile, Work *work);

/* Removes what the rows of size 0 name, what names before what is named.  What has gone along with another is no error. */
CHECKED Error *pile_remove(const Pile *pile, Work *work);

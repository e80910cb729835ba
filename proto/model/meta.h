/* meta.h - what the options and comments of desired.proto say, at run time
 *
 * Made by meta.py at build time as meta.c: protobuf-c drops options and comments.
 */
#pragma once
#include "options.pb-c.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct FieldMeta {
    const char *name; /* "spam_retention" */
    Mail__FieldType type;
    bool list;
    const char *unit;      /* NULL: none; also for the texts below */
    uint64_t min, max;     /* max 0: none */
    const char *zero;      /* the word for 0 */
    const char *unset;     /* the word for "not set" */
    const char *reference; /* kind that the value names */
    bool required, fixed, secret, computed;
    const char *since;
    const char *words; /* the comment: what the field is for */
} FieldMeta;

typedef struct KindMeta {
    const char *message; /* "UserDomain" */
    Mail__Class class_;
    bool in_instance, single, made;
    Mail__FieldType name;
    const char *example;
    const char *words;
    const FieldMeta *fields; /* in the order of the descriptor's fields */
    size_t n_fields;
} KindMeta;

extern const KindMeta kind_metas[];
extern const size_t n_kind_metas;

/* Of a message of desired.proto; asserts that there is one. */
const KindMeta *meta_of(const ProtobufCMessageDescriptor *descriptor);

/* NULL: no such field.  '-' and '_' alike. */
const FieldMeta *meta_field(const KindMeta *meta, const char *name);
const ProtobufCFieldDescriptor *meta_descriptor(const ProtobufCMessageDescriptor *message, const FieldMeta *field);
const char *meta_field_nearest(const KindMeta *meta, const char *name); /* for "did you mean"; NULL: nothing near */

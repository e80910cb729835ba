#include "seal/state_file.h"

#include "base/alloc.h"
#include "control.pb-c.h"
#include "seal/secret.h"

#include <stdlib.h>
#include <string.h>

#define HEAD "MAILNODE-STATE 1\n"
#define HEAD_ANY "MAILNODE-STATE "

enum {
    HEAD_LEN = sizeof HEAD - 1,
    HEAD_ANY_LEN = sizeof HEAD_ANY - 1,
    RECORD_MAX = 2 * OBJECT_BYTES_MAX,
    LENGTH_OCTETS = 4
};

struct StateFile {
    Buf bytes;
    bool ended;
};

static void record_add(StateFile *file, const Mail__Delta *delta)
{
    size_t size = mail__delta__get_packed_size(delta);
    uint8_t length[LENGTH_OCTETS] = {(uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16), (uint8_t)(size >> 24)};

    buf_append(&file->bytes, length, sizeof length);
    uint8_t *room = buf_reserve(&file->bytes, size);
    file->bytes.size += mail__delta__pack(delta, room);
}

StateFile *state_file_new(uint64_t revision)
{
    StateFile *file = xcalloc(1, sizeof *file);
    Mail__Delta first = MAIL__DELTA__INIT;

    buf_append(&file->bytes, HEAD, HEAD_LEN);
    first.has_to_revision = true;
    first.to_revision = revision;
    record_add(file, &first);
    return file;
}

void state_file_free(StateFile **file)
{
    if (!*file)
        return;
    if ((*file)->bytes.room)
        wipe((*file)->bytes.data, (*file)->bytes.room);
    buf_done(&(*file)->bytes);
    xfree(file);
}

void state_file_object(StateFile *file, const Object *object)
{
    DEFER(buf_done) Buf bytes = {0};
    Mail__Delta delta = MAIL__DELTA__INIT;
    ProtobufCBinaryData one;

    object_pack(object, &bytes);
    one = (ProtobufCBinaryData){.len = bytes.size, .data = bytes.data};
    delta.objects = &one;
    delta.n_objects = 1;
    record_add(file, &delta);
}

void state_file_secret(StateFile *file, uint64_t id, const void *value, size_t size)
{
    Mail__Delta delta = MAIL__DELTA__INIT;
    Mail__SecretValue secret = MAIL__SECRET_VALUE__INIT, *list[] = {&secret};

    secret.has_id = secret.has_value = true;
    secret.id = id;
    secret.value = (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)value}; /* packed only */
    delta.secrets = list;
    delta.n_secrets = 1;
    record_add(file, &delta);
}

const void *state_file_end(StateFile *file, size_t *ret_size)
{
    Mail__Delta last = MAIL__DELTA__INIT;

    if (!file->ended)
        record_add(file, &last);
    file->ended = true;
    *ret_size = file->bytes.size;
    return file->bytes.data;
}

/* ---- reading ---- */

typedef struct Cursor {
    const uint8_t *at;
    size_t left;
} Cursor;

/* The caller's.  NULL: cut, or no record. */
static Mail__Delta *record_next(Cursor *cursor)
{
    if (cursor->left < LENGTH_OCTETS)
        return NULL;
    size_t size =
        cursor->at[0] | (size_t)cursor->at[1] << 8 | (size_t)cursor->at[2] << 16 | (size_t)cursor->at[3] << 24;
    if (size > RECORD_MAX || size > cursor->left - LENGTH_OCTETS)
        return NULL;
    Mail__Delta *delta = mail__delta__unpack(NULL, size, cursor->at + LENGTH_OCTETS);
    cursor->at += LENGTH_OCTETS + size;
    cursor->left -= LENGTH_OCTETS + size;
    return delta;
}

static void delta_free(Mail__Delta **delta)
{
    for (size_t i = 0; *delta && i < (*delta)->n_secrets; i++)
        if ((*delta)->secrets[i]->value.len)
            wipe((*delta)->secrets[i]->value.data, (*delta)->secrets[i]->value.len);
    if (*delta)
        mail__delta__free_unpacked(*delta, NULL);
    *delta = NULL;
}

static Error *cut(void)
{
    return error_new(ERROR_DAMAGED, "it is cut, or does not read back");
}

Error *state_file_read(const void *bytes, size_t size, uint64_t *ret_revision,
                       Error *(*each)(void *context, const void *object, size_t size), void *context)
{
    Cursor cursor = {bytes, size};

    if (size < HEAD_LEN || memcmp(bytes, HEAD_ANY, HEAD_ANY_LEN) != 0)
        return error_new(ERROR_DAMAGED, "it is no state of a node");
    if (memcmp(bytes, HEAD, HEAD_LEN) != 0)
        return error_new(ERROR_UNSUPPORTED, "a newer program has written it");
    cursor.at += HEAD_LEN;
    cursor.left -= HEAD_LEN;
    for (bool first = true;; first = false) {
        DEFER(delta_free) Mail__Delta *delta = record_next(&cursor);
        if (!delta || (first && !delta->has_to_revision))
            return cut();
        if (first)
            *ret_revision = delta->to_revision;
        else if (!delta->n_objects && !delta->n_secrets)
            return cursor.left ? cut() : NULL;
        Error *err = NULL;
        for (size_t i = 0; !err && i < delta->n_objects; i++)
            err = each(context, delta->objects[i].data, delta->objects[i].len);
        if (err)
            return err;
    }
}

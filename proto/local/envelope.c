#include "local/envelope.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "model/canonical.h"

#include <assert.h>
#include <inttypes.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

/* ---- the arena: memory that is counted, and freed at once ------------------------- */

typedef struct Chunk {
    struct Chunk *next;
    size_t size, used;
    alignas(max_align_t) char data[];
} Chunk;

typedef struct Arena {
    Chunk *chunks; /* newest first */
    size_t size;   /* of all chunks */
    bool exceeded;
} Arena;

enum { FIRST_CHUNK = 1024 };

static bool arena_grow(Arena *arena, size_t least)
{
    size_t room = ENVELOPE_ARENA_MAX - arena->size;
    size_t size = arena->chunks ? 2 * arena->chunks->size : FIRST_CHUNK;

    if (least > room) {
        arena->exceeded = true;
        return false;
    }
    if (size < least)
        size = least;
    if (size > room)
        size = room;
    Chunk *chunk = xmalloc(sizeof *chunk + size);
    *chunk = (Chunk){.next = arena->chunks, .size = size};
    arena->chunks = chunk;
    arena->size += size;
    return true;
}

static void *arena_alloc(void *data, size_t size)
{
    Arena *arena = data;
    size_t align = alignof(max_align_t);

    if (size > ENVELOPE_ARENA_MAX) {
        arena->exceeded = true;
        return NULL;
    }
    size = (size + align - 1) / align * align;
    if (!arena->chunks || arena->chunks->size - arena->chunks->used < size)
        if (!arena_grow(arena, size))
            return NULL;
    void *memory = arena->chunks->data + arena->chunks->used;
    arena->chunks->used += size;
    return memory;
}

/* protobuf-c frees its lists of scanned fields; they go with the rest. */
static void arena_keep(void *data, void *memory)
{
    (void)data;
    (void)memory;
}

static void arena_done(Arena *arena)
{
    while (arena->chunks) {
        Chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
}

/* What envelope_unpack makes: the envelope knows its arena by lying beside it. */
typedef struct Holder {
    Arena arena;
    Envelope envelope;
} Holder;

static void holder_free(Holder **holder)
{
    if (!*holder)
        return;
    arena_done(&(*holder)->arena);
    free(*holder);
    *holder = NULL;
}

static void octets_wipe(const ProtobufCBinaryData *octets)
{
    if (octets->len)
        explicit_bzero(octets->data, octets->len);
}

static void change_wipe(const Mail__Change *change)
{
    for (size_t i = 0; i < change->n_edits; i++)
        for (size_t k = 0; k < change->edits[i]->n_fields; k++)
            octets_wipe(&change->edits[i]->fields[k]->secret);
}

/* The secrets that envelopes carry in the clear: passwords of users, and what secret fields stand for. */
static void secrets_wipe(const Envelope *envelope)
{
    switch ((int)envelope->body_case) {
    case MAIL__ENVELOPE__BODY_DIRECTORY:
        if (envelope->directory->write)
            octets_wipe(&envelope->directory->write->password);
        break;
    case MAIL__ENVELOPE__BODY_CHANGE:
        change_wipe(envelope->change);
        break;
    case MAIL__ENVELOPE__BODY_DELTA:
        for (size_t i = 0; i < envelope->delta->n_secrets; i++)
            octets_wipe(&envelope->delta->secrets[i]->value);
        break;
    case MAIL__ENVELOPE__BODY_APPLY_PART:
        for (size_t i = 0; i < envelope->apply_part->n_secrets; i++)
            octets_wipe(&envelope->apply_part->secrets[i]->value);
        break;
    case MAIL__ENVELOPE__BODY_SECRETS_ARE:
        for (size_t i = 0; i < envelope->secrets_are->n_secrets; i++)
            octets_wipe(&envelope->secrets_are->secrets[i]->value);
        break;
    default:
        break;
    }
}

void envelope_free(Envelope **envelope)
{
    if (!*envelope)
        return;
    secrets_wipe(*envelope);
    Holder *holder = (Holder *)((char *)*envelope - offsetof(Holder, envelope));
    holder_free(&holder);
    *envelope = NULL;
}

/* ---- octets to envelope ------------------------------------------------------------ */

static Error *octets_read(Holder *holder, const void *bytes, size_t size)
{
    ProtobufCAllocator allocator = {.alloc = arena_alloc, .free = arena_keep, .allocator_data = &holder->arena};

    if (size > ENVELOPE_BYTES_MAX)
        return error_new(ERROR_INVALID, "%zu octets, at most %d are taken", size, ENVELOPE_BYTES_MAX);
    Envelope *envelope = mail__envelope__unpack(&allocator, size, bytes);
    if (!envelope && holder->arena.exceeded)
        return error_new(ERROR_INVALID, "too many parts: it would need more than %d octets", ENVELOPE_ARENA_MAX);
    if (!envelope)
        return error_new(ERROR_INVALID, "broken");
    holder->envelope = *envelope;
    return NULL;
}

/* Version first: of another one, nothing else can be said. */
static Error *head_check(const Envelope *envelope)
{
    if (!envelope->has_version || envelope->version == 0)
        return error_new(ERROR_INVALID, "no version");
    if (envelope->version != ENVELOPE_VERSION)
        return error_new(ERROR_UNSUPPORTED, "version %" PRIu32 " of the protocol, %d is spoken here", envelope->version,
                         ENVELOPE_VERSION);
    if (!envelope->has_id || envelope->id == 0)
        return error_new(ERROR_INVALID, "no id");
    return NULL;
}

static Error *body_check(const Envelope *envelope)
{
    if (envelope->body_case != MAIL__ENVELOPE__BODY__NOT_SET)
        return NULL;
    if (envelope->base.n_unknown_fields)
        return error_new(ERROR_UNSUPPORTED, "body %" PRIu32 " is not known here", envelope->base.unknown_fields[0].tag);
    return error_new(ERROR_INVALID, "no body");
}

Error *envelope_unpack(const void *bytes, size_t size, Envelope **ret_envelope, uint64_t *ret_id)
{
    DEFER(holder_free) Holder *holder = xcalloc(1, sizeof *holder);

    *ret_id = 0;
    Error *err = octets_read(holder, bytes, size);
    if (!err)
        err = head_check(&holder->envelope);
    if (!err)
        err = body_check(&holder->envelope);
    if (!err || err->code == ERROR_UNSUPPORTED)
        *ret_id = holder->envelope.id;
    if (!err)
        err = message_check(&holder->envelope.base, bytes, size);
    if (err && err->code == ERROR_INVALID)
        *ret_id = 0;
    if (err)
        return err;

    *ret_envelope = &holder->envelope;
    holder = NULL;
    return NULL;
}

/* ---- envelope to octets ------------------------------------------------------------ */

Error *envelope_pack(const Envelope *envelope, Buf *out)
{
    Envelope full = *envelope;

    if (!full.has_version || full.version == 0) {
        full.has_version = true;
        full.version = ENVELOPE_VERSION;
    }
    size_t size = mail__envelope__get_packed_size(&full);
    if (size > ENVELOPE_BYTES_MAX)
        return error_new(ERROR_INVALID, "%s: %zu octets, at most %d can be sent", body_name(full.body_case), size,
                         ENVELOPE_BYTES_MAX);
    uint8_t *room = buf_reserve(out, size);
    if (!room)
        return error_new(ERROR_INVALID, "%s: no room for %zu octets more", body_name(full.body_case), size);
    out->size += mail__envelope__pack(&full, room);
    return NULL;
}

const char *body_name(BodyCase body)
{
    if (body == MAIL__ENVELOPE__BODY__NOT_SET)
        return "nothing";
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(&mail__envelope__descriptor, (unsigned)body);
    return field && field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF ? field->name : "unknown";
}

/* ---- errors over the wire ---------------------------------------------------------- */

enum { WORDS_MAX = 16 * 1024 }; /* a checker's output, and no more */

/* Octets of 'text' that are whole characters and at most WORDS_MAX. */
static size_t words_len(const char *text)
{
    size_t size = strnlen(text, WORDS_MAX), at = 0;

    while (at < size) {
        size_t len = utf8_char_len(text + at, size - at);
        if (!len)
            break;
        at += len;
    }
    return at;
}

/* A daemon's words may be in any encoding; a message that holds them would be refused whole.  What is no UTF-8 becomes
 * '?' in place (the octets are the error's own, and no longer than they were), the end beyond WORDS_MAX goes. */
char *words_mend(char *text)
{
    if (!text)
        return NULL;
    for (size_t at = 0; text[at];) {
        size_t len = utf8_char_len(text + at, strnlen(text + at, 4));
        if (!len)
            text[at] = '?';
        at += len ? len : 1;
    }
    text[words_len(text)] = '\0';
    return text;
}

Mail__Failure failure_of(const Error *err)
{
    Mail__Failure failure = MAIL__FAILURE__INIT;

    failure.has_code = true;
    failure.code = (Mail__ErrorNumber)err->code;
    failure.what = words_mend(err->what);
    failure.hint = words_mend(err->hint);
    return failure;
}

Error *error_of(const Mail__Failure *failure)
{
    bool known = failure->has_code &&
                 protobuf_c_enum_descriptor_get_value(&mail__error_number__descriptor, (int)failure->code) != NULL;
    const char *what = failure->what && *failure->what ? failure->what : "no reason was given";

    Error *err = error_new(known ? (ErrorCode)failure->code : ERROR_SYSTEM, "%.*s", (int)words_len(what), what);
    if (failure->hint && *failure->hint)
        err = error_hint(err, "%.*s", (int)words_len(failure->hint), failure->hint);
    return err;
}

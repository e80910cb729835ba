#include "apply.h"

#include "base/alloc.h"
#include "model/meta.h"
#include "model/secret_field.h"

#include <stdlib.h>
#include <string.h>

enum {
    OBJECTS_MAX = 4 * 1000 * 1000,
    SECRET_COST = 256, /* octets, beside its own, that a secret takes of APPLY_BYTES_MAX */
    STREAM_SHARE = 20, /* a file with at least a 20th of what is stored is compared in one pass */
};

struct Apply {
    bool prune;
    Pile pile;
    size_t n_secret_bytes;
};

Apply *apply_new(bool prune)
{
    Apply *apply = xcalloc(1, sizeof *apply);

    apply->prune = prune;
    return apply;
}

void apply_free(Apply **apply)
{
    if (!*apply)
        return;
    pile_done(&(*apply)->pile);
    free(*apply);
    *apply = NULL;
}

size_t apply_count(const Apply *apply)
{
    return apply->pile.n;
}

/* ---- taking in ---- */

/* Validation brings values into their one form; what comes here has it already, or its octets would not be stored as sent. */
static Error *normal_check(const Object *object, const ProtobufCBinaryData *bytes)
{
    DEFER(buf_done) Buf packed = {0};
    ObjectRef ref = object_ref(object);

    object_pack(object, &packed);
    if (packed.size == bytes->len && memcmp(packed.data, bytes->data, bytes->len) == 0)
        return NULL;
    return error_new(ERROR_INVALID, "%s: is not in its normal form", object_title(&ref).text);
}

/* Of the object that was taken last. */
static Error *secret_take(Apply *apply, const Object *object, const Mail__StatedSecret *stated)
{
    const FieldMeta *field = meta_field(kind_info(object->body_case)->meta, stated->field ? stated->field : "");
    ObjectRef ref = object_ref(object);

    if (!field || !field->secret || secret_field_id(object, field) != SECRET_GIVEN)
        return error_new(ERROR_INVALID, "%s: a secret is stated for what takes none", object_title(&ref).text);
    Error *err = secret_value_check(field, stated->value.data, stated->value.len);
    if (err)
        return error_in(err, "%s", object_title(&ref).text);
    for (size_t i = 0; i < apply->pile.rows[apply->pile.n - 1].n_secrets; i++)
        if (apply->pile.secrets[apply->pile.n_secrets - 1 - i].field == field)
            return error_new(ERROR_INVALID, "%s: a secret is stated twice", object_title(&ref).text);
    apply->n_secret_bytes += stated->value.len + SECRET_COST;
    pile_add_secret(&apply->pile, field, secret_new(stated->value.data, stated->value.len));
    return NULL;
}

/* 'i': which of the part; its secrets are the next ones, from *next on. */
static Error *object_take(Apply *apply, const Mail__ApplyPart *part, size_t i, size_t *next, const char *place)
{
    const ProtobufCBinaryData *bytes = &part->objects[i];
    DEFER(object_free) Object *object = NULL;
    Error *err = object_unpack(bytes->data, bytes->len, &object);

    if (!err)
        err = object_validate(object);
    if (!err)
        err = normal_check(object, bytes);
    if (err)
        return err;
    ObjectRef ref = object_ref(object);
    pile_add(&apply->pile, &ref, place, bytes->data, bytes->len);
    while (!err && *next < part->n_secrets && part->secrets[*next]->object == i)
        err = secret_take(apply, object, part->secrets[(*next)++]);
    return err;
}

Error *apply_part(Apply *apply, const Mail__ApplyPart *part)
{
    size_t next = 0;
    Error *err = NULL;

    for (size_t i = 0; !err && i < part->n_objects; i++) {
        const char *place = i < part->n_places && *part->places[i] ? part->places[i] : NULL;
        err = object_take(apply, part, i, &next, place);
        if (!err && apply->pile.bytes.size + apply->pile.texts.size + apply->n_secret_bytes > APPLY_BYTES_MAX)
            err = error_new(ERROR_INVALID, "more than %d MiB", APPLY_BYTES_MAX / 1024 / 1024);
        if (!err && apply->pile.n > OBJECTS_MAX)
            err = error_new(ERROR_INVALID, "more than %d objects", OBJECTS_MAX);
        if (err && place)
            err = error_in(err, "%s", place);
    }
    if (!err && next < part->n_secrets)
        err = error_new(ERROR_INVALID, "a secret is stated for no object, or out of their order");
    return err;
}

/* ---- what is stored already ---- */

/* Rows of one kind in one instance: neighbours in the pile. */
typedef struct Group {
    Pile *pile;
    size_t first, n;
    Pile *gone; /* what is stored and not in the file; NULL: not wanted */
} Group;

static bool is_postmaster(const ObjectRef *ref)
{
    return ref->kind == MAIL__OBJECT__BODY_ADDRESS && strcmp(ref->name, "postmaster@*") == 0;
}

static Error *compare(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Group *group = context;
    PileRow *row = pile_find(group->pile, ref);

    if (row) {
        row->fresh = false;
        row->same = row->size == size && memcmp(group->pile->bytes.data + row->bytes_at, bytes, size) == 0;
    } else if (group->gone && !is_postmaster(ref)) { /* it must always be there: saying nothing of it is not a wish */
        pile_add(group->gone, ref, NULL, NULL, 0);
    }
    return NULL;
}

/* One pass over what is stored, or nothing: then each is looked up when it is put. */
static Error *group_compare(Work *work, Group *group)
{
    ObjectRef ref = pile_ref(group->pile, group->first);
    StoreFilter filter = {.kind = ref.kind, .instance = ref.instance};

    if (!group->gone && group->n * STREAM_SHARE < store_count(work->store))
        return NULL;
    for (size_t i = group->first; i < group->first + group->n; i++)
        group->pile->rows[i].fresh = true;
    return store_each(work->store, &filter, compare, group);
}

static Error *compare_all(Apply *apply, Work *work, Pile *gone)
{
    Pile *pile = &apply->pile;
    Error *err = NULL;

    for (size_t i = 0; i < pile->n; i++)
        pile->rows[i].fresh = pile->rows[i].same = false;
    for (size_t i = 0, next; !err && i < pile->n; i = next) {
        ObjectRef first = pile_ref(pile, i);
        for (next = i + 1; next < pile->n; next++) {
            ObjectRef ref = pile_ref(pile, next);
            if (ref.kind != first.kind || strcmp(ref.instance, first.instance) != 0)
                break;
        }
        Group group = {.pile = pile, .first = i, .n = next - i, .gone = apply->prune ? gone : NULL};
        err = group_compare(work, &group);
    }
    return err;
}

/* Addresses of the file whose domain has just gone were put to sleep: they are looked at again. */
static void doubt_addresses(Pile *pile, const Pile *gone)
{
    bool domain = false;

    for (size_t i = 0; i < gone->n; i++)
        domain = domain || gone->rows[i].kind == MAIL__OBJECT__BODY_DOMAIN ||
                 gone->rows[i].kind == MAIL__OBJECT__BODY_INSTANCE;
    for (size_t i = 0; domain && i < pile->n; i++)
        pile->rows[i].same = false;
}

Error *apply_work(Apply *apply, Work *work)
{
    DEFER(pile_done) Pile gone = {.n = 0};
    Error *err = apply->pile.sorted ? NULL : pile_sort(&apply->pile);

    if (!err)
        err = compare_all(apply, work, &gone);
    if (!err)
        err = pile_sort(&gone);
    if (!err)
        err = pile_remove(&gone, work);
    if (err)
        return err;
    doubt_addresses(&apply->pile, &gone);
    err = pile_put(&apply->pile, work);
    return err ? err : work_finish(work);
}

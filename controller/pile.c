#include "pile.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void pile_done(Pile *pile)
{
    buf_done(&pile->texts);
    buf_done(&pile->bytes);
    for (size_t i = 0; i < pile->n_secrets; i++)
        secret_free(&pile->secrets[i].secret);
    free(pile->secrets);
    free(pile->rows);
    *pile = (Pile){0};
}

static size_t text_add(Pile *pile, const char *text)
{
    size_t at = pile->texts.size;

    buf_append(&pile->texts, text ? text : "", strlen(text ? text : "") + 1);
    return at;
}

static size_t kind_place(Kind kind)
{
    size_t i = 0;

    while (i < n_kinds && kinds[i] != kind)
        i++;
    return i;
}

void pile_add(Pile *pile, const ObjectRef *ref, const char *place, const void *bytes, size_t size)
{
    if (pile->n == pile->room) {
        pile->room = pile->room ? 2 * pile->room : 64;
        pile->rows = xrealloc(pile->rows, pile->room * sizeof *pile->rows);
    }
    PileRow *row = &pile->rows[pile->n++];
    *row = (PileRow){.kind = ref->kind, .kind_at = kind_place(ref->kind), .bytes_at = pile->bytes.size, .size = size};
    row->instance_at = text_add(pile, ref->instance);
    row->name_at = text_add(pile, ref->name);
    row->place_at = place ? text_add(pile, place) : SIZE_MAX;
    if (bytes)
        buf_append(&pile->bytes, bytes, size);
    pile->sorted = false;
}

void pile_add_secret(Pile *pile, const FieldMeta *field, Secret *secret)
{
    PileRow *row = &pile->rows[pile->n - 1];

    if (!row->n_secrets)
        row->secrets_at = pile->n_secrets;
    row->n_secrets++;
    pile->secrets = xrealloc(pile->secrets, (pile->n_secrets + 1) * sizeof *pile->secrets);
    pile->secrets[pile->n_secrets++] = (GivenSecret){field, secret};
}

static const char *text_at(const Pile *pile, size_t at)
{
    return (const char *)pile->texts.data + at;
}

ObjectRef pile_ref(const Pile *pile, size_t i)
{
    const PileRow *row = &pile->rows[i];

    return (ObjectRef){row->kind, text_at(pile, row->instance_at), text_at(pile, row->name_at)};
}

const char *pile_place(const Pile *pile, size_t i)
{
    size_t at = pile->rows[i].place_at;

    return at == SIZE_MAX ? NULL : text_at(pile, at);
}

static int key_order(const Pile *pile, const PileRow *row, size_t kind_at, const char *instance, const char *name)
{
    if (row->kind_at != kind_at)
        return row->kind_at < kind_at ? -1 : 1;
    int order = strcmp(text_at(pile, row->instance_at), instance);
    return order ? order : strcmp(text_at(pile, row->name_at), name);
}

static int row_order(const void *a, const void *b, void *context)
{
    const Pile *pile = context;
    const PileRow *right = b;

    return key_order(pile, a, right->kind_at, text_at(pile, right->instance_at), text_at(pile, right->name_at));
}

Error *pile_sort(Pile *pile)
{
    if (pile->n > 1)
        qsort_r(pile->rows, pile->n, sizeof *pile->rows, row_order, pile);
    pile->sorted = true;
    for (size_t i = 1; i < pile->n; i++) {
        if (row_order(&pile->rows[i - 1], &pile->rows[i], pile) != 0)
            continue;
        ObjectRef ref = pile_ref(pile, i);
        const char *first = pile_place(pile, i - 1), *second = pile_place(pile, i);
        return error_new(ERROR_INVALID, "%s%s%s is stated twice%s%s", second ? second : "", second ? ": " : "",
                         object_title(&ref).text, first ? ", also at " : "", first ? first : "");
    }
    return NULL;
}

PileRow *pile_find(Pile *pile, const ObjectRef *ref)
{
    size_t low = 0, high = pile->n, kind_at = kind_place(ref->kind);

    assert(pile->sorted);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = key_order(pile, &pile->rows[middle], kind_at, ref->instance ? ref->instance : "",
                              ref->name ? ref->name : "");
        if (order == 0)
            return &pile->rows[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Asleep is what the state says of an address without its domain, not what a file wishes. */
static Error *wake(Work *work, Object *object)
{
    DEFER(object_free) Object *domain = NULL;
    ObjectRef ref = {.kind = MAIL__OBJECT__BODY_DOMAIN, .instance = object->instance_name};
    size_t local_len = 0;

    if (object->body_case != MAIL__OBJECT__BODY_ADDRESS || !object->address->dormant)
        return NULL;
    if (!address_split(object->name, &local_len, &ref.name))
        return NULL;
    Error *err = work->view.get(work->view.self, &ref, &domain);
    if (!err && domain)
        object->address->has_dormant = object->address->dormant = false;
    return err;
}

static Error *row_put(const Pile *pile, Work *work, size_t i)
{
    const PileRow *row = &pile->rows[i];
    const GivenSecret *stated = row->n_secrets ? pile->secrets + row->secrets_at : NULL;
    DEFER(object_free) Object *object = NULL;
    Error *err = object_unpack(pile->bytes.data + row->bytes_at, row->size, &object);

    if (!err)
        err = wake(work, object);
    if (!err)
        err = work->rules.restoring ? work_secrets_restored(work, object)
                                    : work_secrets_stated(work, object, stated, row->n_secrets);
    if (err)
        return pile_place(pile, i) ? error_in(err, "%s", pile_place(pile, i)) : err;
    return work_put(work, object, pile_place(pile, i), row->fresh);
}

/* SPEC F-083, as with 'instance add': behind the others, since the file may say itself where that mail goes.  What comes
 * back from the past comes as it was. */
static Error *postmasters_put(const Pile *pile, Work *work)
{
    Error *err = NULL;

    for (size_t i = 0; !err && !work->rules.restoring && i < pile->n; i++) {
        ObjectRef ref = pile_ref(pile, i);
        if (pile->rows[i].size && !pile->rows[i].same && ref.kind == MAIL__OBJECT__BODY_INSTANCE)
            err = work_postmaster(work, ref.name);
    }
    return err;
}

Error *pile_put(const Pile *pile, Work *work)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < pile->n; i++)
        if (pile->rows[i].size && !pile->rows[i].same)
            err = row_put(pile, work, i);
    return err ? err : postmasters_put(pile, work);
}

Error *pile_remove(const Pile *pile, Work *work)
{
    Error *err = NULL;

    for (size_t i = pile->n; !err && i > 0; i--) {
        ObjectRef ref = pile_ref(pile, i - 1);
        if (pile->rows[i - 1].size)
            continue;
        err = work_remove(work, &ref, pile_place(pile, i - 1));
        if (err && err->code == ERROR_NOT_FOUND)
            error_free(&err);
    }
    return err;
}

#include "revert.h"

#include "pile.h"

#include "base/alloc.h"
#include "model/meta.h"

#include <inttypes.h>
#include <string.h>

typedef struct Back {
    Work *work;
    uint64_t revision; /* that is taken back; 0: conflicts do not matter */
    Pile pile;
    Buf packed;
} Back;

static void back_done(Back *back)
{
    pile_done(&back->pile);
    buf_done(&back->packed);
}

static Error *untouched_check(const Back *back, const ObjectRef *ref)
{
    uint64_t later = 0;

    if (!back->revision || back->revision == store_revision(back->work->store))
        return NULL;
    Error *err = store_changed_since(back->work->store, ref, back->revision, &later);
    if (err || !later)
        return err;
    return error_hint(error_new(ERROR_CONFLICT, "revision %" PRIu64 ": %s was changed again by revision %" PRIu64,
                                back->revision, object_title(ref).text, later),
                      "revert %" PRIu64 " first", later);
}

static Error *back_add(void *context, const Object *before, const Object *after)
{
    Back *back = context;
    ObjectRef ref = object_ref(before ? before : after);
    if (kind_info(ref.kind)->meta->made) /* follows from what it is made along with */
        return NULL;
    Error *err = untouched_check(back, &ref);

    if (err)
        return err;
    buf_clear(&back->packed);
    if (before)
        object_pack(before, &back->packed);
    pile_add(&back->pile, &ref, NULL, before ? back->packed.data : NULL, before ? back->packed.size : 0);
    return NULL;
}

/* ---- an instance or a domain that would go ---- */

static Error *came_later(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Back *back = context;

    (void)bytes;
    (void)size;
    if (kind_info(ref->kind)->meta->made || pile_find(&back->pile, ref))
        return NULL;
    return error_hint(error_new(ERROR_CONFLICT, "revision %" PRIu64 ": instance %s would go, and holds %s by now",
                                back->revision, ref->instance, object_title(ref).text),
                      "mailctl instance remove %s", ref->instance);
}

/* It would be put to sleep, and its mail refused, by nobody's word. */
static Error *address_came_later(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Back *back = context;
    DEFER(object_free) Object *object = NULL;

    if (pile_find(&back->pile, ref))
        return NULL;
    Error *err = object_unpack(bytes, size, &object);
    if (err || object->address->dormant)
        return err;
    return error_new(ERROR_CONFLICT, "revision %" PRIu64 ": a domain would go, and has %s by now", back->revision,
                     object_title(ref).text);
}

static Error *holders_check(Back *back)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < back->pile.n; i++) {
        ObjectRef ref = pile_ref(&back->pile, i);
        if (back->pile.rows[i].size)
            continue;
        if (ref.kind == MAIL__OBJECT__BODY_INSTANCE)
            err = store_each(back->work->store, &(StoreFilter){.instance = ref.name}, came_later, back);
        else if (ref.kind == MAIL__OBJECT__BODY_DOMAIN)
            err = store_each(
                back->work->store,
                &(StoreFilter){.kind = MAIL__OBJECT__BODY_ADDRESS, .instance = ref.instance, .domain = ref.name},
                address_came_later, back);
    }
    return err;
}

static Error *back_work(Back *back)
{
    Error *err = pile_sort(&back->pile);

    if (!err && back->revision)
        err = holders_check(back);
    if (!err)
        err = pile_remove(&back->pile, back->work);
    if (!err)
        err = pile_put(&back->pile, back->work);
    return err ? err : work_finish(back->work);
}

/* ---- one revision ---- */

static Error *seen(void *context, const RevisionRow *row)
{
    *(uint64_t *)context = row->revision;
    return NULL;
}

static Error *revision_check(Store *store, uint64_t revision)
{
    uint64_t newest = store_revision(store), there = 0;

    if (!revision || revision > newest)
        return error_new(ERROR_NOT_FOUND, "revision %" PRIu64 " does not exist, the newest is %" PRIu64, revision,
                         newest);
    Error *err = store_history(store, NULL, revision + 1, 1, seen, &there);
    if (!err && there != revision)
        err = error_new(ERROR_NOT_FOUND, "revision %" PRIu64 " is no longer kept", revision);
    return err;
}

Error *revert_work(Work *work, uint64_t revision)
{
    DEFER(back_done) Back back = {.work = work, .revision = revision};
    Error *err = revision_check(work->store, revision);

    if (!err)
        err = store_diff(work->store, revision - 1, revision, NULL, back_add, &back);
    return err ? err : back_work(&back);
}

typedef struct Removal {
    const char *instance, *name;
    bool there, other;
} Removal;

/* What came by that revision would go by taking it back: that is no part of a removal. */
static Error *removal_see(void *context, const Object *before, const Object *after)
{
    Removal *removal = context;
    ObjectRef ref = object_ref(before ? before : after);
    bool inside = strcmp(ref.instance, removal->instance) == 0;

    if (inside && ref.kind == MAIL__OBJECT__BODY_PUBLIC_MAILBOX && strcmp(ref.name, removal->name) == 0 && !after)
        removal->there = true;
    else if (!inside || ref.kind != MAIL__OBJECT__BODY_ADDRESS || !before)
        removal->other = true;
    return NULL;
}

Error *undelete_work(Work *work, uint64_t revision, const char *instance, const char *name)
{
    Removal removal = {.instance = instance, .name = name};
    Error *err = work_may(work, MAIL__OBJECT__BODY_PUBLIC_MAILBOX, MAIL__VERB__ADD, instance);

    if (!err)
        err = work_may(work, MAIL__OBJECT__BODY_ADDRESS, MAIL__VERB__ADD, instance);
    if (!err)
        err = work_may(work, MAIL__OBJECT__BODY_ADDRESS, MAIL__VERB__MODIFY, instance);
    if (!err)
        err = revision_check(work->store, revision);
    if (!err)
        err = store_diff(work->store, revision - 1, revision, NULL, removal_see, &removal);
    if (!err && (!removal.there || removal.other))
        err = error_new(ERROR_CONFLICT, "revision %" PRIu64 " is not the removal of public-mailbox %s alone", revision,
                        name);
    return err ? err : revert_work(work, revision);
}

Error *rollback_work(Work *work, uint64_t revision, const char *instance)
{
    DEFER(back_done) Back back = {.work = work};
    DEFER(object_free) Object *then = NULL;
    DEFER(xfree) char *name = NULL;
    Error *err = error_in(name_normalise(MAIL__OBJECT__BODY_INSTANCE, instance, &name), "instance");

    if (!err)
        err = revision_check(work->store, revision);
    if (err)
        return err;
    ObjectRef ref = {MAIL__OBJECT__BODY_INSTANCE, "", name};
    err = store_get(work->store, &ref, revision, &then);
    if (!err && !then)
        err = error_new(ERROR_NOT_FOUND, "instance %s: was not there at revision %" PRIu64, name, revision);
    if (!err)
        err = store_diff(work->store, revision, 0, name, back_add, &back);
    return err ? err : back_work(&back);
}

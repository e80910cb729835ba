#include "change.h"

#include "named.h"
#include "work_destination.h"
#include "work_relay.h"
#include "work_secret.h"

#include "base/alloc.h"
#include "model/edit.h"
#include "model/meta.h"

/* ---- one object ---- */

/* A user has a mailbox, and an instance one of each single kind, whether anybody stated something of it or not. */
static bool is_always_there(Kind kind)
{
    return kind == MAIL__OBJECT__BODY_MAILBOX || kind_info(kind)->meta->single;
}

static bool says_nothing(const Object *object)
{
    const KindMeta *meta = kind_info(object->body_case)->meta;

    for (size_t i = 0; i < meta->n_fields; i++)
        if (field_is_set(object, &meta->fields[i]))
            return false;
    return true;
}

static uint64_t secret_of(const Object *object, const Mail__FieldEdit *edit)
{
    const FieldMeta *field = meta_field(kind_info(object->body_case)->meta, edit->field ? edit->field : "");

    return field && field->secret ? secret_field_id(object, field) : 0;
}

static Error *fields_edit(Work *work, Object *object, const Mail__ObjectEdit *edit)
{
    ObjectRef ref = object_ref(object);

    for (size_t i = 0; i < edit->n_fields; i++) {
        uint64_t was = secret_of(object, edit->fields[i]);
        Error *err = object_edit(object, edit->fields[i]);
        if (!err)
            err = work_secret_given(work, object, edit->fields[i], was);
        if (err)
            return error_in(err, "%s", object_title(&ref).text);
    }
    return object_validate(object);
}

static Error *exists(const Object *object)
{
    ObjectRef ref = object_ref(object);
    bool asleep = ref.kind == MAIL__OBJECT__BODY_ADDRESS && object->address->dormant;

    return error_new(ERROR_EXISTS, "%s exists%s", object_title(&ref).text,
                     asleep ? ", asleep until its domain is added again" : "");
}

/* SPEC F-015: the same again changes nothing; other values are not slipped in by "may exist". */
static Error *add_again(Work *work, const Object *there, const Mail__ObjectEdit *edit)
{
    DEFER(object_free) Object *edited = object_clone(there);
    ObjectRef ref = object_ref(there);
    Error *err = fields_edit(work, edited, edit);

    if (err || object_equal(there, edited))
        return err;
    return error_hint(error_new(ERROR_EXISTS, "%s exists with other values", object_title(&ref).text),
                      "change it with set instead of add");
}

static Error *add(Work *work, const ObjectRef *ref, Object *there, const Mail__ObjectEdit *edit)
{
    DEFER(object_free) Object *object = NULL;

    if (there)
        return work->rules.lenient ? add_again(work, there, edit) : exists(there);
    object = object_new(ref->kind, ref->instance, ref->name);
    Error *err = destination_password(work, object, edit);
    if (!err)
        err = fields_edit(work, object, edit);
    if (!err)
        err = relay_follow(work, object, edit);
    if (!err)
        err = work_put(work, object, NULL, true);
    if (!err && ref->kind == MAIL__OBJECT__BODY_INSTANCE)
        err = work_postmaster(work, ref->name);
    return err;
}

static Error *modify(Work *work, const ObjectRef *ref, Object *there, const Mail__ObjectEdit *edit)
{
    DEFER(object_free) Object *object = NULL;

    if (!there && !is_always_there(ref->kind))
        return work->rules.lenient ? NULL : named_missing(work->store, ref);
    object = there ? object_clone(there) : object_new(ref->kind, ref->instance, ref->name);
    Error *err = fields_edit(work, object, edit);
    if (!err)
        err = relay_follow(work, object, edit);
    if (err)
        return err;
    if (is_always_there(ref->kind) && says_nothing(object))
        return there ? work_remove(work, ref, NULL) : NULL;
    return work_put(work, object, NULL, !there);
}

static Error *take_away(Work *work, const ObjectRef *ref, const Object *there)
{
    if (!there)
        return work->rules.lenient ? NULL : named_missing(work->store, ref);
    return work_remove(work, ref, NULL);
}

/* ---- one edit ---- */

/* The role is asked before anything is looked up: who may not change it learns nothing from the answer. */
static Error *may_at_all(const Work *work, const Mail__ObjectEdit *edit)
{
    Kind kind = MAIL__OBJECT__BODY__NOT_SET;
    Error *err = edit->ref ? named_kind(edit->ref->kind, &kind) : error_new(ERROR_INVALID, "no object is named");

    return err ? err : work_may(work, kind, edit->verb, NULL);
}

static const char *instance_of(const ObjectRef *ref)
{
    if (ref->kind == MAIL__OBJECT__BODY_INSTANCE)
        return ref->name;
    return *ref->instance ? ref->instance : NULL;
}

static Error *edit_work(Work *work, const Mail__ObjectEdit *edit)
{
    DEFER(named_done) Named named = {.kind = MAIL__OBJECT__BODY__NOT_SET};
    DEFER(object_free) Object *there = NULL;
    Error *err = may_at_all(work, edit);

    if (!err)
        err = named_resolve(work->store, edit->ref, &named);
    if (err)
        return err;
    ObjectRef ref = named_ref(&named);
    err = work_may(work, named.kind, edit->verb, instance_of(&ref));
    if (!err)
        err = store_get(work->store, &ref, 0, &there);
    if (err)
        return err;
    switch (edit->verb) {
    case MAIL__VERB__ADD:
        return add(work, &ref, there, edit);
    case MAIL__VERB__MODIFY:
        return modify(work, &ref, there, edit);
    case MAIL__VERB__REMOVE:
        if (edit->n_fields)
            return error_new(ERROR_INVALID, "%s: remove takes no fields", object_title(&ref).text);
        return take_away(work, &ref, there);
    default:
        return error_new(ERROR_UNSUPPORTED, "verb %d is not known here", (int)edit->verb);
    }
}

Error *change_work(Work *work, Mail__ObjectEdit *const *edits, size_t n_edits)
{
    Error *err = NULL;

    if (n_edits == 0)
        return error_new(ERROR_INVALID, "nothing to change was named");
    for (size_t i = 0; !err && i < n_edits; i++)
        err = edit_work(work, edits[i]);
    return err ? err : work_finish(work);
}

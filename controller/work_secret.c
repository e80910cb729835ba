#include "work_secret.h"

#include "base/alloc.h"
#include "model/value.h"

/* ---- given ---- */

static Error *same_as(Work *work, uint64_t id, const Secret *secret, bool *ret_same)
{
    DEFER(secret_free) Secret *there = NULL;
    Error *err = id ? store_secret(work->store, id, &there) : NULL;

    *ret_same = !err && there && secret_equal(there, secret);
    return err;
}

static Error *number_set(Work *work, Object *object, const FieldMeta *field, const Secret *secret, uint64_t was)
{
    ObjectRef ref = object_ref(object);
    uint64_t id = was;
    bool same = false;
    Error *err = same_as(work, was, secret, &same);

    if (!err && !same)
        err = store_secret_add(work->store, object_scope(&ref).text, secret, &id);
    if (!err)
        secret_field_set(object, field, id);
    return err;
}

Error *work_secret_set(Work *work, Object *object, const FieldMeta *field, const Secret *secret)
{
    uint64_t was = secret_field_id(object, field);

    return number_set(work, object, field, secret, was);
}

Error *work_secret_given(Work *work, Object *object, const Mail__FieldEdit *edit, uint64_t was)
{
    const FieldMeta *field = meta_field(kind_info(object->body_case)->meta, edit->field);

    if (!field || !field->secret || secret_field_id(object, field) != SECRET_GIVEN)
        return NULL;
    DEFER(secret_free) Secret *secret = secret_new(edit->secret.data, edit->secret.len);
    return number_set(work, object, field, secret, was);
}

/* ---- of a file ---- */

static const Secret *given_to(const FieldMeta *field, const GivenSecret *given, size_t n_given)
{
    for (size_t i = 0; i < n_given; i++)
        if (given[i].field == field)
            return given[i].secret;
    return NULL;
}

static Error *kept_number(const Object *before, const SecretUse *use, uint64_t *ret_id)
{
    DEFER(xfree) char *title = field_title(use->field);

    *ret_id = before ? secret_field_id(before, use->field) : 0;
    if (use->id != SECRET_KEPT)
        return error_new(ERROR_INVALID, "%s: a secret is not stated by its number", title);
    if (*ret_id || use->field->computed) /* the controller makes it */
        return NULL;
    return error_hint(error_new(ERROR_INVALID, "%s: '" SECRET_HIDDEN "' keeps what is stored, and nothing is", title),
                      "leave user and password out, and set them by mailctl afterwards");
}

Error *work_secrets_stated(Work *work, Object *object, const GivenSecret *given, size_t n_given)
{
    ObjectRef ref = object_ref(object);
    SecretUse uses[OBJECT_SECRETS_MAX];
    DEFER(object_free) Object *before = NULL;
    size_t n = object_secrets(object, uses);
    Error *err = n ? store_get(work->store, &ref, 0, &before) : NULL;

    for (size_t i = 0; !err && i < n; i++) {
        if (uses[i].field->computed && uses[i].id == SECRET_GIVEN) /* the controller makes it, whatever a file says */
            uses[i].id = SECRET_KEPT;
        const Secret *secret = uses[i].id == SECRET_GIVEN ? given_to(uses[i].field, given, n_given) : NULL;
        uint64_t id = 0;
        if (secret) {
            err = number_set(work, object, uses[i].field, secret, before ? secret_field_id(before, uses[i].field) : 0);
            continue;
        }
        err = kept_number(before, &uses[i], &id);
        if (!err)
            secret_field_set(object, uses[i].field, id);
    }
    return err ? error_in(err, "%s", object_title(&ref).text) : NULL;
}

/* ---- of the past ---- */

static Error *restored(Work *work, Object *object, const SecretUse *use)
{
    ObjectRef ref = object_ref(object);
    DEFER(secret_free) Secret *there = NULL;
    DEFER(xfree) char *title = field_title(use->field);
    Error *err = store_secret(work->store, use->id, &there);

    if (err || there)
        return err;
    if (use->field->computed && !use->field->required) { /* the controller makes it anew */
        secret_field_set(object, use->field, 0);
        return NULL;
    }
    if (use->field->required)
        return error_new(ERROR_REFUSED, "%s: %s: it was erased when it was replaced or removed, and cannot come back",
                         object_title(&ref).text, title);
    secret_field_set(object, use->field, 0);
    work_warn(work, "%s: %s must be set again: it was erased when it was replaced or removed", object_title(&ref).text,
              title);
    return NULL;
}

Error *work_secrets_restored(Work *work, Object *object)
{
    SecretUse uses[OBJECT_SECRETS_MAX];
    size_t n = object_secrets(object, uses);
    Error *err = NULL;

    for (size_t i = 0; !err && i < n; i++)
        err = restored(work, object, &uses[i]);
    return err;
}

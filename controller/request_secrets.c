/* The values of one object's secrets: for a recovery sheet, or a file that shall bring everything back.  Told among the events. */
#include "copy.h"
#include "request_inside.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "model/secret_field.h"
#include "seal/secret.h"

#include <stdlib.h>

typedef struct Values {
    Mail__SecretValue list[OBJECT_SECRETS_MAX], *at[OBJECT_SECRETS_MAX];
    Secret *held[OBJECT_SECRETS_MAX];
    size_t n;
} Values;

static void values_done(Values *values)
{
    for (size_t i = 0; i < values->n; i++)
        secret_free(&values->held[i]);
}

/* What was erased is left out. */
static Error *values_read(Store *store, const Object *object, Values *values)
{
    SecretUse uses[OBJECT_SECRETS_MAX];
    size_t n = object_secrets(object, uses);
    Error *err = NULL;

    for (size_t i = 0; !err && i < n; i++) {
        Secret *secret = NULL;
        err = store_secret(store, uses[i].id, &secret);
        if (err || !secret)
            continue;
        Mail__SecretValue *value = &values->list[values->n];
        mail__secret_value__init(value);
        value->has_id = value->has_value = true;
        value->id = uses[i].id;
        value->value =
            (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)secret_data(secret), .len = secret_size(secret)};
        values->at[values->n] = value;
        values->held[values->n++] = secret;
    }
    return err;
}

static Error *object_find(Store *store, const Mail__Ref *wish, Object **ret_object)
{
    DEFER(named_done) Named named = {.kind = MAIL__OBJECT__BODY__NOT_SET};
    Mail__Ref nothing = MAIL__REF__INIT;

    Error *err = named_resolve(store, wish ? wish : &nothing, &named);
    if (err)
        return err;
    ObjectRef ref = named_ref(&named);
    err = store_get(store, &ref, 0, ret_object);
    return err || *ret_object ? err : named_missing(store, &ref);
}

void request_secrets(Ask *ask, Envelope **envelope, Msec now)
{
    Store *store = ask->of->with.store;
    DEFER(object_free) Object *object = NULL;
    DEFER(values_done) Values values = {.n = 0};
    DEFER(buf_done) Buf bytes = {0};
    Envelope answer = MAIL__ENVELOPE__INIT;
    Mail__SecretsAre are = MAIL__SECRETS_ARE__INIT;
    DEFER(secret_free) Secret *key = NULL;
    Error *err = object_find(store, (*envelope)->secrets_read->ref, &object);

    (void)now;
    if (!err)
        err = values_read(store, object, &values);
    if (err) {
        ask_fail(ask, err);
        return;
    }
    ObjectRef ref = object_ref(object);
    events_add(ask->of->with.events, MAIL__FACT_STATE__GOOD, NULL, "secrets shown", "of %s, to %s",
               object_title(&ref).text, ask->asker->who);
    object_pack(object, &bytes);
    are.has_object = true;
    are.object = (ProtobufCBinaryData){.data = bytes.data, .len = bytes.size};
    are.secrets = values.at;
    are.n_secrets = values.n;
    if (object->body_case == MAIL__OBJECT__BODY_DESTINATION) {
        key = store_key_derive(store, COPY_KEY_PURPOSE);
        are.controller_key = (char *)(uintptr_t)secret_text(key);
    }
    answer.body_case = MAIL__ENVELOPE__BODY_SECRETS_ARE;
    answer.secrets_are = &are;
    ask_say(ask, &answer, true);
    ask->answered = true;
}

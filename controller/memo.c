#include "memo.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS = 64 };

struct Memo {
    Object *slots[SLOTS];
};

Memo *memo_new(void)
{
    return xcalloc(1, sizeof(Memo));
}

void memo_free(Memo **memo)
{
    if (!*memo)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        object_free(&(*memo)->slots[i]);
    free(*memo);
    *memo = NULL;
}

static bool text_same(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

bool ref_same(const ObjectRef *a, const ObjectRef *b)
{
    return a->kind == b->kind && text_same(a->name, b->name) && text_same(a->instance, b->instance);
}

/* NULL: nothing of this kind is remembered. */
static Object **slot_of(Memo *memo, const ObjectRef *ref)
{
    unsigned hash = (unsigned)ref->kind;

    if (ref->kind != MAIL__OBJECT__BODY_DOMAIN && ref->kind != MAIL__OBJECT__BODY_INSTANCE)
        return NULL;
    for (const char *c = ref->name; c && *c; c++)
        hash = hash * 31 + (unsigned char)*c;
    return &memo->slots[hash % SLOTS];
}

void memo_forget(Memo *memo, const ObjectRef *ref)
{
    Object **slot = slot_of(memo, ref);

    if (slot)
        object_free(slot);
}

Error *memo_get(Memo *memo, Store *store, const ObjectRef *ref, Object **ret_object)
{
    Object **slot = slot_of(memo, ref);

    if (slot && *slot) {
        ObjectRef known = object_ref(*slot);
        if (ref_same(ref, &known)) {
            *ret_object = object_clone(*slot);
            return NULL;
        }
    }
    Error *err = store_get(store, ref, 0, ret_object);
    if (!err && slot && *ret_object) {
        object_free(slot);
        *slot = object_clone(*ret_object);
    }
    return err;
}

/* memo.h - what was looked up last: a file of 100,000 addresses asks for one domain 100,000 times */
#pragma once
#include "store/store.h"

typedef struct Memo Memo;

Memo *memo_new(void);
void memo_free(Memo **memo);

/* As store_get of now; domains and instances are remembered. */
CHECKED Error *memo_get(Memo *memo, Store *store, const ObjectRef *ref, Object **ret_object);

/* A put or a removal makes what was remembered of it wrong. */
void memo_forget(Memo *memo, const ObjectRef *ref);

bool ref_same(const ObjectRef *a, const ObjectRef *b);

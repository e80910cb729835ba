/* What has been committed: nodes that came and went, whom it concerns, and what many of them need alike.
 *
 * A small revision is looked through once.  When all it changed lies in one scope and no subscription moved, every node
 * of that scope gets the same objects, and its digest moves by the same difference: a thousand nodes cost no question to
 * the store each.  Anything else is asked of the store, node by node, and comes to the same.
 */
#include "node_inside.h"

#include "base/alloc.h"
#include "base/log.h"
#include "model/secret_field.h"

#include <stdlib.h>
#include <string.h>

enum { SHARE_MAX = 64 /* objects */ };

typedef struct Look {
    Nodes *nodes;
    Share share;
    Scope scope;
    Digest plus, minus; /* sums over what came and what went */
    size_t n;
    bool alike;            /* one scope, subscriptions as they were */
    bool much;             /* more than SHARE_MAX: not looked through to the end */
    char *gone[SHARE_MAX]; /* nodes */
    size_t n_gone;
} Look;

void share_done(Share *share)
{
    for (size_t i = 0; i < share->n_objects; i++)
        free(share->objects[i].data);
    for (size_t i = 0; i < share->n_removed; i++)
        mail__ref__free_unpacked(share->removed[i], NULL);
    free(share->objects);
    free(share->removed);
    *share = (Share){0};
}

/* ---- one changed object ---- */

static bool subscription_in(const Subscription *list, size_t n, const Subscription *one)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].node, one->node) == 0 && strcmp(list[i].scope.text, one->scope.text) == 0)
            return true;
    return false;
}

static bool subscriptions_equal(const Object *before, const Object *after)
{
    Subscription then[OBJECT_SUBSCRIPTIONS_MAX], now[OBJECT_SUBSCRIPTIONS_MAX];
    size_t n_then = before ? object_subscriptions(before, then, OBJECT_SUBSCRIPTIONS_MAX) : 0;
    size_t n_now = after ? object_subscriptions(after, now, OBJECT_SUBSCRIPTIONS_MAX) : 0;

    if (n_then != n_now || n_now > OBJECT_SUBSCRIPTIONS_MAX)
        return false;
    for (size_t i = 0; i < n_now; i++)
        if (!subscription_in(then, n_then, &now[i]))
            return false;
    return true;
}

static void sum_object(const Object *object, Digest *sum, Buf *bytes)
{
    object_pack(object, bytes);
    Digest digest = digest_of(bytes->data, bytes->size);
    digest_add(sum, &digest);
}

static void share_removed(Share *share, const ObjectRef *ref)
{
    Mail__Ref *gone = xcalloc(1, sizeof *gone);

    mail__ref__init(gone);
    gone->kind = xstrdup(kind_info(ref->kind)->name);
    gone->instance = ref->instance && ref->instance[0] ? xstrdup(ref->instance) : NULL;
    gone->name = ref->name && ref->name[0] ? xstrdup(ref->name) : NULL;
    share->removed = xrealloc(share->removed, (share->n_removed + 1) * sizeof(Mail__Ref *));
    share->removed[share->n_removed++] = gone;
}

static void share_object(Share *share, const Buf *bytes)
{
    share->objects = xrealloc(share->objects, (share->n_objects + 1) * sizeof *share->objects);
    share->objects[share->n_objects++] = (ProtobufCBinaryData){bytes->size, xmemdup(bytes->data, bytes->size)};
}

static Error *look_at(void *context, const Object *before, const Object *after)
{
    Look *look = context;
    ObjectRef ref = object_ref(after ? after : before);
    Scope scope = object_scope(&ref);
    DEFER(buf_done) Buf old = {0};
    DEFER(buf_done) Buf new = {0};

    if (look->n++ == SHARE_MAX) {
        look->much = true;
        return error_new(ERROR_CONFLICT, "enough"); /* ends the walk, is nobody's error */
    }
    if (ref.kind == MAIL__OBJECT__BODY_NODE && !before)
        node_add(look->nodes, ref.name);
    if (ref.kind == MAIL__OBJECT__BODY_NODE && !after)
        look->gone[look->n_gone++] = xstrdup(ref.name);
    /* What it names by number is fetched node by node. */
    look->alike = look->alike && !kind_has_secrets(ref.kind) && subscriptions_equal(before, after) &&
                  (look->n == 1 || strcmp(scope.text, look->scope.text) == 0);
    look->scope = scope;
    if (before)
        sum_object(before, &look->minus, &old);
    if (after)
        sum_object(after, &look->plus, &new);
    if (after)
        share_object(&look->share, &new);
    else
        share_removed(&look->share, &ref);
    return NULL;
}

/* ---- one revision ---- */

typedef struct Names {
    char **list;
    size_t n, room;
} Names;

static Error *collect_name(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Names *names = context;

    (void)bytes;
    (void)size;
    if (names->n == names->room) {
        names->room = names->room ? names->room * 2 : 64;
        names->list = xrealloc(names->list, names->room * sizeof *names->list);
    }
    names->list[names->n++] = xstrdup(ref->name);
    return NULL;
}

static void names_done(Names *names)
{
    while (names->n)
        free(names->list[--names->n]);
    free(names->list);
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The whole list anew. */
static Error *reload_nodes(Nodes *nodes)
{
    DEFER(names_done) Names names = {0};

    Error *err = store_each(nodes->store, &(StoreFilter){.kind = MAIL__OBJECT__BODY_NODE}, collect_name, &names);
    if (err)
        return err;
    if (names.n)
        qsort(names.list, names.n, sizeof *names.list, name_order);
    for (size_t i = nodes->n; i-- > 0;) {
        const char *name = nodes->list[i]->name;
        if (!names.n || !bsearch(&name, names.list, names.n, sizeof *names.list, name_order))
            node_remove(nodes, name);
    }
    for (size_t i = 0; i < names.n; i++)
        node_add(nodes, names.list[i]);
    return NULL;
}

typedef struct Touch {
    Nodes *nodes;
    const Look *look;
    uint64_t revision;
} Touch;

static Error *touch_node(void *context, const char *name)
{
    const Touch *touch = context;
    Node *node = node_find(touch->nodes, name);

    if (!node || node->revision >= touch->revision)
        return NULL;
    node->previous = node->revision;
    node->revision = touch->revision;
    node->digest_known = node->digest_known && touch->look->alike;
    if (node->digest_known) {
        digest_add(&node->digest, &touch->look->plus);
        digest_subtract(&node->digest, &touch->look->minus);
    }
    return NULL;
}

static Error *learn_one(Nodes *nodes, uint64_t revision)
{
    Look look = {.nodes = nodes, .alike = true};

    Error *err = store_diff(nodes->store, revision - 1, revision, NULL, look_at, &look);
    for (size_t i = 0; i < look.n_gone; i++) {
        if (!err)
            node_remove(nodes, look.gone[i]);
        free(look.gone[i]);
    }
    if (look.much)
        error_free(&err);
    if (!err && look.much)
        err = reload_nodes(nodes);
    look.alike = look.alike && !look.much && look.n;
    if (!err)
        err = store_nodes_touched(nodes->store, revision, touch_node, &(Touch){nodes, &look, revision});
    share_done(&nodes->share);
    if (err || !look.alike) {
        share_done(&look.share);
        return err;
    }
    nodes->share = look.share;
    nodes->share.revision = revision;
    return NULL;
}

void change_learn(Nodes *nodes, Msec now)
{
    uint64_t newest = store_revision(nodes->store);
    Error *err = NULL;

    if (nodes->revision == newest)
        return;
    while (!err && nodes->revision < newest) {
        err = learn_one(nodes, nodes->revision + 1);
        if (!err)
            nodes->revision++;
    }
    if (err && !nodes->learn_failed)
        log_error("a revision is not sent yet, looking again", kv("why", err->what));
    nodes->learn_failed = err;
    error_free(&err);
    nodes->moves++;
    for (size_t i = 0; i < nodes->n && !nodes->learn_failed; i++)
        if (nodes->list[i]->connected)
            delta_send(nodes, nodes->list[i], now);
}

#include "work_replica.h"

#include "work_secret.h"

#include "base/alloc.h"
#include "model/meta.h"
#include "seal/replica.h"

#include <stdlib.h>
#include <string.h>

static bool same_list(char *const *a, size_t n_a, char *const *b, size_t n_b)
{
    if (n_a != n_b)
        return false;
    for (size_t i = 0; i < n_a; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

static bool same_nodes(const Mail__UserDomain *a, const Mail__UserDomain *b)
{
    return a->node && b->node && strcmp(a->node, b->node) == 0 &&
           same_list(a->replicas, a->n_replicas, b->replicas, b->n_replicas) &&
           same_list(a->listen, a->n_listen, b->listen, b->n_listen);
}

static const FieldMeta *pair_field(void)
{
    return meta_field(kind_info(MAIL__OBJECT__BODY_USER_DOMAIN)->meta, "replication");
}

static Error *pair_new(Work *work, Object *object)
{
    const Mail__UserDomain *domain = object->user_domain;
    DEFER(secret_free) Secret *pair = NULL;

    secret_field_set(object, pair_field(), 0);
    Error *err = replica_pair_make(object->name, domain->listen, domain->n_listen, &pair);
    return err ? err : work_secret_set(work, object, pair_field(), pair);
}

Error *replica_pair_follow(Work *work, const Object *before, Object *after)
{
    const Mail__UserDomain *was = before ? before->user_domain : NULL, *is = after->user_domain;
    bool keeps = was && was->replication && same_nodes(was, is);

    secret_field_set(after, pair_field(), keeps ? was->replication : 0); /* whatever a file, or the past, said of it */
    return keeps || !is->n_replicas ? NULL : pair_new(work, after);
}

/* ---- a machine that is trusted no more ---- */

typedef struct Known {
    const char *node;
    Object **list;
    size_t n;
} Known;

static void known_done(Known *known)
{
    for (size_t i = 0; i < known->n; i++)
        object_free(&known->list[i]);
    free(known->list);
}

static Error *known_take(void *context, const Object *object)
{
    Known *known = context;

    if (!object->user_domain->replication || user_domain_role(object->user_domain, known->node) == DIRECTORY_NONE)
        return NULL;
    known->list = xrealloc(known->list, (known->n + 1) * sizeof(Object *));
    known->list[known->n++] = object_clone(object);
    return NULL;
}

Error *replica_pairs_renew(Work *work, const char *node)
{
    DEFER(known_done) Known known = {.node = node};
    Error *err = work->view.each(work->view.self, MAIL__OBJECT__BODY_USER_DOMAIN, NULL, NULL, known_take, &known);

    for (size_t i = 0; !err && i < known.n; i++) {
        DEFER(object_free) Object *after = object_clone(known.list[i]);
        err = pair_new(work, after);
        if (!err)
            err = work_put_along(work, known.list[i], after);
    }
    return err;
}

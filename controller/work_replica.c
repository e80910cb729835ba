#include "work_replica.h"

#include "work_secret.h"

#include "model/meta.h"
#include "seal/replica.h"

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

Error *replica_pair_follow(Work *work, const Object *before, Object *after)
{
    const FieldMeta *field = meta_field(kind_info(after->body_case)->meta, "replication");
    const Mail__UserDomain *was = before ? before->user_domain : NULL, *is = after->user_domain;
    bool keeps = was && was->replication && same_nodes(was, is);
    DEFER(secret_free) Secret *pair = NULL;

    secret_field_set(after, field, keeps ? was->replication : 0); /* whatever a file, or the past, said of it */
    if (keeps || !is->n_replicas)
        return NULL;
    Error *err = replica_pair_make(after->name, is->listen, is->n_listen, &pair);
    return err ? err : work_secret_set(work, after, field, pair);
}

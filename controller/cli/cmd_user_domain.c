/* A user domain: what is stated, and what its mirrors on the nodes are like. */
#include "objects.h"
#include "status.h"

#include "base/alloc.h"
#include "model/validate.h"

#include <stdlib.h>
#include <string.h>

/* Instances that take their users from it. */
typedef struct Users {
    const char *user_domain;
    char **instances;
    size_t n;
} Users;

static void users_done(Users *users)
{
    while (users->n)
        free(users->instances[--users->n]);
    free(users->instances);
}

static void begin_nothing(void *context)
{
    (void)context;
}

static Error *take(void *context, const Object *object)
{
    Users *users = context;

    if (object->body_case != MAIL__OBJECT__BODY_INSTANCE || !object->instance->user_domain ||
        strcmp(object->instance->user_domain, users->user_domain) != 0)
        return NULL;
    users->instances = xrealloc(users->instances, (users->n + 1) * sizeof *users->instances);
    users->instances[users->n++] = xstrdup(object->name);
    return NULL;
}

static bool runs_one(void *context, const Mail__NodeStatus *node)
{
    const Users *users = context;

    for (size_t i = 0; node->instance && i < users->n; i++)
        if (strcmp(node->instance, users->instances[i]) == 0)
            return true;
    return false;
}

static Error *mirrors_show(Cli *cli, Users *users)
{
    DEFER(envelope_free) Envelope *all = NULL;

    Error *err = status_get(cli, NULL, &all);
    for (size_t i = 0; !err && all && i < all->status->n_nodes; i++) {
        DEFER(envelope_free) Envelope *one = NULL;
        if (!runs_one(users, all->status->nodes[i]))
            continue;
        err = status_get(cli, all->status->nodes[i]->name, &one); /* its facts are told when it is named */
        if (!err && one)
            fact_table(cli->out, one->status, "accounts", runs_one, users);
    }
    return err;
}

Error *run_user_domain_show(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__List list = MAIL__LIST__INIT;
    Users users = {0};
    DEFER(xfree) char *name = NULL;

    Error *err = run_show(cli, line, ret_exit);
    if (err || cli->form != OUTPUT_TABLE)
        return err;
    err = name_normalise(MAIL__OBJECT__BODY_USER_DOMAIN, line->key, &name);
    if (err)
        return err;
    users.user_domain = name;
    list.kind = (char *)"instance";
    err = objects_each(cli, &list, begin_nothing, take, &users);
    if (!err && users.n)
        err = mirrors_show(cli, &users);
    users_done(&users);
    return err;
}

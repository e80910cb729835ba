#include "tables/compute.h"

#include "base/alloc.h"
#include "tables/queries.h"
#include "tables/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FEW_USERS = 1000 };

static const char not_complete[] = "451 4.3.0 mail tables are not complete yet";
static const char directory_away[] = "451 4.3.0 the directory of users is away";
static const char match_senders[] = "reject_authenticated_sender_login_mismatch";

void compute_done(Compute *compute)
{
    for (int table = 0; table < N_ROW_TABLES; table++)
        rows_done(&compute->rows[table]);
    groups_done(&compute->groups);
    names_done(&compute->exempt);
    xfree(&compute->settle.example);
}

/* ---- for the parts of it ---- */

Error *compute_object(Compute *compute, Kind kind, const char *name, Object **ret_object)
{
    const StateView *objects = &compute->view->objects;
    ObjectRef ref = {kind, compute->view->instance, name};

    *ret_object = NULL;
    return compute->view->instance ? objects->get(objects->self, &ref, ret_object) : NULL;
}

void compute_row(Compute *compute, RowTable table, const char *const cells[])
{
    rows_add(&compute->rows[table], cells);
}

Error *compute_settle(Compute *compute, RowTable table, const char *first, const char *second)
{
    Rows *rows = &compute->rows[table];

    Error *err = rows_settle(compute->writer, rows, first, second, &compute->settle);
    rows_clear(rows);
    return err;
}

void compute_touch(Touched *touched, char prefix, const char *name)
{
    size_t len = strlen(name);

    if (prefix == 'u') {
        touched_add(touched, TOUCHED_FORWARDERS, name);
    } else if (prefix == 'c') {
        touched_add(touched, TOUCHED_CLIENTS, name);
    } else if (prefix == 'd') {
        touched_add(touched, TOUCHED_DOMAINS, name);
    } else if (prefix == 'a' && len > 2 && strcmp(name + len - 2, "@*") == 0) {
        DEFER(xfree) char *local = xstrndup(name, len - 2);
        touched_add(touched, TOUCHED_LOCALS, local);
    } else if (prefix == 'a') {
        touched_add(touched, TOUCHED_ADDRESSES, name);
    }
}

Error *compute_dependents(Compute *compute, char prefix, const char *name)
{
    DEFER(xfree) char *dst = xasprintf("%c:%s", prefix, name);
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(compute->sql, SQL_DEPENDENTS, &get, "t", dst);
    while (!err && !compute->touched->all && !(err = sql_row(compute->sql, get, &got)) && got) {
        const char *src = sql_column(get, 0);
        if (src[0] && src[1] == ':')
            compute_touch(compute->touched, src[0], src + 2);
    }
    if (get)
        sqlite3_reset(get);
    return err;
}

void compute_edge(Compute *compute, const char *src, const Names *dst)
{
    for (const Name *name = dst->first; name; name = name->hh.next)
        compute_row(compute, ROWS_EDGE, (const char *const[]){src, name->text});
}

/* ---- one row each ---- */

static Error *gate_settle(Compute *compute)
{
    bool open = compute->complete && compute->view->instance;

    compute_row(compute, ROWS_GATE,
                (const char *const[]){"1", open ? NULL : not_complete, compute->away ? directory_away : NULL});
    return compute_settle(compute, ROWS_GATE, "1", NULL);
}

/* Whom the policy exempts now, and whom it did: their rows in login. */
static Error *exempt_read(Compute *compute, const Mail__Policy *policy)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    for (size_t i = 0; i < policy->n_sender_login_exempt; i++) {
        DEFER(xfree) char *name = name_fold(policy->sender_login_exempt[i]);
        names_add(&compute->exempt, name);
    }
    if (!compute->touched->policy)
        return NULL;
    DEFER(names_done) Names before = {0};
    Error *err = sql_start(compute->sql, SQL_EXEMPT, &get, "");
    while (!err && !(err = sql_row(compute->sql, get, &got)) && got) {
        const char *name = sql_column(get, 0);
        names_add(&before, name);
        if (!names_have(&compute->exempt, name))
            touched_add(compute->touched, TOUCHED_USERS, name);
    }
    for (const Name *name = compute->exempt.first; name; name = name->hh.next)
        if (!names_have(&before, name->text))
            touched_add(compute->touched, TOUCHED_USERS, name->text);
    return err;
}

/* Some of them may be full now, or not any more. */
static Error *touch_without_quota(Compute *compute)
{
    const TablesView *view = compute->view;
    sqlite3_stmt *get = NULL;
    bool got = false;

    if (!view->usage)
        return NULL;
    Error *err = sql_start(compute->sql, SQL_WITHOUT_QUOTA, &get, "");
    while (!err && !(err = sql_row(compute->sql, get, &got)) && got)
        if (view->usage(view->usage_self, sql_column(get, 0)))
            touched_add(compute->touched, TOUCHED_USERS, sql_column(get, 0));
    return err;
}

static Error *policy_before(Compute *compute, const char *quota, const char *retention, const char *senders,
                            const char *creators)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(compute->sql, SQL_POLICY, &get, "");
    if (!err)
        err = sql_row(compute->sql, get, &got);
    if (err || !got)
        return err;
    compute->all_users_differ = strcmp(sql_column(get, 0), quota) != 0 || strcmp(sql_column(get, 1), retention) != 0;
    if (strcmp(sql_column(get, 2), senders) != 0)
        compute->touched->all = true; /* every address with a group in it */
    if (strcmp(sql_column(get, 3), creators) != 0)
        compute->settle.public = true;
    bool quota_differs = strcmp(sql_column(get, 0), quota) != 0;
    sqlite3_reset(get);
    return quota_differs ? touch_without_quota(compute) : NULL;
}

static Error *policy_settle(Compute *compute)
{
    DEFER(object_free) Object *object = NULL;
    Mail__Policy none = MAIL__POLICY__INIT;
    char quota[24], retention[24];

    Error *err = compute_object(compute, MAIL__OBJECT__BODY_POLICY, "", &object);
    if (err)
        return err;
    const Mail__Policy *policy = object ? object->policy : &none;
    compute->quota = policy->default_quota;
    compute->groups_send = policy->sender_login_match == MAIL__SENDER_LOGIN_MATCH__INCLUDE_GROUPS;
    const char *senders = compute->groups_send ? "groups" : "users";
    snprintf(quota, sizeof quota, "%" PRIu64, policy->default_quota);
    snprintf(retention, sizeof retention, "%" PRIu64, policy->spam_retention);
    DEFER(xfree) char *creators = public_creators(policy);
    err = policy_before(compute, quota, retention, senders, creators);
    if (!err)
        err = exempt_read(compute, policy);
    if (err)
        return err;
    bool match = policy->sender_login_match != MAIL__SENDER_LOGIN_MATCH__OFF;
    compute_row(compute, ROWS_POLICY,
                (const char *const[]){"1", quota, retention, match ? match_senders : NULL, senders, creators});
    return compute_settle(compute, ROWS_POLICY, "1", NULL);
}

/* What is there whatever is stated. */
static Error *constants_settle(Compute *compute)
{
    compute_row(compute, ROWS_EXPAND, (const char *const[]){CANARY_KEY, CANARY_TARGET});
    Error *err = compute_settle(compute, ROWS_EXPAND, CANARY_KEY, NULL);
    if (!err)
        err = address_domain(compute, MAILBOX_DOMAIN);
    return err ? err : address_domain(compute, EXPAND_DOMAIN);
}

/* ---- everything ---- */

static Error *each_name(Compute *compute, SqlId id, Error *(*each)(Compute *compute, const char *name))
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(compute->sql, id, &get, "");
    while (!err && !(err = sql_row(compute->sql, get, &got)) && got)
        err = each(compute, sql_column(get, 0));
    return err;
}

static Error *stated_domain(void *context, const Object *object)
{
    bool pseudo = strcmp(object->name, MAILBOX_DOMAIN) == 0 || strcmp(object->name, EXPAND_DOMAIN) == 0;

    return pseudo ? NULL : address_domain(context, object->name); /* those are settled already */
}

static Error *stated_public(void *context, const Object *object)
{
    return public_object(context, object);
}

static Error *stated_address(void *context, const Object *object)
{
    Compute *compute = context;
    size_t len = strlen(object->name);
    sqlite3_stmt *get = NULL;
    bool named = false;

    if (len < 2 || strcmp(object->name + len - 2, "@*") != 0)
        return address_object(compute, object);
    DEFER(xfree) char *local = xstrndup(object->name, len - 2);
    Error *err = sql_start(compute->sql, SQL_NAMED, &get, "t", local);
    if (!err)
        err = sql_row(compute->sql, get, &named);
    if (err)
        return err;
    sqlite3_reset(get);
    return named ? NULL : address_local(compute, local); /* once, among the names of the directory */
}

static Error *stated_client(void *context, const Object *object)
{
    return client_named(context, object->name);
}

/* Of users, groups and objects; without an instance there is nothing, and the sweeps empty the tables. */
static Error *everything(Compute *compute)
{
    const TablesView *view = compute->view;
    const StateView *objects = &view->objects;
    bool any = view->instance != NULL;

    memset(compute->settle.n_there, 0, sizeof compute->settle.n_there);
    Error *err = constants_settle(compute);
    if (!err && any)
        err = each_name(compute, SQL_USER_NAMES, people_user);
    if (!err)
        err = sweep_users(compute);
    if (!err && any)
        err = each_name(compute, SQL_GROUP_NAMES, people_group);
    if (!err)
        err = sweep_standing(compute);
    if (!err && any)
        err = objects->each(objects->self, MAIL__OBJECT__BODY_PUBLIC_MAILBOX, view->instance, NULL, stated_public,
                            compute);
    if (!err && any)
        err = each_name(compute, SQL_FORWARDERS, people_forwarder);
    if (!err && any)
        err = objects->each(objects->self, MAIL__OBJECT__BODY_DOMAIN, view->instance, NULL, stated_domain, compute);
    if (!err && any)
        err = objects->each(objects->self, MAIL__OBJECT__BODY_ADDRESS, view->instance, NULL, stated_address, compute);
    if (!err && any)
        err = each_name(compute, SQL_LOCAL_NAMES, address_local);
    if (!err && any)
        err =
            objects->each(objects->self, MAIL__OBJECT__BODY_RELAY_CLIENT, view->instance, NULL, stated_client, compute);
    return err ? err : sweep(compute);
}

/* ---- what was touched ---- */

/* Forwards that lead through what was touched: they are computed before it. */
static Error *touch_readers(Compute *compute)
{
    Error *err = NULL;

    for (const Name *name = compute->touched->sets[TOUCHED_DOMAINS].first; !err && name; name = name->hh.next)
        err = compute_dependents(compute, 'd', name->text);
    for (const Name *name = compute->touched->sets[TOUCHED_LOCALS].first; !err && name; name = name->hh.next)
        err = compute_dependents(compute, 'l', name->text);
    for (const Name *name = compute->touched->sets[TOUCHED_ADDRESSES].first; !err && name; name = name->hh.next) {
        DEFER(xfree) char *local = xstrdup(name->text);
        char *at = strrchr(local, '@');
        if (at)
            *at = '\0';
        err = compute_dependents(compute, 'l', local);
    }
    return err;
}

static Error *touched_run(Compute *compute)
{
    static Error *(*const each[N_TOUCHED_SETS])(Compute * compute, const char *name) = {
        [TOUCHED_BELOW] = people_below,          [TOUCHED_USERS] = people_user,
        [TOUCHED_GROUPS] = people_group,         [TOUCHED_PUBLIC] = public_named,
        [TOUCHED_FORWARDERS] = people_forwarder, [TOUCHED_DOMAINS] = address_domain,
        [TOUCHED_ADDRESSES] = address_named,     [TOUCHED_LOCALS] = address_local,
        [TOUCHED_CLIENTS] = client_named,
    };

    Error *err = touch_readers(compute);
    for (int set = 0; set < N_TOUCHED_SETS; set++)
        for (const Name *name = compute->touched->sets[set].first; !err && name && !compute->touched->all;
             name = name->hh.next) /* grows at its end meanwhile */
            err = each[set](compute, name->text);
    return err;
}

/* Touched is more than half of all there is: everything, each once, costs less than each and what hangs on it. */
static Error *touched_most(Compute *compute)
{
    size_t n = names_count(&compute->touched->sets[TOUCHED_USERS]);
    int64_t all = 0;

    if (n < FEW_USERS || compute->touched->all)
        return NULL;
    Error *err = sql_number(compute->sql->db, "SELECT count(*) FROM account WHERE kind='u'", &all);
    compute->touched->all = !err && (int64_t)n * 2 > all;
    return err;
}

Error *compute_run(Compute *compute)
{
    for (int table = 0; table < N_ROW_TABLES; table++)
        rows_init(&compute->rows[table], (RowTable)table);
    Error *err = gate_settle(compute);
    if (!err)
        err = policy_settle(compute);
    if (!err)
        err = touched_most(compute);
    if (!err && !compute->touched->all && compute->view->instance)
        err = touched_run(compute);
    if (!err && compute->touched->all)
        err = everything(compute);
    return err;
}

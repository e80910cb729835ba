/* Users have made public mailboxes by IMAP: they are stated, with an address, as a revision of the node's (SPEC F-055).
 *
 * A node can have no more stated by this than public mailboxes of the instance that is placed on it, so many within a
 * minute and so many in all, and for each an address that nobody had.
 */
#include "request_inside.h"

#include "base/alloc.h"
#include "base/log.h"
#include "model/name.h"
#include "model/validate.h"

#include <stdlib.h>
#include <string.h>

enum { PUBLIC_MAX = 5000 }; /* of an instance: beyond that only admins add some */

/* What the job works on; it may be worked out more than once. */
typedef struct Make {
    NodeMade made;
    char *instance;
    char **said;      /* for each: what is to be told of it; NULL: nothing */
    size_t n;         /* that the instance has now */
    bool room;        /* there was some at the beginning */
    const char *left; /* the last for which there was no room; NULL: none */
} Make;

/* An instance of which was told that no more are taken. */
typedef struct Full {
    struct Full *next;
    char *instance;
} Full;

typedef struct Making {
    struct Making *next;
    Make *make; /* read when the job is done, and so not its own */
    Job *job;
} Making;

static void make_free(Make *make)
{
    for (size_t i = 0; make->said && i < make->made.n; i++)
        free(make->said[i]);
    free(make->said);
    node_made_done(&make->made);
    free(make->instance);
    free(make);
}

/* ---- one ---- */

static Error *count_one(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    (void)ref;
    (void)bytes;
    (void)size;
    ++*(size_t *)context;
    return NULL;
}

static Error *count(Work *work, const StoreFilter *filter, size_t *ret_n)
{
    size_t n = 0;

    Error *err = store_each(work->store, filter, count_one, &n);
    if (!err)
        *ret_n = n;
    return err;
}

/* What the node says is a stranger's words.  NULL: no public mailbox, or not in its one form. */
static Object *object_of(const Make *make, const Mail__PublicMade *made)
{
    DEFER(object_free) Object *object = NULL;
    DEFER(xfree) char *name = NULL;

    if (!made->name)
        return NULL;
    Error *err = name_normalise(MAIL__OBJECT__BODY_PUBLIC_MAILBOX, made->name, &name);
    if (!err && strcmp(name, made->name) == 0) {
        object = object_new(MAIL__OBJECT__BODY_PUBLIC_MAILBOX, make->instance, name);
        object->public_mailbox->acl = xcalloc(made->n_acl + 1, sizeof *object->public_mailbox->acl);
        for (size_t i = 0; i < made->n_acl; i++)
            object->public_mailbox->acl[object->public_mailbox->n_acl++] = xstrdup(made->acl[i]);
        err = object_validate(object);
    }
    if (err)
        object_free(&object);
    error_free(&err);
    Object *ret = object;
    object = NULL;
    return ret;
}

/* NAME@*; NULL: none, and *ret_why says why, where it was to have one.  Both are the caller's. */
static Error *address_for(Work *work, const Make *make, const Mail__PublicMade *made, char **ret_address,
                          char **ret_why)
{
    DEFER(xfree) char *typed = xasprintf("%s@*", made->name), *address = NULL;
    size_t n = 0;

    if (strchr(made->name, '/'))
        return NULL;
    Error *err = address_key_normalise(typed, &address);
    if (err) {
        *ret_why = xasprintf("no address: %s", err->what);
        error_free(&err);
        return NULL;
    }
    DEFER(xfree) char *prefix = xstrndup(address, strlen(address) - 1);
    if (!made->taken)
        err = count(work,
                    &(StoreFilter){
                        .kind = MAIL__OBJECT__BODY_ADDRESS, .instance = make->instance, .prefix = prefix, .limit = 1},
                    &n);
    if (err)
        return err;
    if (made->taken || n) {
        *ret_why = xasprintf("no address: %s has this name", made->taken ? "a user or group" : "another address");
        return NULL;
    }
    *ret_address = address;
    address = NULL;
    return NULL;
}

static Error *address_put(Work *work, const Make *make, const char *address, const char *mailbox)
{
    DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_ADDRESS, make->instance, address);

    object->address->to = xcalloc(1, sizeof *object->address->to);
    object->address->to[object->address->n_to++] = xasprintf("public:%s", mailbox);
    return work_put(work, object, NULL, true);
}

static Error *make_one(Work *work, Make *make, const Mail__PublicMade *made, char **ret_said)
{
    DEFER(object_free) Object *object = object_of(make, made), *there = NULL;
    DEFER(xfree) char *address = NULL, *why = NULL;

    if (!object)
        return NULL;
    ObjectRef ref = object_ref(object);
    Error *err = store_get(work->store, &ref, 0, &there);
    if (err || there)
        return err;
    if (make->n >= PUBLIC_MAX) {
        make->left = made->name;
        return NULL;
    }
    err = address_for(work, make, made, &address, &why);
    if (!err)
        err = work_put(work, object, NULL, true);
    if (!err && address)
        err = address_put(work, make, address, ref.name);
    if (err)
        return err;
    make->n++;
    *ret_said = xasprintf("%s%s%s", ref.name, address || why ? ": " : "", address ? address : why ? why : "");
    return NULL;
}

static Error *make_work(void *context, Work *work)
{
    Make *make = context;

    make->left = NULL;
    Error *err =
        count(work, &(StoreFilter){.kind = MAIL__OBJECT__BODY_PUBLIC_MAILBOX, .instance = make->instance}, &make->n);
    make->room = make->n < PUBLIC_MAX;
    for (size_t i = 0; !err && i < make->made.n; i++) {
        xfree(&make->said[i]);
        err = make_one(work, make, make->made.list[i], &make->said[i]);
    }
    return err ? err : work_finish(work);
}

/* ---- all that came ---- */

void makings_run(Requests *requests)
{
    NodeMade made;

    while (nodes_take_made(requests->with.nodes, &made)) {
        Make *make = xcalloc(1, sizeof *make);
        *make = (Make){.made = made, .said = xcalloc(made.n, sizeof *make->said)};
        Error *err = named_instance_on(requests->with.store, made.node, &make->instance);
        log_stop(LOG_LEVEL_ERROR, "public mailboxes that users made were not looked at", &err);
        if (!make->instance) {
            make_free(make);
            continue;
        }
        DEFER(xfree) char *who = xasprintf("users of %s", made.node);
        JobOrder order = {.work = make_work, .context = make, .who = who, .via = "IMAP"};
        Making *making = xcalloc(1, sizeof *making);
        *making = (Making){.next = requests->making, .make = make, .job = batch_add(requests->batch, &order)};
        requests->making = making;
    }
}

static Full **full_at(Requests *requests, const char *instance)
{
    Full **at = &requests->full;

    while (*at && strcmp((*at)->instance, instance) != 0)
        at = &(*at)->next;
    return at;
}

static void full_drop(Full **at)
{
    Full *gone = *at;

    *at = gone->next;
    free(gone->instance);
    free(gone);
}

/* True: it is so since now. */
static bool full_now(Requests *requests, const Make *make)
{
    Full **at = full_at(requests, make->instance);

    if (*at && make->room) {
        full_drop(at);
        at = full_at(requests, make->instance);
    }
    if (*at || !make->left)
        return false;
    *at = xcalloc(1, sizeof **at);
    (*at)->instance = xstrdup(make->instance);
    return true;
}

static void finish(Requests *requests, const Making *making)
{
    JobResult result = job_result(making->job);
    const Make *make = making->make;

    if (result.err)
        log_warning("public mailboxes that users made are not stated, they are tried again",
                    kv("node", make->made.node), kv("why", result.err->what));
    for (size_t i = 0; !result.err && i < make->made.n; i++)
        if (make->said[i])
            events_add(requests->with.events, MAIL__FACT_STATE__GOOD, make->made.node, "public mailbox made by IMAP",
                       "%s", make->said[i]);
    if (!result.err && full_now(requests, make))
        events_add(requests->with.events, MAIL__FACT_STATE__DEGRADED, make->made.node,
                   "public mailboxes made by IMAP not taken",
                   "%s has %d: %s, and what else users make, is not listed and has no address until some are removed,"
                   " or mailctl public-mailbox add takes it",
                   make->instance, PUBLIC_MAX, make->left);
}

static void making_free(Making *making)
{
    job_release(&making->job);
    make_free(making->make);
    free(making);
}

void makings_finish(Requests *requests)
{
    for (Making **at = &requests->making; *at;) {
        Making *making = *at;
        if (!job_done(making->job)) {
            at = &making->next;
            continue;
        }
        finish(requests, making);
        *at = making->next;
        making_free(making);
    }
}

void makings_free(Requests *requests)
{
    while (requests->making) {
        Making *next = requests->making->next;
        making_free(requests->making);
        requests->making = next;
    }
    while (requests->full)
        full_drop(&requests->full);
}

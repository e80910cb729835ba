#include "prepare.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "model/meta.h"

#include <stdlib.h>
#include <string.h>

typedef struct Question {
    char *node;
    bool asked; /* false: it was not online */
    bool settled;
    uint64_t ticket;
    char *trouble; /* why nothing is known; NULL: it would do */
} Question;

struct Preparing {
    Question *questions;
    size_t n, room;
    Nodes *nodes; /* that were asked; NULL: none */
    Digest digest;
    uint64_t revision; /* of the store, when it was asked */
};

void preparing_free(Preparing **preparing)
{
    if (!*preparing)
        return;
    for (size_t i = 0; i < (*preparing)->n; i++) {
        const Question *question = &(*preparing)->questions[i];
        if (question->asked && !question->settled)
            nodes_forget((*preparing)->nodes, question->ticket);
        free((*preparing)->questions[i].node);
        free((*preparing)->questions[i].trouble);
    }
    free((*preparing)->questions);
    free(*preparing);
    *preparing = NULL;
}

/* ---- what a node would have ---- */

typedef struct Configuration {
    Buf bytes;
    size_t *ends; /* of each object in 'bytes' */
    size_t n, room;
} Configuration;

static void configuration_done(Configuration *configuration)
{
    buf_done(&configuration->bytes);
    free(configuration->ends);
    *configuration = (Configuration){0};
}

static Error *object_take(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Configuration *configuration = context;

    (void)ref;
    if (configuration->n == configuration->room) {
        configuration->room = configuration->room ? 2 * configuration->room : 8;
        configuration->ends = xrealloc(configuration->ends, configuration->room * sizeof *configuration->ends);
    }
    buf_append(&configuration->bytes, bytes, size);
    configuration->ends[configuration->n++] = configuration->bytes.size;
    return NULL;
}

static Error *scope_take(void *context, const char *scope)
{
    names_add(context, scope);
    return NULL;
}

/* The object itself: a look-up that the store keeps ready, a thousand nodes ask for theirs. */
static Error *named_object(Store *store, const ObjectRef *ref, StoreEach *each, void *context)
{
    DEFER(object_free) Object *object = NULL;
    DEFER(buf_done) Buf bytes = {0};
    Error *err = store_get(store, ref, 0, &object);

    if (err || !object)
        return err;
    object_pack(object, &bytes);
    return each(context, ref, bytes.data, bytes.size);
}

/* Objects of one kind in one scope "KIND/NAME": the object of that name itself, or all in that instance. */
static Error *kind_in_scope(Store *store, const KindInfo *info, const char *scope, StoreEach *each, void *context)
{
    const char *name = strchr(scope, '/');
    size_t kind_len = name ? (size_t)(name - scope) : strlen(scope);

    if (!name)
        return NULL;
    if (strlen(info->name) == kind_len && strncmp(info->name, scope, kind_len) == 0)
        return named_object(store, &(ObjectRef){info->kind, "", name + 1}, each, context);
    if (!info->meta->in_instance || strncmp(scope, "instance/", 9) != 0)
        return NULL;
    return store_each(store, &(StoreFilter){.kind = info->kind, .instance = name + 1}, each, context);
}

Error *prepare_objects(Store *store, const char *node, StoreEach *each, void *context)
{
    DEFER(names_done) Names scopes = {0};
    Error *err = store_node_scopes(store, node, 0, scope_take, &scopes);

    for (size_t i = 0; !err && i < n_kinds; i++) {
        const KindInfo *info = kind_info(kinds[i]);
        if (info->meta->class_ != MAIL__CLASS__CONFIG)
            continue;
        for (size_t k = 0; !err && k < scopes.n; k++)
            err = kind_in_scope(store, info, scopes.names[k], each, context);
    }
    return err;
}

/* Over the node's name, each object's size, and the octets. */
static Digest configuration_digest(const Configuration *configuration, const char *node)
{
    DEFER(buf_done) Buf all = {0};

    buf_append(&all, node, strlen(node) + 1);
    for (size_t i = 0; i < configuration->n; i++)
        buf_printf(&all, "%zu ", configuration->ends[i]);
    buf_append(&all, configuration->bytes.data, configuration->bytes.size);
    return digest_of(all.data, all.size);
}

/* ---- asking ---- */

static Question *question_add(Preparing *preparing, const char *node)
{
    if (preparing->n == preparing->room) {
        preparing->room = preparing->room ? 2 * preparing->room : 8;
        preparing->questions = xrealloc(preparing->questions, preparing->room * sizeof *preparing->questions);
    }
    Question *question = &preparing->questions[preparing->n++];
    *question = (Question){.node = xstrdup(node)};
    return question;
}

static void ask(Nodes *nodes, const Configuration *configuration, Msec now, Question *question)
{
    ProtobufCBinaryData *objects = xcalloc(configuration->n + 1, sizeof *objects);
    size_t start = 0;

    for (size_t i = 0; i < configuration->n; i++) {
        objects[i] =
            (ProtobufCBinaryData){.len = configuration->ends[i] - start, .data = configuration->bytes.data + start};
        start = configuration->ends[i];
    }
    question->asked = nodes_prepare(nodes, question->node, objects, configuration->n, now, &question->ticket);
    if (!question->asked) {
        question->settled = true;
        question->trouble = xstrdup("it is not online");
    }
    free(objects);
}

/* nodes NULL: only the digest. */
static Error *node_go(Store *store, Nodes *nodes, const char *node, Msec now, Preparing *preparing)
{
    DEFER(configuration_done) Configuration configuration = {.n = 0};
    Error *err = prepare_objects(store, node, object_take, &configuration);

    if (err)
        return err;
    Digest digest = configuration_digest(&configuration, node);
    digest_add(&preparing->digest, &digest);
    if (nodes)
        ask(nodes, &configuration, now, question_add(preparing, node));
    return NULL;
}

static Error *go(Store *store, Nodes *nodes, const Work *work, Msec now, Preparing *preparing)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < work->nodes.n; i++)
        err = node_go(store, nodes, work->nodes.names[i], now, preparing);
    return err;
}

Error *prepare_ask(Store *store, Nodes *nodes, const Work *work, Msec now, Preparing **ret_preparing)
{
    DEFER(preparing_free) Preparing *preparing = xcalloc(1, sizeof *preparing);
    preparing->nodes = nodes;
    Error *err = go(store, nodes, work, now, preparing);

    if (err)
        return err;
    preparing->revision = store_revision(store);
    *ret_preparing = preparing;
    preparing = NULL;
    return NULL;
}

Error *prepare_compare(const Preparing *preparing, Store *store, const Work *work, bool *ret_same)
{
    Preparing now = {.n = 0};

    if (store_revision(store) == preparing->revision) { /* the same work on the same state */
        *ret_same = true;
        return NULL;
    }
    Error *err = go(store, NULL, work, 0, &now);
    if (!err)
        *ret_same = digest_equal(&preparing->digest, &now.digest);
    return err;
}

/* ---- answers ---- */

/* A checker's no is final, and so is what somebody else holds (SPEC F-003: a port); a node that is too old, or has no checker, says nothing about the configuration. */
static Error *answer_take(Question *question, Preparation answer, Error *why)
{
    if (answer == PREPARATION_PENDING)
        return NULL;
    question->settled = true;
    if (answer == PREPARATION_UNKNOWN)
        question->trouble = xstrdup("it gave no answer");
    if (answer != PREPARATION_REFUSED)
        return NULL;
    if (why && why->code == ERROR_CONFLICT)
        return error_in(why, "%s", question->node);
    if (why && why->code != ERROR_REFUSED && why->code != ERROR_INVALID) {
        question->trouble = xstrdup(why->what);
        error_free(&why);
        return NULL;
    }
    if (!why)
        why = error_new(ERROR_REFUSED, "it gave no reason");
    why->code = ERROR_REFUSED;
    why = error_in(why, "%s refused it, nothing was stored", question->node);
    return error_hint(why, "mend it there, then: mailctl node check %s", question->node);
}

bool prepare_settled(Preparing *preparing, Nodes *nodes, Msec now, Error **ret_err)
{
    bool all = true;
    Error *first = NULL;

    for (size_t i = 0; i < preparing->n; i++) {
        Question *question = &preparing->questions[i];
        Error *why = NULL;
        if (question->settled)
            continue;
        Preparation answer = nodes_prepared(nodes, question->ticket, now, &why);
        Error *refused = answer_take(question, answer, why);
        all = all && question->settled;
        if (first)
            error_free(&refused);
        else
            first = refused;
    }
    *ret_err = first;
    return all || first;
}

void prepare_warn(const Preparing *preparing, Work *work)
{
    for (size_t i = 0; i < preparing->n; i++)
        if (preparing->questions[i].trouble)
            work_warn(work, "%s was not asked whether this configuration would do: %s", preparing->questions[i].node,
                      preparing->questions[i].trouble);
}

#include "render/state.h"

#include "base/alloc.h"
#include "model/meta.h"
#include "model/validate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A node has one of most kinds; what asks for more than this is no state of one node. */
enum { STATE_OBJECTS_MAX = 1000 };

/* ---- taken in ---------------------------------------------------------------------- */

static Error *take(NodeState *state, const ProtobufCBinaryData *bytes)
{
    DEFER(object_free) Object *object = NULL;

    Error *err = object_unpack(bytes->data, bytes->len, &object);
    if (!err)
        err = object_validate(object);
    if (err)
        return err;
    assert(object);

    ObjectRef ref = object_ref(object);
    const KindInfo *info = kind_info(ref.kind);
    assert(info);
    if (info->meta->class_ != MAIL__CLASS__CONFIG)
        return error_new(ERROR_INVALID, "%s is no configuration", object_title(&ref).text);
    for (size_t i = 0; i < state->n_objects; i++) {
        ObjectRef there = object_ref(state->objects[i]);
        if (there.kind == ref.kind && strcmp(there.name, ref.name) == 0 && strcmp(there.instance, ref.instance) == 0)
            return error_new(ERROR_INVALID, "%s is stated twice", object_title(&ref).text);
    }
    state->objects[state->n_objects++] = object;
    object = NULL;
    return NULL;
}

static Error *take_all(NodeState *state, const ProtobufCBinaryData *objects, size_t n)
{
    Error *err = NULL;

    if (n > STATE_OBJECTS_MAX)
        return error_new(ERROR_INVALID, "%zu objects of configuration: at most %d", n, STATE_OBJECTS_MAX);
    state->objects = xcalloc(n + 3, sizeof(Object *)); /* and the defaults of settings, filter and tls */
    for (size_t i = 0; !err && i < n; i++)
        err = take(state, &objects[i]);
    return err;
}

/* ---- found ------------------------------------------------------------------------- */

static const Object *find(const NodeState *state, Kind kind, const char *instance, const char *name)
{
    for (size_t i = 0; i < state->n_objects; i++) {
        ObjectRef ref = object_ref(state->objects[i]);
        if (ref.kind == kind && strcmp(ref.instance, instance) == 0 && strcmp(ref.name, name) == 0)
            return state->objects[i];
    }
    return NULL;
}

/* What the node's instance has of this kind; with its defaults where nothing is stated. */
static const Object *find_or_default(NodeState *state, Kind kind)
{
    const Object *object = find(state, kind, state->instance_name, "");

    if (!object)
        object = state->objects[state->n_objects++] = object_new(kind, state->instance_name, "");
    return object;
}

/* While nothing is stated of us, what was sent is ours. */
static bool is_us(const NodeState *state, const char *node)
{
    return node && *node && (!*state->node || strcmp(node, state->node) == 0);
}

static Error *node_find(NodeState *state)
{
    for (size_t i = 0; i < state->n_objects; i++) {
        const Object *object = state->objects[i];
        if (object->body_case != MAIL__OBJECT__BODY_NODE)
            continue;
        if (*state->node)
            return error_new(ERROR_INVALID, "nodes %s and %s: this is one machine", state->node, object->name);
        state->node = object->name;
    }
    return NULL;
}

static Error *instance_find(NodeState *state)
{
    for (size_t i = 0; i < state->n_objects; i++) {
        const Object *object = state->objects[i];
        if (object->body_case != MAIL__OBJECT__BODY_INSTANCE || !object->instance->running ||
            !is_us(state, object->instance->node))
            continue;
        if (state->instance)
            return error_new(ERROR_INVALID, "instances %s and %s: a node runs one", state->instance_name, object->name);
        state->instance_name = object->name;
        state->instance = object->instance;
    }
    return NULL;
}

static Error *user_domain_find(NodeState *state)
{
    const char *name = state->instance->user_domain;
    const Object *object = find(state, MAIL__OBJECT__BODY_USER_DOMAIN, "", name);

    if (!object)
        return error_new(ERROR_INVALID, "instance %s: user-domain %s is not stated", state->instance_name, name);
    state->user_domain_name = object->name;
    state->user_domain = object->user_domain;
    return NULL;
}

static int directory_compare(const void *a, const void *b)
{
    return strcmp(((const DirectoryState *)a)->name, ((const DirectoryState *)b)->name);
}

static void directories_find(NodeState *state)
{
    state->directories = xcalloc(state->n_objects + 1, sizeof *state->directories);
    for (size_t i = 0; i < state->n_objects; i++) {
        const Object *object = state->objects[i];
        if (object->body_case != MAIL__OBJECT__BODY_USER_DOMAIN ||
            object->user_domain->kind != MAIL__USER_DOMAIN_KIND__INTERNAL)
            continue;
        bool replica = user_domain_role(object->user_domain, state->node) == DIRECTORY_REPLICA;
        if (replica || is_us(state, object->user_domain->node))
            state->directories[state->n_directories++] = (DirectoryState){object->name, object->user_domain, replica};
    }
    qsort(state->directories, state->n_directories, sizeof *state->directories, directory_compare);
}

static const char *loopback_of(const Mail__Instance *instance)
{
    for (size_t i = 0; instance && i < instance->n_listen; i++)
        if (strncmp(instance->listen[i], "127.", 4) == 0)
            return instance->listen[i];
    return "127.0.0.1";
}

/* ---- whole ------------------------------------------------------------------------- */

static Error *instance_fill(NodeState *state)
{
    Error *err = user_domain_find(state);
    if (err)
        return err;

    state->settings = find_or_default(state, MAIL__OBJECT__BODY_SETTINGS)->settings;
    state->filter = find_or_default(state, MAIL__OBJECT__BODY_FILTER)->filter;
    state->tls = find_or_default(state, MAIL__OBJECT__BODY_TLS)->tls;
    return NULL;
}

static char *root_copy(const char *root)
{
    size_t len = strlen(root);

    while (len && root[len - 1] == '/')
        len--;
    return xstrndup(root, len);
}

Error *node_state_read(const ProtobufCBinaryData *objects, size_t n, const char *root, NodeState **ret_state)
{
    DEFER(node_state_free) NodeState *state = xcalloc(1, sizeof *state);

    state->root = root_copy(root);
    state->node = "";
    Error *err = take_all(state, objects, n);
    if (!err)
        err = node_find(state);
    if (!err)
        err = instance_find(state);
    if (!err && state->instance)
        err = instance_fill(state);
    if (err)
        return err;
    directories_find(state);
    state->loopback = loopback_of(state->instance);

    *ret_state = state;
    state = NULL;
    return NULL;
}

void node_state_free(NodeState **state)
{
    if (!*state)
        return;
    for (size_t i = 0; i < (*state)->n_objects; i++)
        object_free(&(*state)->objects[i]);
    free((*state)->objects);
    free((*state)->directories);
    free((char *)(*state)->root);
    free(*state);
    *state = NULL;
}

/* diff: what differs between two revisions.
 *
 * Little is asked of the store at once.  Where much differs, both states are walked through side by side, page by page, so
 * that nobody waits for it. */
#include "request_inside.h"

#include "page.h"

#include "base/alloc.h"
#include "model/meta.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE_MAX = 1000 };

typedef struct Side {
    PageCursor cursor;
    Page page;
    size_t at; /* row of the page that is next */
} Side;

typedef struct Found {
    size_t kind_at, instance_at, name_at; /* texts */
    size_t before_at, before_size, after_at, after_size;
    bool before, after;
} Found;

typedef struct Differing {
    uint64_t from, to;
    char *instance; /* NULL: all */
    Names scopes;   /* of the node that is asked about; empty: all */
    bool walking;   /* the two sides, from kind 'kind_at' on */
    size_t kind_at;
    Side before, after;
    bool begun; /* the sides stand in kind_at */

    Found *found; /* not told yet: from 'told' on */
    size_t n, room, told;
    size_t looked; /* objects that take_one was given, also those of other scopes */
    Buf octets;
    bool end;
} Differing;

static bool differing_run(Ask *ask, Msec now);

static void side_reset(Side *side)
{
    page_cursor_done(&side->cursor);
    page_clear(&side->page);
    side->at = 0;
    side->cursor = (PageCursor){.left = SIZE_MAX};
}

static void differing_done(void *data)
{
    Differing *differing = data;

    side_reset(&differing->before);
    side_reset(&differing->after);
    page_done(&differing->before.page);
    page_done(&differing->after.page);
    names_done(&differing->scopes);
    buf_done(&differing->octets);
    free(differing->found);
    free(differing->instance);
    free(differing);
}

static const AskType differing_type = {.run = differing_run, .done = differing_done};

/* ---- what was found ---- */

static size_t octets_add(Differing *differing, const void *data, size_t size)
{
    size_t at = differing->octets.size;

    buf_append(&differing->octets, data, size);
    return at;
}

static size_t text_add(Differing *differing, const char *text)
{
    return octets_add(differing, text ? text : "", strlen(text ? text : "") + 1);
}

static void found_drop(Differing *differing)
{
    buf_clear(&differing->octets);
    differing->n = differing->told = 0;
}

static bool is_wanted(const Differing *differing, const ObjectRef *ref)
{
    Scope scope = object_scope(ref);

    if (differing->scopes.n && !names_has(&differing->scopes, scope.text))
        return false;
    return !differing->instance || strcmp(ref->instance, differing->instance) == 0 ||
           (ref->kind == MAIL__OBJECT__BODY_INSTANCE && strcmp(ref->name, differing->instance) == 0);
}

/* NULL: was not there; is gone. */
static void found_add(Differing *differing, const ObjectRef *ref, const ProtobufCBinaryData *before,
                      const ProtobufCBinaryData *after)
{
    if (!is_wanted(differing, ref))
        return;
    if (differing->n == differing->room) {
        differing->room = differing->room ? 2 * differing->room : 64;
        differing->found = xrealloc(differing->found, differing->room * sizeof *differing->found);
    }
    Found *found = &differing->found[differing->n++];
    *found = (Found){.before = before != NULL, .after = after != NULL};
    found->kind_at = text_add(differing, kind_info(ref->kind)->name);
    found->instance_at = text_add(differing, ref->instance);
    found->name_at = text_add(differing, ref->name);
    if (before) {
        found->before_at = octets_add(differing, before->data, before->len);
        found->before_size = before->len;
    }
    if (after) {
        found->after_at = octets_add(differing, after->data, after->len);
        found->after_size = after->len;
    }
}

/* ---- all at once, as long as it is little ---- */

static const char much_words[] = "much differs";

static Error *take_one(void *context, const Object *before, const Object *after)
{
    Differing *differing = context;
    DEFER(buf_done) Buf was = {0};
    DEFER(buf_done) Buf is = {0};
    ObjectRef ref = object_ref(before ? before : after);

    if (differing->looked++ == AT_ONCE_MAX || differing->octets.size > PAGE_BYTES)
        return error_new(ERROR_CONFLICT, "%s", much_words);
    if (before)
        object_pack(before, &was);
    if (after)
        object_pack(after, &is);
    ProtobufCBinaryData was_bytes = {was.size, was.data}, is_bytes = {is.size, is.data};
    found_add(differing, &ref, before ? &was_bytes : NULL, after ? &is_bytes : NULL);
    return NULL;
}

static Error *take_little(Store *store, Differing *differing)
{
    Error *err = store_diff(store, differing->from, differing->to, differing->instance, take_one, differing);

    if (!err) {
        differing->end = true;
        return NULL;
    }
    if (err->code != ERROR_CONFLICT || strcmp(err->what, much_words) != 0)
        return err;
    error_free(&err);
    found_drop(differing);
    differing->walking = true;
    return NULL;
}

/* ---- side by side ---- */

static void side_begin(Side *side, Kind kind, uint64_t revision)
{
    side_reset(side);
    side->cursor.filter = (StoreFilter){.kind = kind, .revision = revision};
    side->cursor.end = revision == 0; /* the empty beginning */
}

/* *ret_ref: what this side has next; kind 0: nothing more. */
static Error *side_next(Store *store, Side *side, ObjectRef *ret_ref)
{
    *ret_ref = (ObjectRef){0};
    if (side->at == side->page.n && !side->cursor.end) {
        side->at = 0;
        Error *err = page_read(store, &side->cursor, PAGE_OBJECTS, &side->page);
        if (err)
            return err;
    }
    if (side->at < side->page.n)
        *ret_ref = page_ref(&side->page, side->at);
    return NULL;
}

static int ref_order(const ObjectRef *a, const ObjectRef *b)
{
    if (!a->kind || !b->kind)
        return a->kind ? -1 : 1;
    int order = strcmp(a->instance, b->instance);
    return order ? order : strcmp(a->name, b->name);
}

static bool bytes_same(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
    return a->len == b->len && (!a->len || memcmp(a->data, b->data, a->len) == 0);
}

/* One object of one side, or of both. */
static Error *step(Store *store, Differing *differing, bool *ret_more)
{
    ObjectRef was, is;
    Error *err = side_next(store, &differing->before, &was);

    if (!err)
        err = side_next(store, &differing->after, &is);
    if (err)
        return err;
    *ret_more = was.kind || is.kind;
    if (!*ret_more)
        return NULL;
    int order = ref_order(&was, &is);
    ProtobufCBinaryData before = {0}, after = {0};
    if (order <= 0)
        before = page_bytes(&differing->before.page, differing->before.at++);
    if (order >= 0)
        after = page_bytes(&differing->after.page, differing->after.at++);
    if (order != 0 || !bytes_same(&before, &after))
        found_add(differing, order <= 0 ? &was : &is, order <= 0 ? &before : NULL, order >= 0 ? &after : NULL);
    return NULL;
}

/* As much as one turn may take. */
static Error *walk(Store *store, Differing *differing)
{
    Error *err = NULL;

    for (size_t steps = 0; !err && steps < PAGE_OBJECTS && differing->octets.size < PAGE_BYTES; steps++) {
        bool more = false;
        if (differing->kind_at == n_kinds) {
            differing->end = true;
            return NULL;
        }
        if (!differing->begun) {
            side_begin(&differing->before, kinds[differing->kind_at], differing->from);
            side_begin(&differing->after, kinds[differing->kind_at], differing->to);
            differing->begun = true;
        }
        err = step(store, differing, &more);
        if (!err && !more) {
            differing->kind_at++;
            differing->begun = false;
        }
    }
    return err;
}

/* ---- telling ---- */

static void difference_fill(const Differing *differing, const Found *found, Mail__Difference *out, Mail__Ref *ref)
{
    uint8_t *octets = differing->octets.data;

    mail__difference__init(out);
    mail__ref__init(ref);
    ref->kind = (char *)octets + found->kind_at;
    if (octets[found->instance_at])
        ref->instance = (char *)octets + found->instance_at;
    if (octets[found->name_at])
        ref->name = (char *)octets + found->name_at;
    out->ref = ref;
    out->has_before = found->before;
    out->before = (ProtobufCBinaryData){found->before_size, octets + found->before_at};
    out->has_after = found->after;
    out->after = (ProtobufCBinaryData){found->after_size, octets + found->after_at};
}

static bool part_tell(Ask *ask, Differing *differing)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Differences differences = MAIL__DIFFERENCES__INIT;
    size_t left = differing->n - differing->told, n = 0, size = 0;
    Mail__Difference *list = xcalloc(left + 1, sizeof *list);
    Mail__Ref *refs = xcalloc(left + 1, sizeof *refs);

    differences.differences = xcalloc(left + 1, sizeof(Mail__Difference *));
    while (n < left && size < ENVELOPE_PART_BYTES) {
        difference_fill(differing, &differing->found[differing->told + n], &list[n], &refs[n]);
        size += list[n].before.len + list[n].after.len;
        differences.differences[n] = &list[n];
        n++;
    }
    differences.n_differences = n;
    differences.has_from_revision = differences.has_to_revision = true;
    differences.from_revision = differing->from;
    differences.to_revision = differing->to;
    envelope.body_case = MAIL__ENVELOPE__BODY_DIFFERENCES;
    envelope.differences = &differences;
    bool said = ask_say(ask, &envelope, differing->end && n == left);
    free(differences.differences);
    free(list);
    free(refs);
    if (said)
        differing->told += n;
    return said;
}

static bool differing_run(Ask *ask, Msec now)
{
    Differing *differing = ask->data;
    Error *err = NULL;

    ask->at = MSEC_NEVER;
    if (!ask_has_room(ask))
        return false;
    ask->at = now;
    if (differing->told == differing->n && !differing->end) {
        found_drop(differing);
        err = differing->walking ? walk(ask->of->with.store, differing) : take_little(ask->of->with.store, differing);
    }
    if (err) {
        ask_fail(ask, err);
        return true;
    }
    while (differing->told < differing->n || differing->end) {
        if (!part_tell(ask, differing)) {
            ask->at = now + 20;
            return false;
        }
        if (ask->answered)
            return true;
    }
    return false;
}

/* ---- what is asked for ---- */

static Error *scope_take(void *context, const char *scope)
{
    names_add(context, scope);
    return NULL;
}

/* What the node lacks: from what it has applied to the newest, in the scopes that it needed then or needs now. */
static Error *node_take(Requests *requests, const char *node, Msec now, Differing *differing)
{
    Store *store = requests->with.store;
    Mail__NodeStatus **status = NULL;
    size_t n = 0;
    DEFER(xfree) char *name = NULL;
    Error *err = named_node(store, node, &name);

    if (!err)
        err = nodes_status(requests->with.nodes, &(StatusWish){.node = name}, now, &status, &n);
    if (err)
        return err;
    differing->from = n ? status[0]->applied_revision : 0;
    nodes_status_free(&status, n);
    if (differing->from > differing->to)
        return error_hint(error_new(ERROR_CONFLICT,
                                    "node %s has applied revision %" PRIu64 ", which this controller does "
                                    "not have",
                                    name, differing->from),
                          "mailctl node show %s", name);
    err = store_node_scopes(store, name, 0, scope_take, &differing->scopes);
    if (!err && differing->from)
        err = store_node_scopes(store, name, differing->from, scope_take, &differing->scopes);
    if (!err && !differing->scopes.n)
        names_add(&differing->scopes, "");
    return err;
}

static Error *differing_fill(Requests *requests, const Mail__GetDiff *wish, Msec now, Differing *differing)
{
    uint64_t newest = store_revision(requests->with.store);
    uint64_t most = wish->from_revision > wish->to_revision ? wish->from_revision : wish->to_revision;
    Error *err = NULL;

    if (most > newest)
        return error_new(ERROR_NOT_FOUND, "revision %" PRIu64 " does not exist, the newest is %" PRIu64, most, newest);
    differing->from = wish->from_revision;
    differing->to = wish->to_revision ? wish->to_revision : newest;
    if (wish->instance && *wish->instance)
        err = error_in(name_normalise(MAIL__OBJECT__BODY_INSTANCE, wish->instance, &differing->instance), "instance");
    if (!err && wish->node && *wish->node)
        err = node_take(requests, wish->node, now, differing);
    return err;
}

void request_diff(Ask *ask, Envelope **envelope, Msec now)
{
    Differing *differing = xcalloc(1, sizeof *differing);
    Error *err = differing_fill(ask->of, (*envelope)->get_diff, now, differing);

    if (err) {
        differing_done(differing);
        ask_fail(ask, err);
        return;
    }
    ask_keep(ask, &differing_type, differing);
    if (differing_run(ask, now))
        ask->answered = true;
}

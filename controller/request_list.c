/* list: objects as they are, or were, page by page. */
#include "request_inside.h"

#include "page.h"

#include "base/alloc.h"
#include "model/meta.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct Listing {
    PageCursor cursor;
    Page page;
    uint64_t revision;
    char *instance, *name, *prefix; /* what the filter borrows */
    char *to;                       /* only what leads to where it begins so; NULL: all */
} Listing;

static bool listing_run(Ask *ask, Msec now);

static void listing_done(void *data)
{
    Listing *listing = data;

    page_cursor_done(&listing->cursor);
    page_done(&listing->page);
    free(listing->instance);
    free(listing->name);
    free(listing->prefix);
    free(listing->to);
    free(listing);
}

static const AskType listing_type = {.run = listing_run, .done = listing_done};

/* ---- what is asked for ---- */

static bool given(const char *text)
{
    return text && *text;
}

static Error *instance_take(Store *store, const Mail__List *list, Listing *listing)
{
    StoreFilter *filter = &listing->cursor.filter;
    DEFER(object_free) Object *there = NULL;

    if (!given(list->instance) || (filter->kind && !kind_info(filter->kind)->meta->in_instance))
        return NULL;
    Error *err = name_normalise(MAIL__OBJECT__BODY_INSTANCE, list->instance, &listing->instance);
    if (err)
        return error_in(err, "instance");
    filter->instance = listing->instance;
    ObjectRef ref = {MAIL__OBJECT__BODY_INSTANCE, "", listing->instance};
    err = store_get(store, &ref, filter->revision, &there);
    return err || there ? err : named_missing(store, &ref);
}

static Error *name_take(const Mail__List *list, Listing *listing)
{
    StoreFilter *filter = &listing->cursor.filter;

    if (given(list->name) && !filter->kind)
        return error_new(ERROR_INVALID, "name '%s': of which kind?", list->name);
    if (given(list->name)) {
        Error *err = name_normalise(filter->kind, list->name, &listing->name);
        filter->name = listing->name;
        return err ? error_in(err, "%s", kind_info(filter->kind)->name) : NULL;
    }
    if (given(list->prefix)) {
        listing->prefix = xstrdup(list->prefix);
        filter->prefix = listing->prefix;
    }
    return NULL;
}

static Error *after_take(const Mail__List *list, Listing *listing)
{
    PageCursor *cursor = &listing->cursor;
    bool in_instance = cursor->filter.kind && kind_info(cursor->filter.kind)->meta->in_instance;

    if (!given(list->after))
        return NULL;
    if (!cursor->filter.kind || (in_instance && !cursor->filter.instance))
        return error_new(ERROR_INVALID, "after '%s': one kind%s is paged at a time", list->after,
                         cursor->filter.kind ? " in one instance" : "");
    cursor->after_instance = xstrdup(in_instance ? listing->instance : "");
    cursor->after_name = xstrdup(list->after);
    cursor->filter.after = (ObjectRef){cursor->filter.kind, cursor->after_instance, cursor->after_name};
    return NULL;
}

static Error *to_take(const Mail__List *list, Listing *listing)
{
    Kind kind = listing->cursor.filter.kind;

    if (!given(list->to))
        return NULL;
    if (kind != MAIL__OBJECT__BODY_ADDRESS && kind != MAIL__OBJECT__BODY_DOMAIN)
        return error_new(ERROR_INVALID, "to '%s': only addresses, and domains, lead somewhere", list->to);
    if (list->limit)
        return error_new(ERROR_INVALID, "to '%s': all of them, without limit", list->to);
    listing->to = xstrdup(list->to);
    return NULL;
}

static Error *listing_fill(Store *store, const Mail__List *list, Listing *listing)
{
    uint64_t newest = store_revision(store);
    Error *err = given(list->kind) ? named_kind(list->kind, &listing->cursor.filter.kind) : NULL;

    if (!err && list->revision > newest)
        err = error_new(ERROR_NOT_FOUND, "revision %" PRIu64 " does not exist, the newest is %" PRIu64, list->revision,
                        newest);
    /* What changes while pages go out does not mix in. */
    listing->revision = list->revision ? list->revision : newest;
    listing->cursor.filter.revision = listing->revision;
    listing->cursor.left = list->limit ? list->limit : SIZE_MAX;
    if (!err)
        err = instance_take(store, list, listing);
    if (!err)
        err = name_take(list, listing);
    if (!err)
        err = to_take(list, listing);
    return err ? err : after_take(list, listing);
}

/* ---- what leads somewhere ---- */

static bool leads_to(const Object *object, const char *to)
{
    size_t len = strlen(to);

    if (object->body_case == MAIL__OBJECT__BODY_DOMAIN)
        return object->domain->catch_all && strncmp(object->domain->catch_all, to, len) == 0;
    for (size_t i = 0; i < object->address->n_to; i++)
        if (strncmp(object->address->to[i], to, len) == 0)
            return true;
    return false;
}

static Error *leading_keep(Page *page, const char *to)
{
    Error *err = NULL;
    size_t n = 0;

    for (size_t i = 0; !err && i < page->n; i++) {
        DEFER(object_free) Object *object = NULL;
        ProtobufCBinaryData bytes = page_bytes(page, i);
        err = object_unpack(bytes.data, bytes.len, &object);
        if (!err && leads_to(object, to))
            page->rows[n++] = page->rows[i];
    }
    page->n = n;
    return err;
}

/* ---- telling ---- */

static bool part_tell(Ask *ask, Listing *listing)
{
    Page *page = &listing->page;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Listed listed = MAIL__LISTED__INIT;
    size_t n = 0, size = 0;

    listed.objects = xcalloc(page->n - page->told + 1, sizeof *listed.objects);
    while (page->told + n < page->n && size < ENVELOPE_PART_BYTES) {
        listed.objects[n] = page_bytes(page, page->told + n);
        size += listed.objects[n++].len;
    }
    listed.n_objects = n;
    listed.has_revision = true;
    listed.revision = listing->revision;
    envelope.body_case = MAIL__ENVELOPE__BODY_LISTED;
    envelope.listed = &listed;
    bool said = ask_say(ask, &envelope, listing->cursor.end && page->told + n == page->n);
    free(listed.objects);
    if (said)
        page->told += n;
    return said;
}

static bool listing_run(Ask *ask, Msec now)
{
    Listing *listing = ask->data;
    Page *page = &listing->page;

    ask->at = MSEC_NEVER; /* until the peer has read */
    if (!ask_has_room(ask))
        return false;
    ask->at = now;
    if (page->told == page->n) {
        Error *err = page_read(ask->of->with.store, &listing->cursor, PAGE_OBJECTS, page);
        if (!err && listing->to)
            err = leading_keep(page, listing->to);
        if (err) {
            ask_fail(ask, err);
            return true;
        }
        if (!page->n && !listing->cursor.end)
            return false;
    }
    do {
        if (!part_tell(ask, listing)) {
            ask->at = now + 20;
            return false;
        }
    } while (page->told < page->n);
    return ask->answered;
}

/* One object by its name: there or not. */
static bool is_missing(Ask *ask, Listing *listing)
{
    Store *store = ask->of->with.store;
    const StoreFilter *filter = &listing->cursor.filter;

    if (!filter->name)
        return false;
    Error *err = page_read(store, &listing->cursor, PAGE_OBJECTS, &listing->page);
    if (!err && listing->page.n == 0)
        err = named_missing(store, &(ObjectRef){filter->kind, filter->instance, filter->name});
    if (!err)
        return false;
    ask_fail(ask, err);
    return true;
}

void request_list(Ask *ask, Envelope **envelope, Msec now)
{
    Listing *listing = xcalloc(1, sizeof *listing);
    Error *err = listing_fill(ask->of->with.store, (*envelope)->list, listing);

    if (err)
        ask_fail(ask, err);
    if (err || is_missing(ask, listing)) {
        listing_done(listing);
        return;
    }
    ask_keep(ask, &listing_type, listing);
    if (listing_run(ask, now))
        ask->answered = true;
}

#include "page.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

void page_done(Page *page)
{
    buf_done(&page->octets);
    free(page->rows);
    *page = (Page){0};
}

void page_clear(Page *page)
{
    buf_clear(&page->octets);
    page->n = page->told = 0;
}

ObjectRef page_ref(const Page *page, size_t i)
{
    const char *octets = (const char *)page->octets.data;

    return (ObjectRef){page->rows[i].kind, octets + page->rows[i].instance_at, octets + page->rows[i].name_at};
}

ProtobufCBinaryData page_bytes(const Page *page, size_t i)
{
    return (ProtobufCBinaryData){.len = page->rows[i].size, .data = page->octets.data + page->rows[i].bytes_at};
}

static size_t text_add(Page *page, const char *text)
{
    size_t at = page->octets.size;

    buf_append(&page->octets, text ? text : "", strlen(text ? text : "") + 1);
    return at;
}

/* Stops reading; it is no failure. */
static const char full_words[] = "page is full";

static Error *row_take(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Page *page = context;

    if (page->n && page->octets.size + size > PAGE_BYTES)
        return error_new(ERROR_CONFLICT, "%s", full_words);
    if (page->n == page->room) {
        page->room = page->room ? 2 * page->room : 64;
        page->rows = xrealloc(page->rows, page->room * sizeof *page->rows);
    }
    PageRow *row = &page->rows[page->n++];
    *row = (PageRow){.kind = ref->kind, .size = size};
    row->instance_at = text_add(page, ref->instance);
    row->name_at = text_add(page, ref->name);
    row->bytes_at = page->octets.size;
    buf_append(&page->octets, bytes, size);
    return NULL;
}

void page_cursor_done(PageCursor *cursor)
{
    free(cursor->after_instance);
    free(cursor->after_name);
    cursor->after_instance = cursor->after_name = NULL;
}

static void cursor_move(PageCursor *cursor, const Page *page)
{
    ObjectRef last = page_ref(page, page->n - 1);

    page_cursor_done(cursor);
    cursor->after_instance = xstrdup(last.instance);
    cursor->after_name = xstrdup(last.name);
    cursor->filter.after = (ObjectRef){last.kind, cursor->after_instance, cursor->after_name};
}

Error *page_read(Store *store, PageCursor *cursor, size_t limit, Page *page)
{
    bool full = false;

    page_clear(page);
    if (cursor->left < limit)
        limit = cursor->left;
    if (cursor->end || !limit) {
        cursor->end = true;
        return NULL;
    }
    StoreFilter filter = cursor->filter;
    filter.limit = limit;
    if (filter.revision == store_revision(store)) /* the present is read faster than the past */
        filter.revision = 0;
    Error *err = store_each(store, &filter, row_take, page);
    if (err && err->code == ERROR_CONFLICT && strcmp(err->what, full_words) == 0) {
        error_free(&err);
        full = true;
    }
    if (err)
        return err;
    if (cursor->left != SIZE_MAX)
        cursor->left -= page->n;
    cursor->end = !cursor->left || (!full && page->n < limit);
    if (page->n)
        cursor_move(cursor, page);
    return NULL;
}

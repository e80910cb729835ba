/* page.h - rows read from the store, held until the peer takes them
 *
 * Reads do not hold the loop: a slice is read, told in parts of about 64 KB, and what
 * the peer does not take now is told later.  A page is read only when the one before
 * it has been told.
 */
#pragma once
#include "store/store.h"

#include "base/buf.h"

typedef struct PageRow {
    size_t instance_at, name_at, bytes_at, size; /* in 'octets' */
    Kind kind;
} PageRow;

typedef struct Page {
    Buf octets;
    PageRow *rows;
    size_t n, room, told;
} Page;

/* Octets after which reading stops, whatever the limit in rows. */
enum { PAGE_BYTES = 256 * 1024 };

void page_done(Page *page);
void page_clear(Page *page);
ObjectRef page_ref(const Page *page, size_t i);
ProtobufCBinaryData page_bytes(const Page *page, size_t i);

/* Reads on behind 'filter->after', at most 'limit' rows, and moves 'after' (into *ret_after, which owns its strings) to the
 * last row.  *ret_end: nothing is left. */
typedef struct PageCursor {
    StoreFilter filter;
    char *after_instance, *after_name;
    size_t left; /* rows that are still wanted; SIZE_MAX: all */
    bool end;
} PageCursor;
void page_cursor_done(PageCursor *cursor);
CHECKED Error *page_read(Store *store, PageCursor *cursor, size_t limit, Page *page);

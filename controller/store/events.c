/* Events, and which happenings of nodes have become one. */
#include "store/store_inside.h"

#include "base/alloc.h"

#include <stdlib.h>

enum { EVENTS_KEPT = 10000 };

static Error *number_read(Query *query, uint64_t *ret_number)
{
    bool row = false;

    Error *err = query_row(query, &row);
    if (!err)
        *ret_number = row ? query_number(query, 0) : 0;
    return err;
}

static Error *event_newest(Store *store, uint64_t *ret_number)
{
    DEFER(query_done) Query query = {0};

    Error *err = query_start(&store->sql, SQL_EVENT_NEWEST, &query, "");
    return err ? err : number_read(&query, ret_number);
}

static Error *event_write(Store *store, const Mail__EventInfo *event, uint64_t number)
{
    Mail__EventInfo numbered = *event;

    numbered.has_number = true;
    numbered.number = number;
    size_t size = mail__event_info__get_packed_size(&numbered);
    uint8_t *bytes = xmalloc(size);
    mail__event_info__pack(&numbered, bytes);
    Error *err = query_run(&store->sql, SQL_EVENT_ADD, "ikb", (int64_t)number, event->node, bytes, size);
    free(bytes);
    if (!err && number > EVENTS_KEPT)
        err = query_run(&store->sql, SQL_EVENT_TRIM, "i", (int64_t)(number - EVENTS_KEPT));
    return err;
}

Error *store_event_add(Store *store, const Mail__EventInfo *event, uint64_t *ret_number)
{
    uint64_t newest = 0;

    Error *err = fact_begin(store);
    if (err)
        return err;
    err = event_newest(store, &newest);
    if (!err)
        err = event_write(store, event, newest + 1);
    err = fact_end(store, err);
    if (!err)
        *ret_number = newest + 1;
    return err;
}

static Error *event_tell(const Query *query, Error *(*each)(void *context, const Mail__EventInfo *event), void *context)
{
    size_t size = 0;
    const void *bytes = query_bytes(query, 0, &size);

    Mail__EventInfo *event = mail__event_info__unpack(NULL, size, bytes);
    if (!event)
        return sql_damaged(query->sql, "an event does not read back");
    Error *err = each(context, event);
    mail__event_info__free_unpacked(event, NULL);
    return err;
}

Error *store_event_each(Store *store, const char *node, uint64_t after, size_t limit,
                        Error *(*each)(void *context, const Mail__EventInfo *event), void *context)
{
    int64_t most = limit ? (int64_t)limit : -1;
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = node ? query_start(&store->sql, SQL_EVENTS_OF, &query, "iit", (int64_t)after, most, node)
                      : query_start(&store->sql, SQL_EVENTS, &query, "ii", (int64_t)after, most);
    while (!err && !(err = query_row(&query, &row)) && row)
        err = event_tell(&query, each, context);
    return err;
}

static Error *happening_highest(Store *store, const char *node, uint64_t *ret_number)
{
    DEFER(query_done) Query query = {0};

    Error *err = query_start(&store->sql, SQL_HAPPENING, &query, "t", node);
    return err ? err : number_read(&query, ret_number);
}

Error *store_happening_seen(Store *store, const char *node, uint64_t number, bool *ret_new)
{
    uint64_t highest = 0;

    Error *err = happening_highest(store, node, &highest);
    if (err)
        return err;
    if (number <= highest) {
        *ret_new = false;
        return NULL;
    }
    err = fact_begin(store);
    if (err)
        return err;
    err = fact_end(store, query_run(&store->sql, SQL_HAPPENING_SET, "ti", node, (int64_t)number));
    if (!err)
        *ret_new = true;
    return err;
}

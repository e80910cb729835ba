/* Tasks, each kept whole. */
#include "store/store_inside.h"

#include "base/alloc.h"

#include <stdlib.h>

enum { TASKS_KEPT = 10000 };

Error *store_task_put(Store *store, const Mail__TaskInfo *task)
{
    size_t size = mail__task_info__get_packed_size(task);
    uint8_t *bytes = xmalloc(size + 1);
    mail__task_info__pack(task, bytes);

    Error *err = fact_begin(store);
    if (!err) {
        err = query_run(&store->sql, SQL_TASK_PUT, "kb", task->task_id, bytes, size);
        if (!err)
            err = query_run(&store->sql, SQL_TASK_TRIM, "i", (int64_t)TASKS_KEPT);
        err = fact_end(store, err);
    }
    free(bytes);
    return err;
}

static Error *task_tell(const Query *query, Error *(*each)(void *context, const Mail__TaskInfo *task), void *context)
{
    size_t size = 0;
    const void *bytes = query_bytes(query, 0, &size);

    Mail__TaskInfo *task = mail__task_info__unpack(NULL, size, bytes);
    if (!task)
        return sql_damaged(query->sql, "a task does not read back");
    Error *err = each(context, task);
    mail__task_info__free_unpacked(task, NULL);
    return err;
}

Error *store_task_each(Store *store, const char *task_id, size_t limit,
                       Error *(*each)(void *context, const Mail__TaskInfo *task), void *context)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = task_id ? query_start(&store->sql, SQL_TASK, &query, "t", task_id)
                         : query_start(&store->sql, SQL_TASKS, &query, "i", limit ? (int64_t)limit : -1);
    while (!err && !(err = query_row(&query, &row)) && row)
        err = task_tell(&query, each, context);
    return err;
}

/* Tasks and happenings: what the node has to tell, over restarts. */
#include "journal_inside.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

Error *journal_log_prepare(Journal *journal)
{
    Statements *sql = &journal->sql;
    bool row = false;
    DEFER(db_finalize) sqlite3_stmt *newest = NULL;

    Error *err = db_prepare(journal->db, "INSERT INTO happening VALUES(?,?,?,?,?)", &sql->happened);
    if (!err)
        err = db_prepare(journal->db,
                         "SELECT * FROM (SELECT number, severity, what, text, time FROM happening WHERE number > ? "
                         "ORDER BY number DESC LIMIT ?) ORDER BY number",
                         &sql->happenings);
    if (!err)
        err = db_prepare(journal->db,
                         "DELETE FROM happening WHERE number <= "
                         "(SELECT number FROM happening ORDER BY number DESC LIMIT 1 OFFSET ?)",
                         &sql->trim_happenings);
    if (!err)
        err = db_prepare(journal->db, "SELECT id, content, result, seen FROM task WHERE id = ?", &sql->task);
    if (!err)
        err = db_prepare(journal->db, "SELECT id, content, result, seen FROM task WHERE NOT seen ORDER BY number",
                         &sql->tasks);
    if (!err)
        err = db_prepare(journal->db, "INSERT INTO task(id, content) VALUES(?,?)", &sql->task_begin);
    if (!err)
        err = db_prepare(journal->db, "UPDATE task SET result = ? WHERE id = ?", &sql->task_end);
    if (!err)
        err = db_prepare(journal->db, "UPDATE task SET seen = 1 WHERE id = ?", &sql->task_seen);
    if (!err)
        err = db_prepare(journal->db,
                         "DELETE FROM task WHERE seen AND number <= "
                         "(SELECT number FROM task ORDER BY number DESC LIMIT 1 OFFSET ?)",
                         &sql->trim_tasks);
    if (!err)
        err = db_prepare(journal->db, "SELECT max(number) FROM happening", &newest);
    if (!err)
        err = db_row(newest, &row);
    if (!err && row && db_number(newest, 0) > journal->newest_happening)
        journal->newest_happening = db_number(newest, 0);
    return err;
}

static void waiting_drop_first(Journal *journal)
{
    free(journal->waiting[0].what);
    free(journal->waiting[0].text);
    memmove(journal->waiting, journal->waiting + 1, --journal->n_waiting * sizeof *journal->waiting);
}

void journal_log_done(Journal *journal)
{
    while (journal->n_waiting)
        waiting_drop_first(journal);
}

void journal_happened(Journal *journal, Mail__FactState severity, const char *what, const char *format, ...)
{
    struct timespec now;
    va_list args;

    /* Numbers rise over restarts and over a node.db that was begun anew: microseconds since 1970 do, unless a clock
     * is set back just then. */
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t number = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    uint64_t last = journal->n_waiting ? journal->waiting[journal->n_waiting - 1].number : journal->newest_happening;

    if (journal->n_waiting == JOURNAL_WAITING_MAX)
        waiting_drop_first(journal);
    Waiting *row = &journal->waiting[journal->n_waiting++];
    va_start(args, format);
    *row = (Waiting){
        .number = number > last ? number : last + 1,
        .time_s = (uint64_t)now.tv_sec,
        .severity = severity,
        .what = xstrdup(what),
        .text = xvasprintf(format, args),
    };
    va_end(args);
    if (severity == MAIL__FACT_STATE__GOOD)
        log_info(what, kv("text", row->text));
    else
        log_warning(what, kv("text", row->text));
}

Error *journal_log_flush(Journal *journal)
{
    sqlite3_stmt *put = journal->sql.happened, *trim = journal->sql.trim_happenings;
    Error *err = NULL;

    while (!err && journal->n_waiting) {
        const Waiting *row = &journal->waiting[0];
        sqlite3_bind_int64(put, 1, (sqlite3_int64)row->number);
        sqlite3_bind_int(put, 2, (int)row->severity);
        db_bind_text(put, 3, row->what);
        db_bind_text(put, 4, row->text);
        sqlite3_bind_int64(put, 5, (sqlite3_int64)row->time_s);
        err = db_run(put);
        if (err)
            break;
        journal->newest_happening = row->number;
        waiting_drop_first(journal);
        sqlite3_bind_int(trim, 1, JOURNAL_HAPPENINGS);
        err = db_run(trim);
    }
    if (!err)
        journal_wrote(journal);
    return journal_failed(journal, err);
}

uint64_t journal_newest_happening(const Journal *journal)
{
    return journal->newest_happening;
}

Error *journal_happenings(Journal *journal, uint64_t after, size_t limit,
                          Error *(*each)(void *context, const HappeningRow *row), void *context)
{
    sqlite3_stmt *get = journal->sql.happenings;
    bool row = false;

    sqlite3_bind_int64(get, 1, (sqlite3_int64)after);
    sqlite3_bind_int64(get, 2, (sqlite3_int64)limit);
    Error *err = db_row(get, &row);
    while (!err && row) {
        HappeningRow happening = {
            .number = db_number(get, 0),
            .severity = (Mail__FactState)sqlite3_column_int(get, 1),
            .what = (const char *)sqlite3_column_text(get, 2),
            .text = (const char *)sqlite3_column_text(get, 3),
            .time_s = db_number(get, 4),
        };
        err = each(context, &happening);
        if (!err)
            err = db_row(get, &row);
    }
    sqlite3_reset(get);
    return journal_failed(journal, err);
}

Error *journal_tasks(Journal *journal, const char *id, Error *(*each)(void *context, const TaskRow *row), void *context)
{
    sqlite3_stmt *get = id ? journal->sql.task : journal->sql.tasks;
    bool row = false;

    if (id)
        db_bind_text(get, 1, id);
    Error *err = db_row(get, &row);
    while (!err && row) {
        TaskRow task = {
            .id = (const char *)sqlite3_column_text(get, 0),
            .result = sqlite3_column_blob(get, 2),
            .result_size = (size_t)sqlite3_column_bytes(get, 2),
            .seen = sqlite3_column_int(get, 3) != 0,
        };
        if (!digest_from(sqlite3_column_blob(get, 1), (size_t)sqlite3_column_bytes(get, 1), &task.content))
            err = error_new(ERROR_DAMAGED, "task: its content is no digest");
        if (!err)
            err = each(context, &task);
        if (!err)
            err = db_row(get, &row);
    }
    sqlite3_reset(get);
    return journal_failed(journal, err);
}

Error *journal_task_begin(Journal *journal, const char *id, const Digest *content)
{
    sqlite3_stmt *put = journal->sql.task_begin, *trim = journal->sql.trim_tasks;

    CRASH_POINT("agent.task.beginning");
    db_bind_text(put, 1, id);
    sqlite3_bind_blob(put, 2, content->octets, DIGEST_SIZE, SQLITE_STATIC);
    Error *err = db_run(put);
    if (!err) {
        sqlite3_bind_int(trim, 1, JOURNAL_TASKS);
        err = db_run(trim);
    }
    if (!err) {
        CRASH_POINT("agent.task.begun");
        journal_wrote(journal);
    }
    return journal_failed(journal, error_in(err, "task %s", id));
}

Error *journal_task_end(Journal *journal, const Mail__TaskResult *result)
{
    sqlite3_stmt *put = journal->sql.task_end;
    size_t size = mail__task_result__get_packed_size(result);
    DEFER(xfree) uint8_t *bytes = xmalloc(size ? size : 1);

    mail__task_result__pack(result, bytes);
    CRASH_POINT("agent.task.ending");
    sqlite3_bind_blob(put, 1, bytes, (int)size, SQLITE_STATIC);
    db_bind_text(put, 2, result->task_id);
    Error *err = db_run(put);
    if (!err) {
        CRASH_POINT("agent.task.ended");
        journal_wrote(journal);
    }
    return journal_failed(journal, error_in(err, "task %s", result->task_id));
}

Error *journal_task_seen(Journal *journal, const char *id)
{
    db_bind_text(journal->sql.task_seen, 1, id);
    return journal_failed(journal, error_in(db_run(journal->sql.task_seen), "task %s", id));
}

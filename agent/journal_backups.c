/* What became of the backups: the last run of each plan to each destination, over restarts. */
#include "journal_inside.h"

#include "base/crash.h"

Error *journal_backups_prepare(Journal *journal)
{
    Statements *sql = &journal->sql;

    Error *err =
        db_prepare(journal->db,
                   "SELECT plan, destination, since, through, begun, broken, ended, good, text, good_at, snapshot"
                   " FROM backup ORDER BY plan, destination",
                   &sql->backups);
    if (!err)
        err = db_prepare(journal->db, "REPLACE INTO backup VALUES(?,?,?,?,?,?,?,?,?,?,?)", &sql->backup_put);
    if (!err)
        err = db_prepare(journal->db, "DELETE FROM backup WHERE plan=? AND destination=?", &sql->backup_remove);
    return err;
}

Error *journal_backups(Journal *journal, Error *(*each)(void *context, const BackupRow *row), void *context)
{
    sqlite3_stmt *get = journal->sql.backups;
    bool row = false;

    Error *err = db_row(get, &row);
    while (!err && row) {
        BackupRow backup = {
            .plan = (const char *)sqlite3_column_text(get, 0),
            .destination = (const char *)sqlite3_column_text(get, 1),
            .since_s = db_number(get, 2),
            .through_s = db_number(get, 3),
            .begun_s = db_number(get, 4),
            .broken = (unsigned)sqlite3_column_int(get, 5),
            .ended_s = db_number(get, 6),
            .good = sqlite3_column_int(get, 7) != 0,
            .text = (const char *)sqlite3_column_text(get, 8),
            .good_s = db_number(get, 9),
            .snapshot = (const char *)sqlite3_column_text(get, 10),
        };
        err = each(context, &backup);
        if (!err)
            err = db_row(get, &row);
    }
    sqlite3_reset(get);
    return journal_failed(journal, err);
}

Error *journal_backup_put(Journal *journal, const BackupRow *row)
{
    sqlite3_stmt *put = journal->sql.backup_put;

    db_bind_text(put, 1, row->plan);
    db_bind_text(put, 2, row->destination);
    sqlite3_bind_int64(put, 3, (sqlite3_int64)row->since_s);
    sqlite3_bind_int64(put, 4, (sqlite3_int64)row->through_s);
    sqlite3_bind_int64(put, 5, (sqlite3_int64)row->begun_s);
    sqlite3_bind_int(put, 6, (int)row->broken);
    sqlite3_bind_int64(put, 7, (sqlite3_int64)row->ended_s);
    sqlite3_bind_int(put, 8, row->good);
    db_bind_text(put, 9, row->text);
    sqlite3_bind_int64(put, 10, (sqlite3_int64)row->good_s);
    db_bind_text(put, 11, row->snapshot ? row->snapshot : "");
    CRASH_POINT("agent.backup.writing");
    Error *err = db_run(put);
    if (!err) {
        CRASH_POINT("agent.backup.written");
        journal_wrote(journal);
    }
    return journal_failed(journal, error_in(err, "backup %s to %s", row->plan, row->destination));
}

Error *journal_backup_remove(Journal *journal, const char *plan, const char *destination)
{
    sqlite3_stmt *gone = journal->sql.backup_remove;

    db_bind_text(gone, 1, plan);
    db_bind_text(gone, 2, destination);
    return journal_failed(journal, error_in(db_run(gone), "backup %s to %s", plan, destination));
}

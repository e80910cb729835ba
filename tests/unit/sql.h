/* sql.h - a database of a test, written past the product */
#pragma once
#include "expect.h"

#include <sqlite3.h>

static inline void sql_run(const char *path, const char *text)
{
    sqlite3 *db = NULL;
    char *words = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &words) != SQLITE_OK)
        fail_msg("%s", words);
    sqlite3_close(db);
}

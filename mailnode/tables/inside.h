/* inside.h - the Tables for their own files: mail_db.c (one commit), accounts.c (the directory) */
#pragma once
#include "tables/file.h"
#include "tables/mail_db.h"
#include "tables/rows.h"
#include "tables/sql.h"
#include "tables/touched.h"

struct Tables {
    char *path;           /* of mail.db */
    sqlite3 *db, *reader; /* reader: NULL until it is needed */
    FileIds ids;
    Sql sql;
    RowWriter writer;

    bool began;
    Touched touched;
    char *instance; /* as committed; changed by the next commit, as are these */
    uint64_t revision;
    Digest digest;
    bool complete, away;
    bool will_be_complete, will_be_away; /* with this commit */

    size_t n_users, n_groups; /* as committed */
    size_t will_users, will_groups;
    size_t mark_users, mark_groups;

    uint8_t *seen; /* a bit for each account that was named since accounts_begin */
    size_t n_seen; /* octets */

    Names unowned, strangers; /* "alice\nUUID": found by the last commit */
    Names changed;
    const char **changed_list;
    Names left;
    const char **left_list;
    bool all_left, public_changed;
    uint64_t n_rows;
    int64_t gone_first; /* when the first of 'gone' left; 0: none */
};

enum { GONE_S = 600 }; /* F-014: put off for ten minutes */

/* accounts.c: how many there are. */
CHECKED Error *accounts_read(Tables *tables);
/* accounts.c: names that left longer ago are unknown from now on. */
CHECKED Error *accounts_expire(Tables *tables);

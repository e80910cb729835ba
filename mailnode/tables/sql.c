#include "tables/sql.h"

#include "seal/digest.h"
#include "tables/queries.h"

#include <stdarg.h>
#include <string.h>

/* CROSS JOIN fixes the order of the loops: from the few to the many. */
static const struct {
    const char *sql;
} texts[N_SQL] = {
    [SQL_STATE] = {"SELECT revision, digest, instance, complete, away FROM state"},
    [SQL_STATE_SET] = {"UPDATE state SET revision=?1, digest=?2, instance=?3, complete=?4, away=?5"},
    [SQL_POLICY] = {"SELECT quota, spam_retention, senders, creators FROM policy"},
    [SQL_FACTS] = {"SELECT facts FROM standing WHERE name=?1"},
    /* Unordered: a sorter, or the index that has them in order already, costs more than the look-up. */
    [SQL_USER] = {"SELECT uuid, enabled FROM account WHERE kind='u' AND name=?1"},
    [SQL_GROUP] = {"SELECT 1 FROM account WHERE kind='g' AND name=?1 LIMIT 2"},
    [SQL_GONE] = {"SELECT 1 FROM gone WHERE kind=?1 AND name=?2"},
    [SQL_NAMED] = {"SELECT 1 WHERE EXISTS (SELECT 1 FROM account WHERE kind IN ('u', 'g') AND name=?1)"
                   " OR EXISTS (SELECT 1 FROM gone WHERE kind IN ('u', 'g') AND name=?1)"},
    [SQL_PUBLIC] = {"SELECT acl FROM public WHERE name=?1"},
    [SQL_MEMBERS] = {"SELECT kind, name FROM member WHERE grp=?1"},
    [SQL_GROUP_GROUPS] = {"SELECT m.name FROM account a CROSS JOIN member m ON m.grp=a.id AND m.kind='g'"
                          " WHERE a.kind='g' AND a.name=?1"},
    [SQL_GROUP_USERS] = {"SELECT m.name, s.facts FROM account a CROSS JOIN member m ON m.grp=a.id AND m.kind='u'"
                         " LEFT JOIN standing s ON s.name='u:'||m.name WHERE a.kind='g' AND a.name=?1"},
    [SQL_GROUP_MEMBERS] = {"SELECT m.kind, m.name FROM account a CROSS JOIN member m ON m.grp=a.id"
                           " WHERE a.kind='g' AND a.name=?1"},
    [SQL_GROUPS_ABOVE] =
        {"SELECT a.name FROM member m CROSS JOIN account a ON a.id=m.grp WHERE m.kind=?1 AND m.name=?2"},
    [SQL_DEPENDENTS] = {"SELECT src FROM edge WHERE dst=?1"},
    [SQL_EXEMPT] = {"SELECT name FROM login WHERE action='DUNNO'"},
    /* Sorted parts of a UNION are merged, not collected. */
    [SQL_USER_NAMES] =
        {"SELECT name FROM account WHERE kind='u' UNION SELECT name FROM gone WHERE kind='u' ORDER BY 1"},
    [SQL_GROUP_NAMES] =
        {"SELECT name FROM account WHERE kind='g' UNION SELECT name FROM gone WHERE kind='g' ORDER BY 1"},
    [SQL_LOCAL_NAMES] = {"SELECT name FROM account WHERE kind='u' UNION SELECT name FROM gone WHERE kind='u'"
                         " UNION SELECT name FROM account WHERE kind='g'"
                         " UNION SELECT name FROM gone WHERE kind='g' ORDER BY 1"},
    [SQL_FORWARDERS] = {"SELECT substr(name, 3) FROM standing WHERE name>='u:' AND name<'u;'"
                        " AND substr(facts, 1, 7)='forward'"},
    [SQL_USERDB_NAMES] = {"SELECT name FROM userdb LIMIT ?1"},
    [SQL_WITHOUT_QUOTA] = {"SELECT name FROM userdb WHERE quota IS NULL"},
    /* Of who forwards none is full. */
    [SQL_FULL_DIFFERS] = {"SELECT 1 FROM userdb u CROSS JOIN policy p CROSS JOIN standing s ON s.name='u:'||u.name"
                          " WHERE u.name=?1 AND s.facts IN ('open','full') AND (coalesce(u.quota, p.quota)>0"
                          " AND ?2>=coalesce(u.quota, p.quota))<>(s.facts='full')"},
    [SQL_EXPIRED] = {"SELECT kind, name FROM gone WHERE at NOT BETWEEN ?1 AND ?2"},
    [SQL_NEXT_EXPIRY] = {"SELECT min(at) FROM gone"},
    [SQL_ALL_ACCOUNTS] = {"SELECT id, kind, uuid FROM account"},
    [SQL_ACCOUNT] = {"SELECT id, name, full_name, enabled FROM account WHERE kind=?1 AND uuid=?2"},
    [SQL_ACCOUNT_COUNTS] = {"SELECT (SELECT count(*) FROM account WHERE kind='u'),"
                            " (SELECT count(*) FROM account WHERE kind='g')"},
    [SQL_ACCOUNT_NAMED] = {"SELECT 1 FROM account WHERE kind=?1 AND name=?2"},
    [SQL_ACCOUNT_ADD] = {"INSERT INTO account(kind, uuid, name, full_name, enabled) VALUES(?1, ?2, ?3, ?4, ?5)"},
    [SQL_ACCOUNT_SET] = {"UPDATE account SET name=?2, full_name=?3, enabled=?4 WHERE id=?1"},
    [SQL_ACCOUNT_DROP] = {"DELETE FROM account WHERE id=?1"},
    [SQL_MEMBER_ADD] = {"INSERT OR IGNORE INTO member(grp, kind, name) VALUES(?1, ?2, ?3)"},
    [SQL_MEMBER_DROP] = {"DELETE FROM member WHERE grp=?1 AND kind=?2 AND name=?3"},
    [SQL_MEMBERS_DROP] = {"DELETE FROM member WHERE grp=?1"},
    [SQL_GONE_ADD] = {"INSERT OR REPLACE INTO gone(kind, name, at) VALUES(?1, ?2, ?3)"},
    [SQL_GONE_DROP] = {"DELETE FROM gone WHERE kind=?1 AND name=?2"},
    [SQL_PEOPLE] = {"SELECT name, full_name, enabled FROM account WHERE kind='u' ORDER BY name"},
    [SQL_PERSON] = {"SELECT name, full_name, enabled FROM account WHERE kind='u' AND name=?1"},
    [SQL_MAY_SEND] = {"SELECT u.login, l.action, p.login FROM policy p LEFT JOIN userdb u ON u.name=?1"
                      " LEFT JOIN login l ON l.name=?1"},
    /* Through the row of the domain, as QUERY_BEST does: the specific row wins, whoever may send from it. */
    [SQL_SENDERS] = {"SELECT r.local||'@'||d.name AS address FROM rcpt r CROSS JOIN domain d"
                     " ON d.name=r.scope OR d.class=r.scope"
                     " WHERE (r.senders='" SENDERS_ANYONE "' OR instr(','||r.senders||',', ','||?1||',')>0)"
                     " AND d.class<>'!'"
                     " AND (d.name=r.scope OR NOT EXISTS"
                     " (SELECT 1 FROM rcpt s WHERE s.local=r.local AND s.scope=d.name))"
                     " AND r.local||'@'||d.name>?2 ORDER BY address LIMIT ?3"},
    [SQL_ORPHANS] = {"SELECT substr(src, 3), CASE substr(dst, 1, 1) WHEN 'u' THEN 'user:' ELSE 'group:' END"
                     " || substr(dst, 3) FROM edge e WHERE src>='a:'||?1 AND src<'a;' AND substr(src, 3)>?2"
                     " AND substr(src, 3, length(?1))=?1 AND substr(dst, 1, 2) IN ('u:', 'g:')"
                     " AND NOT EXISTS (SELECT 1 FROM account a WHERE a.kind=substr(e.dst, 1, 1)"
                     " AND a.name=substr(e.dst, 3)) ORDER BY src, dst LIMIT ?3"},
};

Error *sql_error(sqlite3 *db, const char *what)
{
    int code = sqlite3_errcode(db);
    bool damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
    return error_new(damaged ? ERROR_DAMAGED : ERROR_SYSTEM, "%s: %s", what, sqlite3_errmsg(db));
}

Error *sql_exec(sqlite3 *db, const char *text)
{
    return sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK ? NULL : sql_error(db, "mail.db");
}

Error *sql_number(sqlite3 *db, const char *text, int64_t *ret_number)
{
    sqlite3_stmt *statement;
    Error *err = NULL;

    if (sqlite3_prepare_v2(db, text, -1, &statement, NULL) != SQLITE_OK)
        return sql_error(db, "mail.db");
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        err = sql_error(db, "mail.db");
    else
        *ret_number = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return err;
}

static void bind(sqlite3_stmt *statement, const char *types, va_list args)
{
    for (int i = 0; types[i]; i++) {
        if (types[i] == 't')
            sqlite3_bind_text(statement, i + 1, va_arg(args, const char *), -1, SQLITE_TRANSIENT);
        else if (types[i] == 'd')
            sqlite3_bind_blob(statement, i + 1, va_arg(args, const Digest *)->octets, DIGEST_SIZE, SQLITE_TRANSIENT);
        else
            sqlite3_bind_int64(statement, i + 1, va_arg(args, int64_t));
    }
}

static Error *start(Sql *sql, SqlId id, sqlite3_stmt **ret_statement, const char *types, va_list args)
{
    sqlite3_stmt *statement = sql->kept[id];

    if (!statement) {
        if (sqlite3_prepare_v3(sql->db, texts[id].sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK)
            return sql_error(sql->db, "mail.db");
        sql->kept[id] = statement;
    }
    sqlite3_reset(statement);
    bind(statement, types, args);
    *ret_statement = statement;
    return NULL;
}

Error *sql_start(Sql *sql, SqlId id, sqlite3_stmt **ret_statement, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    Error *err = start(sql, id, ret_statement, types, args);
    va_end(args);
    return err;
}

Error *sql_row(Sql *sql, sqlite3_stmt *statement, bool *ret_got)
{
    Error *err = NULL;
    int code = sqlite3_step(statement);

    if (code != SQLITE_ROW && code != SQLITE_DONE)
        err = sql_error(sql->db, "mail.db");
    if (code != SQLITE_ROW)
        sqlite3_reset(statement);
    *ret_got = code == SQLITE_ROW;
    return err;
}

Error *sql_run(Sql *sql, SqlId id, const char *types, ...)
{
    sqlite3_stmt *statement = NULL;
    bool got = false;
    va_list args;
    va_start(args, types);
    Error *err = start(sql, id, &statement, types, args);
    va_end(args);
    if (!err)
        err = sql_row(sql, statement, &got);
    if (!err && got)
        sqlite3_reset(statement);
    return err;
}

const char *sql_column(sqlite3_stmt *statement, int column)
{
    return (const char *)sqlite3_column_text(statement, column);
}

void sql_reset(Sql *sql)
{
    for (int i = 0; i < N_SQL; i++)
        sqlite3_reset(sql->kept[i]);
}

void sql_done(Sql *sql)
{
    for (int i = 0; i < N_SQL; i++)
        sqlite3_finalize(sql->kept[i]);
    memset(sql->kept, 0, sizeof sql->kept);
}

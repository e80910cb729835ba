#include "engine/sessions.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BUSY_MS = 2000 };

/* Of mail alone: doveadm itself and deliveries are in Dovecot's list, too. */
static const char *const protocols[] = {"imap", "pop3", "sieve", "managesieve"};

typedef struct Session {
    const char *user;
    pid_t pid;
} Session;

static bool of_mail(const char *protocol)
{
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (strcmp(protocols[i], protocol) == 0)
            return true;
    return false;
}

/* False: a line that is no session. */
static bool session_parse(char *line, Session *out)
{
    char *rest = line, *end = NULL;
    const char *user = strsep(&rest, "\t"), *protocol = strsep(&rest, "\t"), *pid = strsep(&rest, "\t");

    if (!pid || !*user || !of_mail(protocol) || *pid < '1' || *pid > '9')
        return false;
    unsigned long number = strtoul(pid, &end, 10);
    if (*end || number <= 1 || number > 0x7fffffff)
        return false;
    *out = (Session){.user = user, .pid = (pid_t)number};
    return true;
}

static int compare(const void *name, const void *other)
{
    return strcmp(name, *(const char *const *)other);
}

static bool meant(const SessionsOf *of, const char *user)
{
    return !of->nobody && (of->n == 0 || bsearch(user, of->users, of->n, sizeof *of->users, compare));
}

static bool has_left(const SessionsOf *of, const char *user)
{
    return of->all_left || (of->n_left && bsearch(user, of->left, of->n_left, sizeof *of->left, compare));
}

/* 1: may not.  A name that has no row counts only where the gate is open. */
static const char closed_query[] = "SELECT coalesce((SELECT login<>1 FROM userdb WHERE name=?1),"
                                   " EXISTS (SELECT 1 FROM gate WHERE known IS NULL))";

static Error *unreadable(sqlite3 *db)
{
    return error_new(ERROR_UNAVAILABLE, "mail.db: %s", db ? sqlite3_errmsg(db) : "no memory");
}

static Error *ask(sqlite3 *db, sqlite3_stmt *query, const char *user, bool *ret_closed)
{
    if (sqlite3_bind_text(query, 1, user, -1, SQLITE_STATIC) != SQLITE_OK || sqlite3_step(query) != SQLITE_ROW)
        return unreadable(db);
    *ret_closed = sqlite3_column_int(query, 0) != 0;
    sqlite3_reset(query);
    return NULL;
}

static Error *look(sqlite3 *db, sqlite3_stmt *query, Buf *who, const SessionsOf *of,
                   void (*closed)(void *context, pid_t pid), void *context)
{
    char *rest = NULL;
    Error *err = NULL;

    buf_append(who, "", 1); /* an end for strtok */
    for (char *line = strtok_r((char *)who->data, "\n", &rest); line && !err; line = strtok_r(NULL, "\n", &rest)) {
        Session session;
        if (!session_parse(line, &session))
            continue;
        bool is_closed = has_left(of, session.user);
        if (!is_closed && !meant(of, session.user))
            continue;
        if (!is_closed)
            err = ask(db, query, session.user, &is_closed);
        if (!err && is_closed)
            closed(context, session.pid);
    }
    return err;
}

Error *sessions_closed(Buf *who, const char *mail_db, const SessionsOf *of, void (*closed)(void *context, pid_t pid),
                       void *context)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *query = NULL;
    Error *err = NULL;

    if (sqlite3_open_v2(mail_db, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(db, BUSY_MS) != SQLITE_OK ||
        sqlite3_prepare_v2(db, closed_query, -1, &query, NULL) != SQLITE_OK)
        err = unreadable(db);
    if (!err)
        err = look(db, query, who, of, closed, context);
    sqlite3_finalize(query);
    sqlite3_close(db);
    return err;
}

#include "engine/publish.h"

#include "base/alloc.h"
#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RIGHTS "dovecot-acl"
#define STATED "mailnode-acl"

enum { BUSY_MS = 2000, ACL_BYTES_MAX = 1024 * 1024, NAME_OCTETS_MAX = 255 };

/* A name as the model makes them: the agent is not trusted with paths. */
static bool folder_valid(const char *name)
{
    size_t len = strlen(name);

    if (len < 2 || len > NAME_OCTETS_MAX || name[0] != '.' || name[len - 1] == '.' || strstr(name, ".."))
        return false;
    for (; *name; name++)
        if (*name < 0x20 || *name > 0x7e || *name == '/')
            return false;
    return true;
}

static Error *folder_there(const char *path)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST ? NULL : error_in(error_system("mkdir"), "%s", path);
}

/* Maildir++: what marks the folder of a folder comes last, when it is whole. */
static Error *maildir_there(const char *folder)
{
    static const char *const parts[] = {"", "/tmp", "/new", "/cur"};
    DEFER(xfree) char *mark = xasprintf("%s/maildirfolder", folder);
    Error *err = NULL;

    if (access(mark, F_OK) == 0)
        return NULL;
    for (size_t i = 0; !err && i < sizeof parts / sizeof *parts; i++) {
        DEFER(xfree) char *path = xasprintf("%s%s", folder, parts[i]);
        err = folder_there(path);
    }
    return err ? err : file_write(mark, "", 0, 0600, (gid_t)-1);
}

/* Does the file say exactly this? */
static bool says(const char *path, const char *text)
{
    DEFER(buf_done) Buf there = {0};

    Error *err = file_read(path, ACL_BYTES_MAX, &there);
    bool same = !err && there.size == strlen(text) && memcmp(there.data, text, there.size) == 0;
    error_free(&err); /* whatever it is that cannot be read: it is written anew */
    return same;
}

/* The first line of what was stated is the folder's name: one that was renamed by IMAP is another's no longer. */
static Error *rights_there(const char *folder, const char *name, const char *acl)
{
    DEFER(xfree) char *rights = xasprintf("%s/" RIGHTS, folder), *stated = xasprintf("%s/" STATED, folder);
    DEFER(xfree) char *says_now = xasprintf("%s\n%s", name, acl);

    if (says(stated, says_now) && access(rights, F_OK) == 0)
        return NULL;
    Error *err = file_write(rights, acl, strlen(acl), 0600, (gid_t)-1);
    return err ? err : file_write(stated, says_now, strlen(says_now), 0600, (gid_t)-1);
}

static Error *mailbox_there(const char *folder, const char *name, const char *acl)
{
    DEFER(xfree) char *path = NULL;

    if (!name || !acl || !folder_valid(name))
        return error_new(ERROR_INVALID, "mail.db: a public mailbox has no name for a folder");
    path = xasprintf("%s/%s", folder, name);
    Error *err = maildir_there(path);
    return err ? err : rights_there(path, name, acl);
}

/* ---- what is no longer stated ---- */

static Error *gone(const char *path)
{
    return unlink(path) == 0 || errno == ENOENT ? NULL : error_in(error_system("unlink"), "%s", path);
}

static Error *rights_away(const char *folder, const char *name)
{
    DEFER(xfree)
    char *rights = xasprintf("%s/%s/" RIGHTS, folder, name), *stated = xasprintf("%s/%s/" STATED, folder, name),
         *own = xasprintf("%s\n", name);
    DEFER(buf_done) Buf there = {0};

    Error *err = file_read(stated, ACL_BYTES_MAX, &there);
    if (err && err->code == ERROR_NOT_FOUND) {
        error_free(&err);
        return NULL; /* made by IMAP: its rights are its owners' */
    }
    bool renamed = !err && strncmp(buf_text(&there), own, strlen(own)) != 0;
    error_free(&err);
    if (!renamed)
        err = gone(rights);
    return err ? err : gone(stated);
}

static Error *is_stated(sqlite3 *db, sqlite3_stmt *query, const char *name, bool *ret_stated)
{
    sqlite3_reset(query);
    sqlite3_bind_text(query, 1, name, -1, SQLITE_STATIC);
    int code = sqlite3_step(query);
    if (code != SQLITE_ROW)
        return error_new(ERROR_UNAVAILABLE, "mail.db: %s", sqlite3_errmsg(db));
    *ret_stated = sqlite3_column_int(query, 0) != 0;
    return NULL;
}

static Error *others_away(sqlite3 *db, const char *folder)
{
    sqlite3_stmt *query = NULL;
    DIR *dir = opendir(folder);
    Error *err = NULL;

    if (!dir)
        return error_in(error_system("open"), "%s", folder);
    if (sqlite3_prepare_v2(db, "SELECT EXISTS (SELECT 1 FROM public WHERE folder=?1)", -1, &query, NULL) != SQLITE_OK)
        err = error_new(ERROR_UNAVAILABLE, "mail.db: %s", sqlite3_errmsg(db));
    for (struct dirent *entry; !err && (entry = readdir(dir));) {
        bool stated = true;
        if (folder_valid(entry->d_name))
            err = is_stated(db, query, entry->d_name, &stated);
        if (!err && !stated)
            err = rights_away(folder, entry->d_name);
    }
    sqlite3_finalize(query);
    closedir(dir);
    return err;
}

/* ---- all of them ---- */

static Error *each_there(sqlite3 *db, const char *folder)
{
    sqlite3_stmt *query = NULL;
    Error *err = NULL;
    int code = SQLITE_DONE;

    if (sqlite3_prepare_v2(db, "SELECT folder, acl FROM public", -1, &query, NULL) != SQLITE_OK)
        return error_new(ERROR_UNAVAILABLE, "mail.db: %s", sqlite3_errmsg(db));
    while (!err && (code = sqlite3_step(query)) == SQLITE_ROW)
        err = mailbox_there(folder, (const char *)sqlite3_column_text(query, 0),
                            (const char *)sqlite3_column_text(query, 1));
    if (!err && code != SQLITE_DONE)
        err = error_new(ERROR_UNAVAILABLE, "mail.db: %s", sqlite3_errmsg(db));
    sqlite3_finalize(query);
    return err;
}

/* Rows of an empty or closed mail.db say nothing about what there should be. */
static Error *is_open(sqlite3 *db, bool *ret_open)
{
    sqlite3_stmt *query = NULL;

    if (sqlite3_prepare_v2(db, "SELECT EXISTS (SELECT 1 FROM gate)", -1, &query, NULL) != SQLITE_OK ||
        sqlite3_step(query) != SQLITE_ROW) {
        sqlite3_finalize(query);
        return error_new(ERROR_UNAVAILABLE, "mail.db: %s", sqlite3_errmsg(db));
    }
    *ret_open = sqlite3_column_int(query, 0) != 0;
    sqlite3_finalize(query);
    return NULL;
}

/* One transaction: what is there and what is not any more are of one revision. */
static Error *publish_from(sqlite3 *db, const char *folder)
{
    bool open = false;

    if (sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        return error_new(ERROR_UNAVAILABLE, "mail.db: %s", sqlite3_errmsg(db));
    Error *err = is_open(db, &open);
    if (!err && open)
        err = each_there(db, folder);
    if (!err && open)
        err = others_away(db, folder);
    return err;
}

Error *publish(const char *mail_db, const char *folder)
{
    sqlite3 *db = NULL;
    Error *err = NULL;

    if (sqlite3_open_v2(mail_db, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(db, BUSY_MS) != SQLITE_OK)
        err = error_new(ERROR_UNAVAILABLE, "mail.db: %s", db ? sqlite3_errmsg(db) : "no memory");
    if (!err)
        err = publish_from(db, folder);
    sqlite3_close(db);
    return err;
}

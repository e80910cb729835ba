#include "engine/publish.h"

#include "base/alloc.h"
#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RIGHTS PUBLISH_RIGHTS
#define STATED PUBLISH_STATED
#define ANYONE "anyone"

enum { BUSY_MS = 2000, COMING_S = 10, ACL_BYTES_MAX = 1024 * 1024, NAME_OCTETS_MAX = 255 };

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

bool publish_is_folder(const struct dirent *entry)
{
    return folder_valid(entry->d_name) && (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN);
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

bool publish_stated(const char *path, const char *name)
{
    DEFER(xfree) char *stated = xasprintf("%s/" STATED, path), *own = xasprintf("%s\n", name);
    DEFER(buf_done) Buf there = {0};

    Error *err = file_read(stated, ACL_BYTES_MAX, &there);
    bool is = !err && strncmp(buf_text(&there), own, strlen(own)) == 0;
    error_free(&err);
    return is;
}

/* It may be that Dovecot has made it just now, and not yet copied the list of the folder above. */
static bool is_old(const char *path)
{
    struct stat st;
    time_t now = time(NULL);

    return stat(path, &st) == 0 && (st.st_mtime > now || st.st_mtime + COMING_S <= now);
}

/* The list is emptied, not removed: without one it would look as if Dovecot was just making the folder.  One that was made or
 * renamed by IMAP has the rights that its owners gave it. */
static Error *rights_away(const char *folder, const char *name)
{
    DEFER(xfree)
    char *path = xasprintf("%s/%s", folder, name), *stated = xasprintf("%s/" STATED, path),
         *rights = xasprintf("%s/" RIGHTS, path);
    Error *err = NULL;

    if (publish_stated(path, name) || (access(rights, F_OK) != 0 && is_old(path)))
        err = file_write(rights, "", 0, 0600, (gid_t)-1);
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
        if (publish_is_folder(entry))
            err = is_stated(db, query, entry->d_name, &stated);
        if (!err && !stated)
            err = rights_away(folder, entry->d_name);
    }
    sqlite3_finalize(query);
    closedir(dir);
    return err;
}

/* ---- who may make them ---- */

/* "anyone" alone: who is in no other line has no right. */
static bool line_closes(const char *line, size_t len)
{
    return strncmp(line, ANYONE, strlen(ANYONE)) == 0 && strspn(line + strlen(ANYONE), " ") == len - strlen(ANYONE);
}

static bool line_is_anyones(const char *line)
{
    return strncmp(line, ANYONE, strlen(ANYONE)) == 0 && strchr(" \n", line[strlen(ANYONE)]);
}

/* Creators have their rights wherever they are not in the list, nor anyone is: the list says that anyone has none. */
static Error *list_close(const char *path, bool creators)
{
    DEFER(xfree) char *rights = xasprintf("%s/" RIGHTS, path);
    DEFER(buf_done) Buf there = {0}, now = {0};
    bool anyone = false;

    Error *err = file_read(rights, ACL_BYTES_MAX, &there);
    if (err && err->code == ERROR_NOT_FOUND) {
        error_free(&err);
        return NULL; /* Dovecot has yet to write it */
    }
    if (err && err->code == ERROR_INVALID && !creators) {
        error_free(&err);
        return NULL; /* whatever it is: nothing of it is ours */
    }
    if (err && err->code == ERROR_INVALID) {
        error_free(&err);
        return file_write(rights, ANYONE "\n", strlen(ANYONE "\n"), 0600, (gid_t)-1);
    }
    if (err)
        return err;
    for (const char *line = buf_text(&there), *next = NULL; *line; line = next) {
        size_t len = strcspn(line, "\n");
        next = line + len + (line[len] == '\n');
        if (!creators && line_closes(line, len))
            continue;
        anyone = anyone || line_is_anyones(line);
        buf_printf(&now, "%.*s\n", (int)len, line);
    }
    if (creators && !anyone)
        buf_append_text(&now, ANYONE "\n");
    return now.size == there.size ? NULL : file_write(rights, now.data, now.size, 0600, (gid_t)-1);
}

static Error *lists_close(const char *folder, bool creators)
{
    DEFER(dir_close) DIR *dir = opendir(folder);
    Error *err = NULL;

    if (!dir)
        return error_in(error_system("open"), "%s", folder);
    for (struct dirent *entry; !err && (entry = readdir(dir));) {
        DEFER(xfree) char *path = xasprintf("%s/%s", folder, entry->d_name);
        if (publish_is_folder(entry))
            err = list_close(path, creators);
    }
    return err;
}

static Error *creators_read(sqlite3 *db, char **ret_creators)
{
    sqlite3_stmt *query = NULL;

    if (sqlite3_prepare_v2(db, "SELECT creators FROM policy", -1, &query, NULL) != SQLITE_OK)
        return error_new(ERROR_UNAVAILABLE, "mail.db: %s", sqlite3_errmsg(db));
    const char *creators = sqlite3_step(query) == SQLITE_ROW ? (const char *)sqlite3_column_text(query, 0) : NULL;
    free(*ret_creators);
    *ret_creators = xstrdup(creators ? creators : "");
    sqlite3_finalize(query);
    return NULL;
}

/* No list is open while somebody is in this one. */
static Error *creators_there(const char *folder, const char *creators)
{
    DEFER(xfree) char *rights = xasprintf("%s/" RIGHTS, folder);

    Error *err = *creators ? NULL : gone(rights);
    if (!err)
        err = lists_close(folder, *creators);
    if (!err && *creators && !says(rights, creators))
        err = file_write(rights, creators, strlen(creators), 0600, (gid_t)-1);
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
    DEFER(xfree) char *creators = xstrdup("");
    bool open = false;

    if (sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        return error_new(ERROR_UNAVAILABLE, "mail.db: %s", sqlite3_errmsg(db));
    Error *err = is_open(db, &open);
    if (err || !open)
        return err;
    err = creators_read(db, &creators);
    if (!err)
        err = each_there(db, folder);
    if (!err)
        err = others_away(db, folder);
    return err ? err : creators_there(folder, creators);
}

/* One after the other: each reads what is newest when its turn has come. */
static Error *turn_take(const char *folder, int *ret_fd)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        Error *err = error_in(error_system(fd < 0 ? "open" : "flock"), "%s", folder);
        fd_close(&fd);
        return err;
    }
    *ret_fd = fd;
    return NULL;
}

Error *publish(const char *mail_db, const char *folder)
{
    DEFER(fd_close) int turn = -1;
    sqlite3 *db = NULL;

    Error *err = turn_take(folder, &turn);
    if (err)
        return err;
    if (sqlite3_open_v2(mail_db, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(db, BUSY_MS) != SQLITE_OK)
        err = error_new(ERROR_UNAVAILABLE, "mail.db: %s", db ? sqlite3_errmsg(db) : "no memory");
    if (!err)
        err = publish_from(db, folder);
    sqlite3_close(db);
    return err;
}

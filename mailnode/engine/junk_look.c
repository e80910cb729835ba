/* Whose junk folder holds what may have to go: by names and times of files, as cheap as that can be. */
#include "engine/junk.h"

#include "base/alloc.h"
#include "model/mutf7.h"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUSY_MS = 2000 };

static const char users_query[] = "SELECT u.name, coalesce(u.spam_retention, p.spam_retention) FROM userdb u"
                                  " CROSS JOIN policy p WHERE u.name > ?1"
                                  " AND coalesce(u.spam_retention, p.spam_retention) > 0 ORDER BY u.name";

/* "Spam/Old" is the folder .Spam.Old: Maildir++. */
static char *folder_name(const char *junk_folder)
{
    DEFER(xfree) char *on_disk = mutf7_of(junk_folder);

    for (char *at = on_disk; *at; at++)
        if (*at == '/')
            *at = '.';
    return xasprintf(".%s", on_disk);
}

/* A file's name begins with the second in which it came into this folder; a flag that changes moves its ctime alone.  Which
 * of them is right does not matter here: doveadm looks again. */
static bool is_old(int folder, const char *name, uint64_t before_s)
{
    struct stat st;

    if (*name == '.')
        return false;
    if (*name >= '0' && *name <= '9' && strtoull(name, NULL, 10) < before_s)
        return true;
    return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (uint64_t)st.st_ctime < before_s;
}

/* What is not there holds nothing. */
static bool holds_old(const char *mail, const char *user, const char *folder, const char *part, uint64_t before_s)
{
    DEFER(xfree) char *path = xasprintf("%s/%s/Maildir/%s/%s", mail, user, folder, part);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    bool found = false;

    if (fd >= 0 && !dir)
        close(fd);
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));)
        found = is_old(dirfd(dir), entry->d_name, before_s);
    if (dir)
        closedir(dir);
    return found;
}

/* The tables are the agent's: no name leads elsewhere. */
static bool is_name(const char *user)
{
    return user && *user && *user != '.' && !strpbrk(user, "/\n");
}

typedef struct Looking {
    const char *mail, *folder;
    uint64_t now_s;
    JunkFound *found;
    void *context;
} Looking;

static bool user_look(const Looking *looking, const char *user, uint64_t retention_s)
{
    if (!is_name(user) || retention_s >= looking->now_s)
        return false;
    uint64_t before_s = looking->now_s - retention_s;
    if (!holds_old(looking->mail, user, looking->folder, "cur", before_s) &&
        !holds_old(looking->mail, user, looking->folder, "new", before_s))
        return false;
    looking->found(looking->context, user, retention_s);
    return true;
}

static Error *users_look(sqlite3_stmt *query, const Looking *looking)
{
    size_t n = 0;
    int code = SQLITE_ROW;

    while (n < JUNK_FOUND_MAX && (code = sqlite3_step(query)) == SQLITE_ROW)
        n += user_look(looking, (const char *)sqlite3_column_text(query, 0), (uint64_t)sqlite3_column_int64(query, 1));
    return code == SQLITE_ROW || code == SQLITE_DONE
               ? NULL
               : error_new(ERROR_UNAVAILABLE, "mail.db: %s", sqlite3_errmsg(sqlite3_db_handle(query)));
}

Error *junk_look(const char *mail_db, const char *mail, const char *junk_folder, const char *after, uint64_t now_s,
                 JunkFound *found, void *context)
{
    DEFER(xfree) char *folder = folder_name(junk_folder);
    const Looking looking = {mail, folder, now_s, found, context};
    sqlite3 *db = NULL;
    sqlite3_stmt *query = NULL;
    Error *err = NULL;

    if (sqlite3_open_v2(mail_db, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(db, BUSY_MS) != SQLITE_OK ||
        sqlite3_prepare_v2(db, users_query, -1, &query, NULL) != SQLITE_OK ||
        sqlite3_bind_text(query, 1, after, -1, SQLITE_STATIC) != SQLITE_OK)
        err = error_new(ERROR_UNAVAILABLE, "mail.db: %s", db ? sqlite3_errmsg(db) : "no memory");
    if (!err)
        err = users_look(query, &looking);
    sqlite3_finalize(query);
    sqlite3_close(db);
    return err;
}

#include "tables/file.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/crash.h"
#include "tables/mail_db.h"
#include "tables/sql.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MODE = 0640, BUSY_MS = 2000 };

const FileForm file_mail_db = {
    .name = "mail.db",
    .schema = tables_schema,
    .version = TABLES_SCHEMA,
    .state = "INSERT INTO state VALUES(1, 0, zeroblob(32), NULL, 0, 0)",
};

static const char *const parts[FILE_PARTS] = {"", "-wal", "-shm"};

static void close_db(sqlite3 **db)
{
    sqlite3_close_v2(*db);
    *db = NULL;
}

/* ---- owners and modes ---- */

static Error *part_own(int fd, const char *path, gid_t gid, bool *ret_empty)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return error_in(error_system("stat"), "%s", path);
    if (!S_ISREG(st.st_mode))
        return error_new(ERROR_SYSTEM, "%s: not a regular file", path);
    if (gid != (gid_t)-1 && st.st_gid != gid && fchown(fd, (uid_t)-1, gid) != 0)
        return error_in(error_system("chown"), "%s", path);
    if ((st.st_mode & 07777) != FILE_MODE && fchmod(fd, FILE_MODE) != 0)
        return error_in(error_system("chmod"), "%s", path);
    *ret_empty = st.st_size == 0;
    return NULL;
}

/* Before SQLite has them open: closing a descriptor drops a process's locks on the file.  SQLite takes empty ones as
 * new, and so no part is there for a moment with the wrong group. */
static Error *parts_make(const char *path, gid_t gid, bool *ret_empty)
{
    Error *err = NULL;

    for (int i = FILE_PARTS - 1; !err && i >= 0; i--) { /* mail.db is the last: the answer is about it */
        DEFER(xfree) char *name = xasprintf("%s%s", path, parts[i]);
        int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, FILE_MODE);
        if (fd < 0)
            return error_in(error_system("open"), "%s", name);
        err = part_own(fd, name, gid, ret_empty);
        close(fd);
    }
    return err;
}

/* Those that SQLite has made anew. */
static Error *parts_own(const char *path, gid_t gid, FileIds *ret_ids)
{
    for (int i = 0; i < FILE_PARTS; i++) {
        DEFER(xfree) char *name = xasprintf("%s%s", path, parts[i]);
        struct stat st;
        if (stat(name, &st) != 0)
            return error_in(error_system("stat"), "%s", name);
        if (gid != (gid_t)-1 && st.st_gid != gid && lchown(name, (uid_t)-1, gid) != 0)
            return error_in(error_system("chown"), "%s", name);
        if ((st.st_mode & 07777) != FILE_MODE && chmod(name, FILE_MODE) != 0)
            return error_in(error_system("chmod"), "%s", name);
        ret_ids->dev[i] = st.st_dev;
        ret_ids->ino[i] = st.st_ino;
    }
    return NULL;
}

Error *file_check(const char *path, const FileIds *ids)
{
    for (int i = 0; i < FILE_PARTS; i++) {
        DEFER(xfree) char *name = xasprintf("%s%s", path, parts[i]);
        struct stat st;
        if (stat(name, &st) != 0 && errno == ENOENT)
            return error_new(ERROR_DAMAGED, "%s is not there any more", name);
        if (stat(name, &st) != 0)
            return error_in(error_system("stat"), "%s", name);
        if (st.st_dev != ids->dev[i] || st.st_ino != ids->ino[i])
            return error_new(ERROR_DAMAGED, "%s is another file now", name);
    }
    return NULL;
}

/* ---- checks ---- */

static Error *version_check(const FileForm *form, sqlite3 *db)
{
    int64_t version = 0;

    Error *err = sql_number(db, "PRAGMA user_version", &version);
    if (err)
        return err;
    if (version > form->version)
        return error_hint(error_new(ERROR_UNSUPPORTED, "%s has schema %lld, this program knows %d", form->name,
                                    (long long)version, form->version),
                          "install a newer release");
    if (version != form->version) /* no release had another */
        return error_new(ERROR_DAMAGED, "%s has schema %lld", form->name, (long long)version);
    return NULL;
}

static Error *schema_read(const FileForm *form, sqlite3 *db, Buf *out)
{
    sqlite3_stmt *get;
    int code;

    if (sqlite3_prepare_v2(db, "SELECT sql FROM sqlite_schema ORDER BY type, name", -1, &get, NULL) != SQLITE_OK)
        return sql_error(db, form->name);
    while ((code = sqlite3_step(get)) == SQLITE_ROW)
        buf_printf(out, "%s;\n", sqlite3_column_text(get, 0) ? (const char *)sqlite3_column_text(get, 0) : "");
    Error *err = code == SQLITE_DONE ? NULL : sql_error(db, form->name);
    sqlite3_finalize(get);
    return err;
}

/* An empty database in memory, as it begins. */
static Error *fresh_make(const FileForm *form, sqlite3 **ret_db)
{
    DEFER(close_db) sqlite3 *db = NULL;
    DEFER(xfree) char *version = xasprintf("PRAGMA user_version=%d", form->version);

    if (sqlite3_open(":memory:", &db) != SQLITE_OK)
        return sql_error(db, "schema");
    Error *err = sql_exec(db, form->schema);
    if (!err)
        err = sql_exec(db, version);
    if (err)
        return err;
    *ret_db = db;
    db = NULL;
    return NULL;
}

/* A table or index that somebody dropped is damage, too. */
static Error *schema_check(const FileForm *form, sqlite3 *db)
{
    DEFER(close_db) sqlite3 *fresh = NULL;
    DEFER(buf_done) Buf is = {0}, should = {0};

    Error *err = fresh_make(form, &fresh);
    if (!err)
        err = schema_read(form, fresh, &should);
    if (!err)
        err = schema_read(form, db, &is);
    if (!err && strcmp(buf_text(&is), buf_text(&should)) != 0)
        err = error_new(ERROR_DAMAGED, "%s: its tables are not those of schema %d", form->name, form->version);
    return err;
}

static Error *pages_check(const FileForm *form, sqlite3 *db)
{
    sqlite3_stmt *check;
    Error *err = NULL;

    if (sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &check, NULL) != SQLITE_OK)
        return sql_error(db, form->name);
    int code = sqlite3_step(check);
    const char *words = code == SQLITE_ROW ? (const char *)sqlite3_column_text(check, 0) : NULL;
    if (code != SQLITE_ROW)
        err = sql_error(db, form->name);
    else if (!words || strcmp(words, "ok") != 0)
        err = error_new(ERROR_DAMAGED, "%s: %s", form->name, words ? words : "quick_check says nothing");
    sqlite3_finalize(check);
    return err;
}

static Error *state_check(const FileForm *form, sqlite3 *db)
{
    int64_t n = 0;

    Error *err = sql_number(db, "SELECT count(*) FROM state WHERE length(digest)=32", &n);
    return err || n == 1 ? err : error_new(ERROR_DAMAGED, "%s: its state is missing", form->name);
}

/* ---- making ---- */

static Error *connect_db(const char *name, const char *path, int flags, sqlite3 **ret_db)
{
    DEFER(close_db) sqlite3 *db = NULL;
    int on = 1;

    if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return sql_error(db, name);
    sqlite3_busy_timeout(db, BUSY_MS);
    sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
    *ret_db = db;
    db = NULL;
    return NULL;
}

static Error *wal_check(const FileForm *form, sqlite3 *db)
{
    sqlite3_stmt *get;
    Error *err = NULL;

    if (sqlite3_prepare_v2(db, "PRAGMA journal_mode=WAL", -1, &get, NULL) != SQLITE_OK)
        return sql_error(db, form->name);
    int code = sqlite3_step(get);
    if (code != SQLITE_ROW)
        err = sql_error(db, form->name);
    else if (strcmp(sql_column(get, 0), "wal") != 0)
        err = error_new(ERROR_SYSTEM, "%s: journal mode is %s, readers need wal", form->name, sql_column(get, 0));
    sqlite3_finalize(get);
    return err;
}

/* journal_size_limit: a long WAL is cut when it starts again.  2 MB of pages: what is more spills into it. */
static Error *settings(const FileForm *form, sqlite3 *db)
{
    Error *err = wal_check(form, db);
    return err ? err
               : sql_exec(db, "PRAGMA synchronous=FULL; PRAGMA journal_size_limit=4000000; PRAGMA cache_size=-2000");
}

/* ---- an empty one ---- */

static Error *part_write(const char *path, const char *suffix, const void *data, size_t size, bool cut)
{
    DEFER(xfree) char *name = xasprintf("%s%s", path, suffix);
    int fd = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return error_in(error_system("open"), "%s", name);
    bool done =
        pwrite(fd, data, size, 0) == (ssize_t)size && (!cut || ftruncate(fd, (off_t)size) == 0) && fsync(fd) == 0;
    Error *err = done ? NULL : error_in(error_system("write"), "%s", name);
    close(fd);
    return err;
}

/* Past SQLite, which wants locks for it that readers hold for as long as they live.  The WAL goes first, so that nothing
 * of it gets into the new content; a wal-index whose header is zeroes is built anew by the next who looks.  Interrupted it
 * is damage, which is seen and emptied. */
static Error *fill(const FileForm *form, const char *path)
{
    static const char no_header[136]; /* walformat: two copies of the header, and what the checkpoint knows */
    DEFER(close_db) sqlite3 *fresh = NULL;
    sqlite3_int64 size = 0;

    Error *err = fresh_make(form, &fresh);
    if (err)
        return err;
    unsigned char *image = sqlite3_serialize(fresh, "main", &size, 0);
    image[18] = image[19] = 2; /* file format: WAL, for writing and for reading */
    err = part_write(path, "-wal", "", 0, true);
    if (!err)
        err = part_write(path, "-shm", no_header, sizeof no_header, false);
    if (!err)
        err = part_write(path, "", image, (size_t)size, true);
    sqlite3_free(image);
    return err;
}

/* By a commit: then the wal-index differs from what readers know, and the old pages in their caches go. */
static Error *state_make(const FileForm *form, sqlite3 *db)
{
    return sql_exec(db, form->state);
}

static Error *usable(const FileForm *form, sqlite3 *db, bool anew)
{
    Error *err = version_check(form, db);
    if (!err)
        err = settings(form, db);
    if (!err)
        err = pages_check(form, db);
    if (!err)
        err = schema_check(form, db);
    if (!err && anew)
        err = state_make(form, db);
    return err ? err : state_check(form, db);
}

static Error *open_once(const FileForm *form, const char *path, gid_t gid, bool anew, sqlite3 **ret_db)
{
    DEFER(close_db) sqlite3 *db = NULL;
    bool empty = false;

    Error *err = parts_make(path, gid, &empty);
    anew = anew || empty;
    if (!err && anew)
        err = fill(form, path);
    if (!err)
        err = connect_db(form->name, path, SQLITE_OPEN_READWRITE, &db);
    if (!err)
        err = usable(form, db, anew);
    if (err)
        return err;
    *ret_db = db;
    db = NULL;
    return NULL;
}

Error *file_open(const FileForm *form, const char *path, gid_t gid, sqlite3 **ret_db, FileIds *ret_ids,
                 bool *ret_rebuilt)
{
    DEFER(close_db) sqlite3 *db = NULL;
    bool rebuilt = false;

    Error *err = open_once(form, path, gid, false, &db);
    if (err && err->code == ERROR_DAMAGED) {
        error_free(&err);
        rebuilt = true;
        CRASH_POINT("agent.tables.emptying");
        err = open_once(form, path, gid, true, &db);
        CRASH_POINT("agent.tables.emptied");
    }
    if (!err)
        err = parts_own(path, gid, ret_ids);
    if (err)
        return err;
    *ret_rebuilt = rebuilt;
    *ret_db = db;
    db = NULL;
    return NULL;
}

Error *file_open_reader(const char *path, sqlite3 **ret_db)
{
    return connect_db("mail.db", path, SQLITE_OPEN_READONLY, ret_db);
}

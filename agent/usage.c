#include "usage.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/path.h"
#include "db.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

enum {
    SCHEMA = 1,
    FILE_MODE = 0660,
    BUSY_MS = 1000,
    LOOK_FIRST_MS = 2, /* a commit is seen a sync later than its octets, which is what inotify tells */
    LOOK_LAST_MS = 1000,
    REOPEN_MS = 2000,
};

/* turn: rises with every change, so that what moved is found by one look. */
static const char schema[] =
    "CREATE TABLE usage(name TEXT PRIMARY KEY, bytes INTEGER NOT NULL DEFAULT 0, messages INTEGER NOT NULL DEFAULT 0,"
    " turn INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX usage_turn ON usage(turn);"
    "CREATE TABLE last(one INTEGER PRIMARY KEY CHECK (one = 1), turn INTEGER NOT NULL);"
    "INSERT INTO last VALUES(1, 0);"
    "CREATE TRIGGER usage_added AFTER INSERT ON usage BEGIN UPDATE last SET turn=turn+1;"
    " UPDATE usage SET turn=(SELECT turn FROM last) WHERE name=NEW.name; END;"
    "CREATE TRIGGER usage_changed AFTER UPDATE OF bytes, messages ON usage BEGIN UPDATE last SET turn=turn+1;"
    " UPDATE usage SET turn=(SELECT turn FROM last) WHERE name=NEW.name; END;";

typedef struct Mailbox {
    UT_hash_handle hh;
    struct Mailbox *next_moved;
    bool moved;
    UsageOf usage;
    char name[];
} Mailbox;

struct Usage {
    char *path;
    gid_t gid;
    sqlite3 *db; /* NULL: to be opened at reopen_at */
    sqlite3_stmt *get;
    Msec reopen_at;
    ino_t ino;
    int watch; /* inotify on the folder; -1: none, then it is looked every LOOK_LAST_MS */
    Msec look_at, look_ms;
    int64_t turn; /* the last that was read */
    Mailbox *mailboxes, *moved;
    char *trouble;
};

Usage *usage_new(const char *folder, gid_t gid)
{
    Usage *usage = xcalloc(1, sizeof *usage);

    *usage = (Usage){.path = xasprintf("%s/usage.db", folder), .gid = gid, .look_ms = LOOK_FIRST_MS};
    usage->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (usage->watch >= 0 && inotify_add_watch(usage->watch, folder, IN_MODIFY | IN_CREATE | IN_DELETE) < 0) {
        close(usage->watch);
        usage->watch = -1;
    }
    return usage;
}

static void shut(Usage *usage)
{
    db_finalize(&usage->get);
    db_close(&usage->db);
}

void usage_free(Usage **usage)
{
    Mailbox *first = *usage ? (*usage)->mailboxes : NULL;

    if (!*usage)
        return;
    HASH_CLEAR(hh, (*usage)->mailboxes); /* they stay linked */
    for (Mailbox *mailbox = first, *next = NULL; mailbox; mailbox = next) {
        next = mailbox->hh.next;
        free(mailbox);
    }
    shut(*usage);
    if ((*usage)->watch >= 0)
        close((*usage)->watch);
    free((*usage)->path);
    free((*usage)->trouble);
    free(*usage);
    *usage = NULL;
}

/* ---- the file ---- */

/* Made before SQLite does it with another mode; -wal and -shm take it.  What is there and cannot be opened was made by
 * somebody else: away with it. */
static Error *file_there(const Usage *usage)
{
    struct stat st;
    int fd = open(usage->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, FILE_MODE);

    if (fd < 0)
        return error_new(ERROR_DAMAGED, "usage.db cannot be opened");
    bool good = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
                (st.st_uid != geteuid() ||
                 ((usage->gid == (gid_t)-1 || fchown(fd, (uid_t)-1, usage->gid) == 0) && fchmod(fd, FILE_MODE) == 0));
    close(fd);
    return good ? NULL : error_new(ERROR_DAMAGED, "usage.db is no file of ours");
}

static Error *version_check(sqlite3 *db)
{
    DEFER(db_finalize) sqlite3_stmt *get = NULL;
    bool row = false;

    Error *err = db_prepare(db, "PRAGMA user_version", &get);
    if (!err)
        err = db_row(get, &row);
    if (err)
        return err;
    int version = row ? sqlite3_column_int(get, 0) : -1;
    db_finalize(&get);
    if (version == SCHEMA)
        return NULL;
    if (version != 0)
        return error_new(ERROR_DAMAGED, "usage.db has schema %d", version);
    DEFER(xfree) char *make = xasprintf("BEGIN IMMEDIATE; %s PRAGMA user_version=%d; COMMIT", schema, SCHEMA);
    err = db_exec(db, make);
    if (err)
        err->code = ERROR_DAMAGED; /* somebody else's tables */
    return err;
}

/* What the dict process writes is not to be trusted with more than figures: no code of the file's own runs here. */
static Error *careful(sqlite3 *db)
{
    sqlite3_busy_timeout(db, BUSY_MS);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return db_exec(db, "PRAGMA journal_mode=WAL; PRAGMA cache_size=-500");
}

static Error *open_file(Usage *usage)
{
    DEFER(db_close) sqlite3 *db = NULL;
    struct stat st;
    int on = 1;

    Error *err = file_there(usage);
    if (err)
        return err;
    if (sqlite3_open_v2(usage->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, NULL) != SQLITE_OK)
        return db_error(db, "usage.db");
    sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
    err = careful(db);
    if (!err)
        err = version_check(db);
    if (!err)
        err = db_prepare(db, "SELECT name, bytes, messages, turn FROM usage WHERE turn>?1 ORDER BY turn", &usage->get);
    if (!err && stat(usage->path, &st) != 0)
        err = error_system("stat");
    if (err)
        return err;
    usage->ino = st.st_ino;
    usage->turn = 0;
    usage->db = db;
    db = NULL;
    return NULL;
}

/* Takes err. */
static void failed(Usage *usage, Error *err, Msec now)
{
    static const char *const parts[] = {"", "-wal", "-shm"};

    if (!usage->trouble || strcmp(usage->trouble, err->what) != 0)
        log_warning("usage of mailboxes not read, trying again", kv("why", err->what));
    free(usage->trouble);
    usage->trouble = xstrdup(err->what);
    shut(usage);
    for (size_t i = 0; err->code == ERROR_DAMAGED && i < sizeof parts / sizeof *parts; i++) {
        DEFER(xfree) char *path = xasprintf("%s%s", usage->path, parts[i]);
        unlink(path);
    }
    usage->reopen_at = now + REOPEN_MS;
    error_free(&err);
}

/* ---- reading ---- */

static Mailbox *mailbox_named(const Usage *usage, const char *name)
{
    Mailbox *mailbox = NULL;

    HASH_FIND(hh, usage->mailboxes, name, strlen(name), mailbox);
    return mailbox;
}

static void take_row(Usage *usage, const char *name, UsageOf is)
{
    Mailbox *mailbox = mailbox_named(usage, name);
    size_t len = strlen(name);

    if (mailbox && mailbox->usage.bytes == is.bytes && mailbox->usage.messages == is.messages)
        return;
    if (!mailbox) {
        mailbox = xcalloc(1, sizeof *mailbox + len + 1);
        memcpy(mailbox->name, name, len + 1);
        HASH_ADD(hh, usage->mailboxes, name[0], len, mailbox);
    }
    mailbox->usage = is;
    if (mailbox->moved)
        return;
    mailbox->moved = true;
    mailbox->next_moved = usage->moved;
    usage->moved = mailbox;
}

static uint64_t figure(sqlite3_stmt *get, int column)
{
    int64_t number = sqlite3_column_int64(get, column);

    return number > 0 ? (uint64_t)number : 0;
}

static Error *read_rows(Usage *usage, bool *ret_any)
{
    bool row = false;

    sqlite3_bind_int64(usage->get, 1, usage->turn);
    Error *err = db_row(usage->get, &row);
    while (!err && row) {
        const char *name = (const char *)sqlite3_column_text(usage->get, 0);
        int64_t turn = sqlite3_column_int64(usage->get, 3);
        if (name)
            take_row(usage, name, (UsageOf){figure(usage->get, 1), figure(usage->get, 2)});
        usage->turn = turn > usage->turn ? turn : usage->turn;
        *ret_any = true;
        err = db_row(usage->get, &row);
    }
    return err;
}

static Error *look(Usage *usage, bool *ret_any)
{
    struct stat st;

    if (!usage->db) {
        Error *err = open_file(usage);
        if (err)
            return err;
        *ret_any = true;
    }
    if (stat(usage->path, &st) != 0 || st.st_ino != usage->ino)
        return error_new(ERROR_SYSTEM, "usage.db is not there any more");
    return read_rows(usage, ret_any);
}

static bool told(const Usage *usage)
{
    char events[4096];
    bool any = false;

    while (usage->watch >= 0 && read(usage->watch, events, sizeof events) > 0)
        any = true;
    return any;
}

void usage_run(Usage *usage, Msec now)
{
    bool any = false;

    if (told(usage)) {
        usage->look_ms = LOOK_FIRST_MS;
        usage->look_at = now;
    }
    if (usage->db ? now < usage->look_at : now < usage->reopen_at)
        return;
    Error *err = look(usage, &any);
    if (err) {
        failed(usage, err, now);
        return;
    }
    xfree(&usage->trouble);
    /* Soon again after something happened, ever more seldom after that, and then not before something does. */
    usage->look_at = usage->look_ms > LOOK_LAST_MS && usage->watch >= 0 ? MSEC_NEVER : now + usage->look_ms;
    usage->look_ms = usage->look_ms > LOOK_LAST_MS ? usage->look_ms : usage->look_ms * 2;
}

void usage_wait(const Usage *usage, Waiter *wake)
{
    waiter_fd(wake, usage->watch, POLLIN);
    if (!usage->db)
        waiter_at(wake, usage->reopen_at);
    else if (usage->look_at != MSEC_NEVER)
        waiter_at(wake, usage->look_at);
    if (usage->moved)
        waiter_now(wake);
}

/* ---- for others ---- */

bool usage_of(const Usage *usage, const char *name, UsageOf *ret_usage)
{
    const Mailbox *mailbox = mailbox_named(usage, name);

    if (mailbox)
        *ret_usage = mailbox->usage;
    return mailbox != NULL;
}

void usage_each(const Usage *usage, void (*each)(void *context, const char *name), void *context)
{
    for (const Mailbox *mailbox = usage->mailboxes; mailbox; mailbox = mailbox->hh.next)
        each(context, mailbox->name);
}

const char *usage_moved(Usage *usage)
{
    Mailbox *mailbox = usage->moved;

    if (!mailbox)
        return NULL;
    usage->moved = mailbox->next_moved;
    mailbox->moved = false;
    return mailbox->name;
}

const char *usage_trouble(const Usage *usage)
{
    return usage->trouble;
}

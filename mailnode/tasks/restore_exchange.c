#include "tasks/restore_exchange.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/path.h"
#include "tables/places.h"
#include "tasks/restore_drop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUT "exchange-out"
#define IN "exchange-in"
#define HALF "exchange.half"
#define VERSION "mailnode exchange 1"

enum { JOURNAL_MAX = 1024, PASSES = 10, OLD_MAX = 10000000, OLD_SIZE = 16 };

/* ---- the store ---- */

static Error *folder_in(int at, const char *name, int *ret_fd)
{
    *ret_fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_fd >= 0)
        return NULL;
    return errno == ENOENT ? error_new(ERROR_NOT_FOUND, "there is no folder %s", name) : error_system("%s", name);
}

Error *exchange_store(const char *root, const ExchangePlace *place, int *ret_fd)
{
    Path path = path_in(root, "%s", place->user ? &PLACE_MAIL[3] : &PLACE_PUBLIC[3]);
    DEFER(fd_close) int home = -1;

    /* Its parents are root's; a link there is an admin's way to another disk. */
    DEFER(fd_close) int all = open(path.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (all < 0)
        return error_in(error_system("open"), "%s", path.text);
    if (!place->user) {
        *ret_fd = all;
        all = -1; /* NOLINT(clang-analyzer-deadcode.DeadStores): DEFER looks at it */
        return NULL;
    }
    Error *err = folder_in(all, place->user, &home);
    if (!err)
        err = folder_in(home, "Maildir", ret_fd);
    return error_in(err, "mail of %s", place->user);
}

bool exchange_of_family(const char *family, const char *name)
{
    assert(family);
    size_t len = strlen(family);

    return strncmp(name, family, len) == 0 && (name[len] == '\0' || name[len] == '.');
}

/* ---- the journal: three lines ---- */

static Error *folder_durable(int fd)
{
    return fsync(fd) == 0 ? NULL : error_system("fsync");
}

static Error *journal_put(int room, const ExchangePlace *place)
{
    DEFER(xfree)
    char *text = xasprintf(VERSION "\n%s%s\n%s\n", place->user ? "user " : "public", place->user ? place->user : "",
                           place->family);
    size_t size = strlen(text);

    unlinkat(room, HALF, 0);
    DEFER(fd_close) int fd = openat(room, HALF, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_system("journal");
    if (write(fd, text, size) != (ssize_t)size || fsync(fd) != 0 || renameat(room, HALF, room, OUT) != 0)
        return error_system("journal");
    return folder_durable(room);
}

static bool place_good(const ExchangePlace *place)
{
    const char *user = place->user, *family = place->family;

    if (user && (!*user || strcmp(user, ".") == 0 || strcmp(user, "..") == 0 || strchr(user, '/')))
        return false;
    return family && family[0] == '.' && family[1] && family[1] != '.' && !strchr(family, '/');
}

/* Cuts 'text' into its lines; the place points into it. */
static bool journal_read(char *text, ExchangePlace *ret_place)
{
    char *rest = NULL;
    const char *version = strtok_r(text, "\n", &rest), *store = strtok_r(NULL, "\n", &rest);
    bool mine = store && strncmp(store, "user ", 5) == 0;

    ret_place->user = mine ? store + 5 : NULL;
    ret_place->family = strtok_r(NULL, "\n", &rest);
    if (!version || strcmp(version, VERSION) != 0 || !store || (!mine && strcmp(store, "public") != 0))
        return false;
    return place_good(ret_place);
}

static Error *journal_get(int room, char text[JOURNAL_MAX], const char **ret_name, ExchangePlace *ret_place)
{
    static const char *const names[] = {OUT, IN};

    for (size_t i = 0; i < 2; i++) {
        DEFER(fd_close) int fd = openat(room, names[i], O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
            continue;
        ssize_t got = fd < 0 ? -1 : read(fd, text, JOURNAL_MAX - 1);
        if (got < 0)
            return error_system("%s", names[i]);
        text[got] = '\0';
        if (!journal_read(text, ret_place))
            return error_new(ERROR_DAMAGED, "%s does not read back", names[i]);
        *ret_name = names[i];
        return NULL;
    }
    return error_new(ERROR_DAMAGED, "there is no journal");
}

/* ---- the old one out ---- */

typedef struct Exchange {
    int room, store, new, old;
    const char *family;
    unsigned long n_old; /* the next number */
} Exchange;

static void exchange_close(Exchange *exchange)
{
    fd_close(&exchange->store);
    fd_close(&exchange->new);
    fd_close(&exchange->old);
}

static Error *aside(Exchange *exchange, const char *name)
{
    char number[OLD_SIZE];

    for (; exchange->n_old < OLD_MAX; exchange->n_old++) {
        snprintf(number, sizeof number, "%lu", exchange->n_old);
        if (renameat2(exchange->store, name, exchange->old, number, RENAME_NOREPLACE) == 0 || errno == ENOENT) {
            CRASH_POINT("restore.out.moved");
            return NULL;
        }
        if (errno == EXDEV)
            return error_hint(error_system("%s", name), "the folder work must lie on the file system of the mail");
        if (errno != EEXIST)
            return error_system("%s", name);
    }
    return error_new(ERROR_DAMAGED, "too many folders");
}

static Error *pass_out(Exchange *exchange, size_t *ret_n)
{
    DEFER(dir_close) DIR *dir = folder_walk(exchange->store);
    Error *err = NULL;

    if (!dir)
        return error_system("open");
    *ret_n = 0;
    for (struct dirent *entry; !err && (entry = readdir(dir));)
        if (exchange_of_family(exchange->family, entry->d_name)) {
            err = aside(exchange, entry->d_name);
            ++*ret_n;
        }
    return err;
}

/* Until a look finds none: a client may make one meanwhile. */
static Error *family_out(Exchange *exchange)
{
    size_t n = 1;
    Error *err = NULL;

    for (int pass = 0; !err && n && pass < PASSES; pass++)
        err = pass_out(exchange, &n);
    if (!err)
        err = folder_durable(exchange->store);
    if (!err)
        err = folder_durable(exchange->old);
    CRASH_POINT("restore.out.synced");
    if (!err && renameat(exchange->room, OUT, exchange->room, IN) != 0)
        err = error_system("journal");
    if (!err)
        err = folder_durable(exchange->room);
    CRASH_POINT("restore.in.journaled");
    return err;
}

/* ---- the new one in ---- */

static Error *one_in(Exchange *exchange, const char *name)
{
    for (int tries = 0; tries < PASSES; tries++) {
        if (renameat2(exchange->new, name, exchange->store, name, RENAME_NOREPLACE) == 0) {
            CRASH_POINT("restore.in.moved");
            return NULL;
        }
        if (errno != EEXIST)
            return error_system("%s", name);
        Error *err = aside(exchange, name); /* a client has made it this moment */
        if (err)
            return err;
    }
    return error_new(ERROR_CONFLICT, "%s is made again and again", name);
}

static Error *pass_in(Exchange *exchange)
{
    DEFER(dir_close) DIR *dir = folder_walk(exchange->new);
    Error *err = NULL;

    if (!dir)
        return error_system("open");
    for (struct dirent *entry; !err && (entry = readdir(dir));)
        if (exchange_of_family(exchange->family, entry->d_name))
            err = one_in(exchange, entry->d_name);
    return err;
}

static Error *journal_end(int room)
{
    if ((unlinkat(room, IN, 0) != 0 && errno != ENOENT) || (unlinkat(room, OUT, 0) != 0 && errno != ENOENT))
        return error_system("journal");
    return folder_durable(room);
}

static Error *family_in(Exchange *exchange)
{
    Error *err = pass_in(exchange);

    if (!err)
        err = folder_durable(exchange->store);
    if (!err)
        err = folder_durable(exchange->new);
    CRASH_POINT("restore.in.synced");
    if (!err)
        err = journal_end(exchange->room);
    CRASH_POINT("restore.in.ended");
    return err;
}

/* ---- the whole ---- */

static Error *go_on(const char *root, int room, const char *journal, const ExchangePlace *place)
{
    DEFER(exchange_close)
    Exchange exchange = {.room = room, .store = -1, .new = -1, .old = -1, .family = place->family};

    Error *err = exchange_store(root, place, &exchange.store);
    if (!err && mkdirat(room, "old", 0700) != 0 && errno != EEXIST)
        err = error_system("old");
    if (!err)
        err = folder_in(room, "old", &exchange.old);
    if (!err)
        err = folder_in(room, "new", &exchange.new);
    if (!err && journal && strcmp(journal, OUT) == 0)
        err = family_out(&exchange);
    return err ? err : family_in(&exchange);
}

Error *exchange_run(const char *root, int room, const ExchangePlace *place)
{
    CRASH_POINT("restore.staged");
    Error *err = journal_put(room, place);
    CRASH_POINT("restore.out.journaled");
    if (!err)
        err = go_on(root, room, OUT, place);
    return error_in(err, "exchange");
}

bool exchange_pending(int room)
{
    return faccessat(room, OUT, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || faccessat(room, IN, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

Error *exchange_resume(const char *root, int room)
{
    char text[JOURNAL_MAX];
    const char *journal = NULL;
    ExchangePlace place = {0};

    Error *err = journal_get(room, text, &journal, &place);
    if (!err)
        err = go_on(root, room, journal, &place);
    return error_in(err, "exchange");
}

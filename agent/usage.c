#include "usage.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/log.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

enum {
    TEXT_SIZE = 256, /* two keys and two numbers are not half of it */
    AGAIN_MS = 2000,
};

static const char suffix[] = ".usage"; /* Dovecot's temporary files have another */

typedef struct Mailbox {
    UT_hash_handle hh;
    struct Mailbox *next_moved;
    bool moved;
    UsageOf usage;
    char name[];
} Mailbox;

struct Usage {
    char *folder;
    int watch; /* inotify on the folder; -1: to be had at again_at */
    Msec again_at;
    Mailbox *mailboxes, *moved;
    char *trouble;
};

Usage *usage_new(const char *folder)
{
    Usage *usage = xcalloc(1, sizeof *usage);

    *usage = (Usage){.folder = xstrdup(folder), .watch = -1};
    return usage;
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
    fd_close(&(*usage)->watch);
    free((*usage)->folder);
    free((*usage)->trouble);
    free(*usage);
    *usage = NULL;
}

/* ---- one file ---- */

/* Pairs of lines, a key and its value.  Figures that Dovecot miscounted below nothing are nothing. */
static bool figures(char *text, UsageOf *ret_usage)
{
    unsigned known = 0;
    char *rest = text;

    for (char *key = NULL, *value = NULL; (key = strsep(&rest, "\n")) && (value = strsep(&rest, "\n")) && rest;) {
        uint64_t *to = strcmp(key, "priv/quota/storage") == 0    ? &ret_usage->bytes
                       : strcmp(key, "priv/quota/messages") == 0 ? &ret_usage->messages
                                                                 : NULL;
        char *end = NULL;
        errno = 0;
        int64_t number = strtoll(value, &end, 10);
        if (!to || errno || end == value || *end)
            return false;
        *to = number > 0 ? (uint64_t)number : 0;
        known |= to == &ret_usage->bytes ? 1 : 2;
    }
    return known == 3;
}

/* False: there is nothing that could be believed.  The folder is Dovecot's: no link is followed. */
static bool read_file(int dir, const char *file, UsageOf *ret_usage)
{
    DEFER(fd_close) int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    char text[TEXT_SIZE];
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    ssize_t got = read(fd, text, sizeof text - 1);
    if (got <= 0 || (size_t)got == sizeof text - 1)
        return false;
    text[got] = '\0';
    return strlen(text) == (size_t)got && figures(text, ret_usage);
}

static Mailbox *mailbox_named(const Usage *usage, const char *name)
{
    Mailbox *mailbox = NULL;

    HASH_FIND(hh, usage->mailboxes, name, strlen(name), mailbox);
    return mailbox;
}

static void take(Usage *usage, const char *name, UsageOf is)
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

static void take_file(Usage *usage, int dir, const char *file)
{
    char name[NAME_MAX + 1];
    size_t len = strlen(file);
    UsageOf is;

    if (len < sizeof suffix || len >= sizeof name || strcmp(file + len + 1 - sizeof suffix, suffix) != 0)
        return;
    memcpy(name, file, len + 1 - sizeof suffix);
    name[len + 1 - sizeof suffix] = '\0';
    if (read_file(dir, file, &is))
        take(usage, name, is);
}

/* ---- the folder ---- */

static Error *folder_open(const Usage *usage, int *ret_dir)
{
    *ret_dir = open(usage->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return *ret_dir < 0 ? error_in(error_system("open"), "%s", usage->folder) : NULL;
}

static Error *take_all(Usage *usage)
{
    DEFER(fd_close) int fd = -1;

    Error *err = folder_open(usage, &fd);
    if (err)
        return err;
    DEFER(dir_close) DIR *dir = fdopendir(fd);
    if (!dir)
        return error_system("fdopendir");
    fd = -1;
    for (struct dirent *entry = NULL; (entry = readdir(dir));)
        take_file(usage, dirfd(dir), entry->d_name);
    return NULL;
}

static Error *take_told(Usage *usage, bool *ret_gone)
{
    _Alignas(struct inotify_event) char events[16384];
    DEFER(fd_close) int dir = -1;
    bool lost = false;
    ssize_t got = 0;

    Error *err = folder_open(usage, &dir);
    if (err)
        return err;
    while ((got = read(usage->watch, events, sizeof events)) > 0) {
        for (ssize_t at = 0; at < got;) {
            const struct inotify_event *event = (const void *)(events + at);
            at += (ssize_t)(sizeof *event + event->len);
            lost = lost || (event->mask & IN_Q_OVERFLOW);
            *ret_gone = *ret_gone || (event->mask & (IN_IGNORED | IN_MOVE_SELF));
            if (event->len)
                take_file(usage, dir, event->name);
        }
    }
    return lost ? take_all(usage) : NULL;
}

/* The watch first: nothing is missed between the two. */
static Error *begin(Usage *usage)
{
    usage->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (usage->watch < 0)
        return error_system("inotify_init1");
    if (inotify_add_watch(usage->watch, usage->folder, IN_MOVED_TO | IN_MOVE_SELF | IN_ONLYDIR) < 0)
        return error_in(error_system("inotify_add_watch"), "%s", usage->folder);
    return take_all(usage);
}

/* Takes err. */
static void failed(Usage *usage, Error *err, Msec now)
{
    if (!usage->trouble || strcmp(usage->trouble, err->what) != 0)
        log_warning("usage of mailboxes not read, trying again", kv("why", err->what));
    free(usage->trouble);
    usage->trouble = xstrdup(err->what);
    fd_close(&usage->watch);
    usage->again_at = now + AGAIN_MS;
    error_free(&err);
}

void usage_run(Usage *usage, Msec now)
{
    bool gone = false;

    if (usage->watch < 0 && now < usage->again_at)
        return;
    Error *err = usage->watch < 0 ? begin(usage) : take_told(usage, &gone);
    if (!err && gone)
        err = error_new(ERROR_SYSTEM, "%s is another folder now", usage->folder);
    if (err)
        failed(usage, err, now);
    else
        xfree(&usage->trouble);
}

void usage_wait(const Usage *usage, Waiter *wake)
{
    if (usage->watch < 0)
        waiter_at(wake, usage->again_at);
    else
        waiter_fd(wake, usage->watch, POLLIN);
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

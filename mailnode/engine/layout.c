#include "engine/layout.h"

#include "base/alloc.h"
#include "base/path.h"
#include "render/render.h"
#include "tables/places.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what is where ---- */

typedef struct Folder {
    const char *place; /* of places.h: "%s" and the path below the root */
    const char *user, *group;
    mode_t mode;
    bool theirs; /* mail: made, but never put right */
} Folder;

/* Parents first. */
static const Folder folders[] = {
    {"%s/etc/mailnode", "root", "root", 0755, false},
    {PLACE_OVERRIDE, "root", "root", 0755, false},
    {PLACE_OVERRIDE "/postfix.d", "root", "root", 0755, false},
    {PLACE_OVERRIDE "/dovecot.d", "root", "root", 0755, false},
    {PLACE_OVERRIDE "/rspamd.d", "root", "root", 0755, false},

    {"%s/var/lib/mailnode", "root", "root", 0755, false},
    {PLACE_ENGINE, "root", "root", 0711, false},
    {PLACE_TABLES, "mailagent", "mailtables", 0750, false},
    {PLACE_RELAY, "mailagent", "postfix", 02750, false},        /* setgid: secrets.db gets the group */
    {PLACE_DKIM, "mailagent", "_rspamd", 02750, false},         /* setgid: the keys get the group */
    {PLACE_REPLICATION, "mailagent", "openldap", 02750, false}, /* setgid: the pairs get the group */
    {PLACE_LOG, "root", "root", 0755, false},
    {PLACE_MAIL, "vmail", "vmail", 0750, true},
    {PLACE_PUBLIC, "vmail", "vmail", 0750, true},
    {PLACE_SHARES, "mailagent", "mailtables", 02770, false}, /* -wal and -shm are made there by whoever is first */
    {PLACE_USAGE, "vmail", "mailtables", 02750, false},      /* setgid: the files get the group */

    /* As conf/postfix-files wants them; the others are as master(8) makes them. */
    {"%s/var/lib/mailnode/spool", "root", "root", 0755, false},
    {PLACE_QUEUE, "root", "root", 0755, false},
    {PLACE_QUEUE "/active", "postfix", "root", 0700, false},
    {PLACE_QUEUE "/bounce", "postfix", "root", 0700, false},
    {PLACE_QUEUE "/corrupt", "postfix", "root", 0700, false},
    {PLACE_QUEUE "/defer", "postfix", "root", 0700, false},
    {PLACE_QUEUE "/deferred", "postfix", "root", 0700, false},
    {PLACE_QUEUE "/flush", "postfix", "root", 0700, false},
    {PLACE_QUEUE "/hold", "postfix", "root", 0700, false},
    {PLACE_QUEUE "/incoming", "postfix", "root", 0700, false},
    {PLACE_QUEUE "/maildrop", "postfix", "postdrop", 0730, false},
    {PLACE_QUEUE "/pid", "root", "root", 0755, false},
    {PLACE_QUEUE "/private", "postfix", "root", 0700, false},
    {PLACE_QUEUE "/public", "postfix", "postdrop", 0710, false},
    {PLACE_QUEUE "/saved", "postfix", "root", 0700, false},
    {PLACE_QUEUE "/trace", "postfix", "root", 0700, false},

    {PLACE_POSTFIX_DATA, "postfix", "postfix", 0750, false},
    {PLACE_DOVECOT_STATE, "root", "root", 0755, false},
    {PLACE_SIEVE_COMPILED, "vmail", "vmail", 0700, false},
    {PLACE_RSPAMD_DATA, "_rspamd", "_rspamd", 0750, false},
    {PLACE_REDIS_DATA, "redis", "redis", 0750, false},
    {PLACE_CLAMD_DATA, "clamav", "clamav", 0755, false},
    {PLACE_UNBOUND_DATA, "unbound", "unbound", 0750, false},
    {PLACE_SLAPD_DATA, "openldap", "openldap", 0700, false},

    {PLACE_WORK, "root", "root", 0711, true}, /* a link to where mail is, perhaps */
    {PLACE_TREE, "root", "root", 0700, false},
    {PLACE_RESTORE, "root", "root", 0711, false},
    {PLACE_RESTIC, "mailbackup", "mailbackup", 0700, false},
    {PLACE_RESTIC "/cache", "mailbackup", "mailbackup", 0700, false},
    {PLACE_RESTIC "/tmp", "mailbackup", "mailbackup", 0700, false},
    {PLACE_REPOSITORIES, "mailbackup", "mailbackup", 0700, true},

    {PLACE_RUN, "root", "root", 0755, false},
    {PLACE_RUN "/engine", "root", "mailagent", 0750, false},
    {PLACE_RUN_DOVECOT, "root", "root", 0755, false},
    {PLACE_RUN_RSPAMD, "_rspamd", "_rspamd", 0755, false},
    {PLACE_RUN_REDIS, "redis", "_rspamd", 02750, false}, /* setgid: the sockets get the group */
    {PLACE_RUN_CLAMD, "clamav", "_rspamd", 02750, false},
    {PLACE_RUN_SLAPD, "openldap", "openldap", 0755, false},
};
enum { N_FOLDERS = sizeof folders / sizeof *folders };

/* Debian's packages make the users of their daemons; packaging/users makes ours. */
static const struct {
    const char *name, *package;
} packages[] = {
    {"postfix", "postfix"},      {"postdrop", "postfix"}, {"_rspamd", "rspamd"}, {"redis", "redis-server"},
    {"clamav", "clamav-daemon"}, {"unbound", "unbound"},  {"openldap", "slapd"},
};

static Error *missing(const char *what, const char *name)
{
    Error *err = error_new(ERROR_DENIED, "%s %s does not exist", what, name);

    for (size_t i = 0; i < sizeof packages / sizeof *packages; i++)
        if (strcmp(packages[i].name, name) == 0)
            return error_hint(err, "install Debian's package %s", packages[i].package);
    return error_hint(err, "make the users of the product: packaging/users");
}

static Error *owner_of(const Folder *folder, uid_t *ret_uid, gid_t *ret_gid)
{
    const struct passwd *user = getpwnam(folder->user);
    if (!user)
        return missing("user", folder->user);
    *ret_uid = user->pw_uid;

    const struct group *group = getgrnam(folder->group);
    if (!group)
        return missing("group", folder->group);
    *ret_gid = group->gr_gid;
    return NULL;
}

/* ---- the way there ---- */

/* Only root can exchange what lies in this folder. */
static bool roots_own(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_uid == 0 && !(st.st_mode & (S_IWGRP | S_IWOTH));
}

/* A link that root has set (mail on another disk) is followed; one that a daemon's user may have set is not. */
static int folder_open(int at, const char *name)
{
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (roots_own(at) ? 0 : O_NOFOLLOW));
}

/* From the root down to the folder, component by component; 'make': what is missing.  -1 with errno. */
static int folder_reach(const char *root, const char *path, bool make, bool *ret_made)
{
    char parts[PATH_SIZE];
    char *rest = NULL;
    int fd = open(*root ? root : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    *ret_made = false;
    snprintf(parts, sizeof parts, "%s", path);
    for (char *part = strtok_r(parts, "/", &rest); part && fd >= 0; part = strtok_r(NULL, "/", &rest)) {
        bool made = make && mkdirat(fd, part, 0700) == 0;
        int next = made || !make || errno == EEXIST ? folder_open(fd, part) : -1;
        if (next >= 0 && made && *rest && fchmod(next, 0755) != 0) /* a parent that is in no list, past the umask */
            fd_close(&next);
        int number = errno;
        close(fd);
        errno = number;
        fd = next;
        *ret_made = made;
    }
    return fd;
}

/* ---- making ---- */

static Error *folder_right(const char *root, const Folder *folder)
{
    struct stat st;
    bool made = false;
    uid_t uid = 0;
    gid_t gid = 0;

    Error *err = owner_of(folder, &uid, &gid);
    if (err)
        return err;
    DEFER(fd_close) int fd = folder_reach(root, folder->place + 2, true, &made);
    if (fd < 0 || fstat(fd, &st) != 0)
        return error_system("folder");
    if (folder->theirs && !made)
        return NULL;
    if ((st.st_uid != uid || st.st_gid != gid) && fchown(fd, uid, gid) != 0)
        return error_system("chown");
    /* chown takes setgid away. */
    if ((made || (st.st_mode & 07777) != folder->mode || (folder->mode & 06000)) && fchmod(fd, folder->mode) != 0)
        return error_system("chmod");
    return NULL;
}

/* Is the file in 'at' that text, of that owner?  Everything else is written anew. */
static bool file_same(int at, const char *name, const char *text, uid_t uid)
{
    char have[4096];
    struct stat st;
    DEFER(fd_close) int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != uid)
        return false;
    ssize_t got = read(fd, have, sizeof have);
    return got >= 0 && (size_t)got == strlen(text) && memcmp(have, text, (size_t)got) == 0;
}

/* In a folder that a daemon's user owns: nothing that lies there is followed or opened for writing. */
static Error *file_into(int at, const char *name, const char *text, uid_t uid, gid_t gid)
{
    char temp[64];
    size_t size = strlen(text);

    snprintf(temp, sizeof temp, ".%s.new", name);
    unlinkat(at, temp, 0);
    DEFER(fd_close) int fd = openat(at, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_system("create");
    if (write(fd, text, size) != (ssize_t)size || fchown(fd, uid, gid) != 0 || fchmod(fd, 0644) != 0 ||
        fsync(fd) != 0 || renameat(at, temp, at, name) != 0) {
        Error *err = error_system("write");
        unlinkat(at, temp, 0);
        return err;
    }
    return NULL;
}

/* clamd needs one signature to start. */
static Error *signatures_make(const char *root)
{
    static const Folder folder = {PLACE_CLAMD_DATA, "clamav", "clamav", 0755, false};
    static const char name[] = LAYOUT_SIGNATURES;
    bool made = false;
    uid_t uid = 0;
    gid_t gid = 0;

    Error *err = owner_of(&folder, &uid, &gid);
    if (err)
        return err;
    DEFER(fd_close) int fd = folder_reach(root, folder.place + 2, false, &made);
    if (fd < 0)
        err = error_system("folder");
    else if (!file_same(fd, name, clamd_own_signatures, uid))
        err = file_into(fd, name, clamd_own_signatures, uid, gid);
    return err ? error_in(err, "%s/%s", path_in(root, "%s", folder.place + 3).text, name) : NULL;
}

Error *layout_make(const char *root)
{
    for (size_t i = 0; i < N_FOLDERS; i++) {
        Error *err = folder_right(root, &folders[i]);
        if (err)
            return error_in(err, "%s", path_in(root, "%s", folders[i].place + 3).text);
    }
    return signatures_make(root);
}

/* ---- looking ---- */

static const char *user_name(uid_t uid, char room[16])
{
    const struct passwd *entry = getpwuid(uid);

    snprintf(room, 16, "uid %u", (unsigned)uid);
    return entry ? entry->pw_name : room;
}

static const char *group_name(gid_t gid, char room[16])
{
    const struct group *entry = getgrgid(gid);

    snprintf(room, 16, "gid %u", (unsigned)gid);
    return entry ? entry->gr_name : room;
}

/* NULL: it is as it should be.  Owned by the caller. */
static char *folder_wrong(const char *root, const Folder *folder)
{
    struct stat st;
    bool made = false;
    uid_t uid = 0;
    gid_t gid = 0;
    char user[16], group[16];

    Error *err = owner_of(folder, &uid, &gid);
    if (err) {
        char *text = xstrdup(err->what);
        error_free(&err);
        return text;
    }
    DEFER(fd_close) int fd = folder_reach(root, folder->place + 2, false, &made);
    if (fd < 0 || fstat(fd, &st) != 0)
        return xasprintf("%s", errno == ENOENT ? "is missing" : strerror(errno));
    if (folder->theirs || (st.st_uid == uid && st.st_gid == gid && (st.st_mode & 07777) == folder->mode))
        return NULL;
    /* One call of getpwuid a statement: its answer lies in a buffer that it keeps. */
    DEFER(xfree) char *who = xstrdup(user_name(st.st_uid, user));
    return xasprintf("is %s:%s %04o, should be %s:%s %04o", who, group_name(st.st_gid, group), st.st_mode & 07777,
                     folder->user, folder->group, (unsigned)folder->mode);
}

void layout_look(const char *root, void (*found)(void *context, const char *path, const char *text), void *context)
{
    for (size_t i = 0; i < N_FOLDERS; i++) {
        DEFER(xfree) char *text = folder_wrong(root, &folders[i]);
        if (text)
            found(context, path_in(root, "%s", folders[i].place + 3).text, text);
    }
}

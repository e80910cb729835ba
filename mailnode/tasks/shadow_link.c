#include "tasks/shadow_inside.h"

#include "base/alloc.h"
#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COPY_BYTES = 64 * 1024 };

/* ---- one file ---- */

typedef enum Linked { LINKED, VANISHED, NOT_OURS } Linked;

/* ext4 gives a file 65,000 names, and copies within a mailbox are names: a user who has used them all up must not end the
 * backup of everybody. */
static Error *copy_octets(int from, int to)
{
    DEFER(xfree) uint8_t *octets = xmalloc(COPY_BYTES);

    for (;;) {
        ssize_t got = read(from, octets, COPY_BYTES);
        if (got < 0)
            return error_system("read");
        if (got == 0)
            return NULL;
        for (ssize_t done = 0, put; done < got; done += put) {
            put = write(to, octets + done, (size_t)(got - done));
            if (put < 0)
                return error_system("write");
        }
    }
}

static Error *copy_file(int source, int shadow, const char *name, Linked *ret_linked)
{
    DEFER(fd_close) int from = openat(source, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (from < 0 || fstat(from, &st) != 0 || !S_ISREG(st.st_mode)) {
        *ret_linked = from < 0 && errno == ENOENT ? VANISHED : NOT_OURS;
        return NULL;
    }
    DEFER(fd_close) int to = openat(shadow, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return error_system("create");
    Error *err = copy_octets(from, to);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    if (!err && (fchown(to, st.st_uid, st.st_gid) != 0 || futimens(to, times) != 0))
        err = error_system("owner and times");
    *ret_linked = LINKED;
    return err;
}

Error *shadow_other_file_system(void)
{
    Error *err =
        error_new(ERROR_SYSTEM, "the mail and its shadow are on different file systems: no links are possible");

    return error_hint(err, "make /var/lib/mailnode/work a link to a folder beside the mail");
}

/* What was linked is looked at, and not what was listed: in between vmail may have put another thing in its place. */
static Linked judged(const ShadowRun *run, const ShadowPair *pair, int shadow, const char *name, struct stat *ret_st)
{
    if (fstatat(shadow, name, ret_st, AT_SYMLINK_NOFOLLOW) != 0)
        return VANISHED;
    bool kind =
        S_ISREG(ret_st->st_mode) || (S_ISLNK(ret_st->st_mode) && shadow_active_script(shadow, pair->level, name));
    if (kind && ret_st->st_uid == run->owner)
        return LINKED;
    (void)unlinkat(shadow, name, 0); /* as root, in a folder that is root's alone */
    return NOT_OURS;
}

static Error *link_file(const ShadowRun *run, const ShadowPair *pair, uint8_t part, const char *name,
                        Linked *ret_linked, struct stat *ret_st)
{
    int source = pair->source.fd[part], shadow = pair->shadow.fd[part];
    Error *err = NULL;

    *ret_linked = LINKED;
    int code = linkat(source, name, shadow, name, 0) == 0 ? 0 : errno;
    if (code == EEXIST) { /* another file of this name */
        if (unlinkat(shadow, name, 0) != 0)
            return error_system("unlink");
        code = linkat(source, name, shadow, name, 0) == 0 ? 0 : errno;
    }
    if (code == ENOENT)
        *ret_linked = VANISHED;
    else if (code == EXDEV)
        err = shadow_other_file_system();
    else if (code == EMLINK)
        err = copy_file(source, shadow, name, ret_linked);
    else if (code) {
        errno = code;
        err = error_system("link");
    }
    if (!err && *ret_linked == LINKED)
        *ret_linked = judged(run, pair, shadow, name, ret_st);
    return err;
}

/* ---- one folder: two sorted lists, side by side ---- */

static int key_order(const ShadowList *wanted, const ShadowName *a, const ShadowList *there, const ShadowName *b)
{
    size_t len = a->key_len < b->key_len ? a->key_len : b->key_len;

    if ((a->part == SHADOW_SELF) != (b->part == SHADOW_SELF))
        return a->part == SHADOW_SELF ? -1 : 1;
    int order = memcmp(shadow_text(wanted, a), shadow_text(there, b), len);
    return order ? order : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

/* Where the names with the key of the one at 'at' end. */
static size_t group_end(const ShadowList *list, size_t at)
{
    size_t end = at + 1;

    while (end < list->n && key_order(list, &list->names[at], list, &list->names[end]) == 0)
        end++;
    return end;
}

static bool same_name(const ShadowList *wanted, const ShadowName *a, const ShadowList *there, const ShadowName *b)
{
    return a->part == b->part && strcmp(shadow_text(wanted, a), shadow_text(there, b)) == 0;
}

/* The names of one key: wanted->names[w] shall be the only one, there->names[from..to) are there. */
typedef struct Group {
    const ShadowList *wanted, *there;
    const ShadowName *want; /* NULL: none */
    size_t from, to;
} Group;

/* The same file that is there already; if under several names, the one that it has now. */
static const ShadowName *group_match(const Group *group)
{
    const ShadowName *match = NULL;

    for (size_t i = group->from; group->want && i < group->to; i++) {
        const ShadowName *name = &group->there->names[i];
        if (name->ino == group->want->ino && (!match || same_name(group->wanted, group->want, group->there, name)))
            match = name;
    }
    return match;
}

static void group_stale(const Group *group, const ShadowName *match, ShadowList *stale)
{
    for (size_t i = group->from; i < group->to; i++) {
        const ShadowName *name = &group->there->names[i];
        if (name != match && !(group->want && same_name(group->wanted, group->want, group->there, name)))
            shadow_list_add(stale, shadow_text(group->there, name), name->ino, name->part);
    }
}

/* The next key of both; false: that was the last. */
static bool group_next(Group *group, size_t *at_wanted)
{
    const ShadowList *wanted = group->wanted, *there = group->there;
    bool more = *at_wanted < wanted->n, old = group->to < there->n;
    int order =
        more && old ? key_order(wanted, &wanted->names[*at_wanted], there, &there->names[group->to]) : (more ? -1 : 1);

    if (!more && !old)
        return false;
    group->from = group->to;
    group->want = NULL;
    if (order >= 0)
        group->to = group_end(there, group->to);
    if (order <= 0) {
        *at_wanted = group_end(wanted, *at_wanted);
        group->want = &wanted->names[*at_wanted - 1]; /* cur comes last */
    }
    return true;
}

static Error *group_rename(ShadowRun *run, const ShadowPair *pair, const Group *group, const ShadowName *match)
{
    const char *from = shadow_text(group->there, match), *to = shadow_text(group->wanted, group->want);

    if (renameat(pair->shadow.fd[match->part], from, pair->shadow.fd[group->want->part], to) != 0)
        return error_system("rename");
    run->counts.renamed++;
    return NULL;
}

static Error *group_link(ShadowRun *run, const ShadowPair *pair, const Group *group, Linked *ret_linked)
{
    const ShadowName *want = group->want;
    struct stat st = {0};

    Error *err = link_file(run, pair, want->part, shadow_text(group->wanted, want), ret_linked, &st);
    if (err)
        return err;
    if (*ret_linked == NOT_OURS)
        run->counts.refused += !run->rounds;
    if (*ret_linked != LINKED)
        return NULL;
    run->counts.linked++;
    return NULL;
}

Error *shadow_link(ShadowRun *run, const ShadowPair *pair, const ShadowList *wanted, const ShadowList *there,
                   ShadowList *stale)
{
    Group group = {.wanted = wanted, .there = there};
    Error *err = NULL;

    for (size_t at = 0; !err && group_next(&group, &at);) {
        const ShadowName *match = group_match(&group);
        Linked linked = LINKED;
        if (group.want && !match)
            err = group_link(run, pair, &group, &linked);
        else if (group.want && !same_name(wanted, group.want, there, match))
            err = group_rename(run, pair, &group, match);
        if (linked == LINKED)
            group_stale(&group, match, stale);
    }
    return err;
}

void shadow_stale(const ShadowList *wanted, const ShadowList *there, ShadowList *stale)
{
    Group group = {.wanted = wanted, .there = there};

    for (size_t at = 0; group_next(&group, &at);) {
        const ShadowName *match = group_match(&group);
        if (!group.want || match)
            group_stale(&group, match, stale);
    }
}

/* ---- what is gone ---- */

static void name_counted(ShadowRun *run, ino_t ino)
{
    if (run->n_names == run->names_room) {
        run->names_room = run->names_room ? 2 * run->names_room : 1024;
        run->names = xrealloc(run->names, run->names_room * sizeof *run->names);
    }
    run->names[run->n_names++] = (ShadowNames){ino, 1};
}

/* A folder of the shadow by itself.  Owner of fd. */
static Error *stream_of(int above, const char *name, DIR **ret_dir)
{
    int fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    Error *err = NULL;

    *ret_dir = fd < 0 ? NULL : fdopendir(fd);
    if (!*ret_dir) {
        err = error_in(error_system("open"), "%s", name);
        fd_close(&fd);
    }
    return err;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* The shadow is ours: the depth is what we made. */
static Error *names_of_tree(ShadowRun *run, int above, const char *name)
{
    DEFER(dir_close) DIR *dir = NULL;

    Error *err = stream_of(above, name, &dir);
    for (struct dirent *entry; !err && dir && (entry = readdir(dir));) {
        if (entry->d_type == DT_DIR && !is_dots(entry->d_name))
            err = names_of_tree(run, dirfd(dir), entry->d_name);
        else if (entry->d_type != DT_DIR)
            name_counted(run, entry->d_ino);
    }
    return err;
}

static int by_ino(const void *one, const void *other)
{
    const ShadowNames *a = one, *b = other;

    return (a->ino > b->ino) - (a->ino < b->ino);
}

Error *shadow_drop_begin(ShadowRun *run, int shadow)
{
    size_t n = 0;

    if (run->counts.still)
        return NULL;
    Error *err = names_of_tree(run, shadow, ".");
    if (err || !run->n_names)
        return err;
    qsort(run->names, run->n_names, sizeof *run->names, by_ino);
    for (size_t i = 1; i < run->n_names; i++)
        if (run->names[i].ino == run->names[n].ino)
            run->names[n].n++;
        else
            run->names[++n] = run->names[i];
    run->n_names = n + 1;
    return NULL;
}

/* Each name of a message that the source has wants one in the shadow.  As long as they are not more than those that would
 * be left, this one may go: it was expunged, or is there under another name. */
static bool may_go(const ShadowRun *run, const struct stat *st)
{
    const ShadowNames wanted = {.ino = st->st_ino};
    ShadowNames *names = bsearch(&wanted, run->names, run->n_names, sizeof wanted, by_ino);

    if (!names || 2 * (uint64_t)names->n <= st->st_nlink)
        return false;
    names->n--;
    return true;
}

static Error *drop_one(ShadowRun *run, int fd, const char *name)
{
    struct stat st;

    if (!run->counts.still) {
        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            return errno == ENOENT ? NULL : error_system("stat");
        if (!may_go(run, &st))
            return NULL;
    }
    if (unlinkat(fd, name, 0) != 0 && errno != ENOENT)
        return error_system("unlink");
    run->counts.dropped++;
    return NULL;
}

Error *shadow_drop(ShadowRun *run, const ShadowPair *pair, const ShadowList *stale)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < stale->n; i++) {
        const ShadowName *name = &stale->names[i];
        err = drop_one(run, pair->shadow.fd[name->part], shadow_text(stale, name));
    }
    return err;
}

Error *shadow_drop_folder(ShadowRun *run, int shadow, const char *name)
{
    DEFER(dir_close) DIR *dir = NULL;

    Error *err = stream_of(shadow, name, &dir);
    for (struct dirent *entry; !err && dir && (entry = readdir(dir));) {
        if (is_dots(entry->d_name))
            continue;
        if (entry->d_type == DT_DIR)
            err = shadow_drop_folder(run, dirfd(dir), entry->d_name);
        else
            err = drop_one(run, dirfd(dir), entry->d_name);
    }
    if (!err && unlinkat(shadow, name, AT_REMOVEDIR) != 0 && errno != ENOTEMPTY)
        err = error_system("rmdir");
    return err;
}

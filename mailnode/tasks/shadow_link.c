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

static void remember(ShadowRun *run, ino_t ino, uint32_t folder)
{
    if (run->n_links == run->links_room) {
        run->links_room = run->links_room ? 2 * run->links_room : 1024;
        run->links = xrealloc(run->links, run->links_room * sizeof *run->links);
    }
    run->links[run->n_links++] = (ShadowLink){ino, folder};
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
    if (want->part != SHADOW_SELF)
        remember(run, st.st_ino, pair->folder);
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

static int by_ino(const void *one, const void *other)
{
    const ShadowLink *a = one, *b = other;

    return a->ino != b->ino ? (a->ino < b->ino ? -1 : 1) : (a->folder > b->folder) - (a->folder < b->folder);
}

void shadow_drop_begin(ShadowRun *run)
{
    if (run->n_links)
        qsort(run->links, run->n_links, sizeof *run->links, by_ino);
}

static bool is_within(const ShadowRun *run, uint32_t folder, uint32_t above, bool deep)
{
    if (!above)
        return false;
    for (; folder && folder != above && deep; folder = run->parents[folder - 1])
        ;
    return folder == above;
}

/* A message that is not where it was, in a tree that moves all the time: was it linked in another place, too?  Then the
 * link here is forgotten, so that it does not count for another place. */
static bool linked_elsewhere(ShadowRun *run, ino_t ino, uint32_t folder, bool deep)
{
    size_t low = 0, high = run->n_links;
    bool elsewhere = false;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (run->links[middle].ino < ino)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low; i < run->n_links && run->links[i].ino == ino; i++)
        if (run->links[i].folder && !is_within(run, run->links[i].folder, folder, deep))
            elsewhere = true;
    for (size_t i = low; elsewhere && i < run->n_links && run->links[i].ino == ino; i++)
        if (is_within(run, run->links[i].folder, folder, deep))
            run->links[i].folder = 0;
    return elsewhere;
}

/* The source has it nowhere if the shadow's name is the only one. */
static Error *drop_one(ShadowRun *run, int fd, const char *name, uint32_t folder, bool deep)
{
    struct stat st;

    if (!run->counts.still) {
        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            return errno == ENOENT ? NULL : error_system("stat");
        if (st.st_nlink > 1 && !linked_elsewhere(run, st.st_ino, folder, deep))
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
        const char *text = shadow_text(stale, name);
        int fd = pair->shadow.fd[name->part];
        if (name->part != SHADOW_SELF)
            err = drop_one(run, fd, text, pair->folder, false);
        else if (unlinkat(fd, text, 0) != 0 && errno != ENOENT)
            err = error_system("unlink");
        else
            run->counts.dropped++;
    }
    return err;
}

Error *shadow_drop_folder(ShadowRun *run, int shadow, const char *name, uint32_t folder)
{
    int fd = openat(shadow, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DEFER(dir_close) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    Error *err = NULL;

    if (!dir) {
        err = errno == ENOENT ? NULL : error_system("open");
        fd_close(&fd);
        return error_in(err, "%s", name);
    }
    for (struct dirent *entry; !err && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (entry->d_type == DT_DIR)
            err = shadow_drop_folder(run, fd, entry->d_name, folder);
        else
            err = drop_one(run, fd, entry->d_name, folder, true);
    }
    if (!err && unlinkat(shadow, name, AT_REMOVEDIR) != 0 && errno != ENOENT && errno != ENOTEMPTY)
        err = error_system("rmdir");
    return err;
}

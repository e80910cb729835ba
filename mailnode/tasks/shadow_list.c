#include "tasks/shadow_inside.h"

#include "base/alloc.h"
#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const shadow_parts[SHADOW_PARTS] = {".", "new", "cur"};

/* ---- a list ---- */

const char *shadow_text(const ShadowList *list, const ShadowName *name)
{
    return (const char *)list->texts.data + name->text;
}

void shadow_list_add(ShadowList *list, const char *name, ino_t ino, uint8_t part)
{
    size_t len = strlen(name);

    if (list->n == list->room) {
        list->room = list->room ? 2 * list->room : 16;
        list->names = xrealloc(list->names, list->room * sizeof *list->names);
    }
    list->names[list->n++] = (ShadowName){
        .text = list->texts.size,
        .key_len = (uint32_t)(part == SHADOW_SELF ? len : strcspn(name, ":")),
        .ino = ino,
        .part = part,
    };
    buf_append(&list->texts, name, len + 1);
}

static int by_key(const void *one, const void *other, void *context)
{
    const ShadowList *list = context;
    const ShadowName *a = one, *b = other;
    size_t len = a->key_len < b->key_len ? a->key_len : b->key_len;

    /* Files of the folder itself are other things than messages, whatever they are called. */
    if ((a->part == SHADOW_SELF) != (b->part == SHADOW_SELF))
        return a->part == SHADOW_SELF ? -1 : 1;
    int order = memcmp(shadow_text(list, a), shadow_text(list, b), len);
    if (order)
        return order;
    if (a->key_len != b->key_len)
        return a->key_len < b->key_len ? -1 : 1;
    if (a->part != b->part)
        return a->part < b->part ? -1 : 1;
    return strcmp(shadow_text(list, a), shadow_text(list, b));
}

void shadow_list_sort(ShadowList *list)
{
    if (list->n)
        qsort_r(list->names, list->n, sizeof *list->names, by_key, list);
}

void shadow_list_done(ShadowList *list)
{
    xfree(&list->names);
    buf_done(&list->texts);
    *list = (ShadowList){0};
}

/* ---- what is backed up ---- */

bool shadow_has_mail(ShadowLevel level)
{
    return level == LEVEL_STORE || level == LEVEL_FOLDER;
}

/* ".." and more is no mailbox's name; Dovecot renames a folder that it is about to remove to "..DOVECOT-TRASHED". */
static bool is_subfolder(const char *name)
{
    return name[0] == '.' && name[1] && name[1] != '.';
}

static bool begins_with(const char *name, const char *begin)
{
    return strncmp(name, begin, strlen(begin)) == 0;
}

bool shadow_child(ShadowLevel level, const char *name, ShadowLevel *ret_level)
{
    ShadowLevel child = LEVEL_FOLDER;
    bool is = false;

    if (level == LEVEL_HOMES) {
        child = LEVEL_HOME;
        is = true;
    } else if (level == LEVEL_HOME) {
        child = strcmp(name, "sieve") == 0                                              ? LEVEL_SCRIPTS
                : strcmp(name, "public-seen") == 0 || begins_with(name, "shared-seen.") ? LEVEL_MAILDIRS
                                                                                        : LEVEL_STORE;
        is = child != LEVEL_STORE || strcmp(name, "Maildir") == 0;
    } else if (level == LEVEL_STORE || level == LEVEL_MAILDIRS) {
        is = is_subfolder(name);
    }
    if (is)
        *ret_level = child;
    return is;
}

static bool ends_in(const char *name, const char *end)
{
    size_t name_len = strlen(name), end_len = strlen(end);

    return name_len >= end_len && strcmp(name + name_len - end_len, end) == 0;
}

/* May a folder of the shadow have this name?  Then no file has it, so that neither stands in the other's way. */
static bool is_folders(ShadowLevel level, const char *name)
{
    ShadowLevel child;

    return shadow_child(level, name, &child) ||
           (shadow_has_mail(level) && (strcmp(name, "cur") == 0 || strcmp(name, "new") == 0));
}

/* dovecot.index.pvt*: the seen flags of a shared mailbox, which are nowhere else. */
bool shadow_file_wanted(ShadowLevel level, const char *name)
{
    if (level == LEVEL_HOMES || is_folders(level, name))
        return false;
    if (begins_with(name, "dovecot.index.pvt"))
        return true;
    if (begins_with(name, "..") || begins_with(name, ".temp.") || begins_with(name, "dovecot.index") ||
        begins_with(name, "dovecot.list.index") || strcmp(name, "maildirsize") == 0)
        return false;
    return !ends_in(name, ".log") && !ends_in(name, ".cache") && !ends_in(name, ".lock") && !ends_in(name, ".svbin") &&
           !ends_in(name, ".tmp");
}

/* The one link that is taken: Pigeonhole's word for which script is the active one. */
bool shadow_active_script(int fd, ShadowLevel level, const char *name)
{
    char target[256];

    if (level != LEVEL_HOME || strcmp(name, ".dovecot.sieve") != 0)
        return false;
    ssize_t len = readlinkat(fd, name, target, sizeof target);
    return len > 6 && (size_t)len < sizeof target && memcmp(target, "sieve/", 6) == 0 && target[6] != '.' &&
           !memchr(target + 6, '/', (size_t)len - 6);
}

/* ---- a folder read ---- */

static Error *side_open_one(int above, const char *name, dev_t dev, int *ret_fd)
{
    struct stat st;

    *ret_fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? NULL : error_system("open");
    if (fstat(*ret_fd, &st) == 0 && st.st_dev == dev)
        return NULL;
    fd_close(ret_fd);
    return error_new(ERROR_SYSTEM, "it is on another file system than the mail");
}

Error *shadow_side_open(int above, const char *name, ShadowLevel level, dev_t dev, ShadowSide *ret_side)
{
    Error *err = side_open_one(above, name, dev, &ret_side->fd[SHADOW_SELF]);
    int self = ret_side->fd[SHADOW_SELF];

    for (int part = SHADOW_NEW; !err && self >= 0 && shadow_has_mail(level) && part < SHADOW_PARTS; part++)
        err = side_open_one(self, shadow_parts[part], dev, &ret_side->fd[part]);
    return err;
}

void shadow_side_close(ShadowSide *side)
{
    for (int part = 0; part < SHADOW_PARTS; part++)
        fd_close(&side->fd[part]);
}

static unsigned char kind_of(int fd, const struct dirent *entry)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type;
    return fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? IFTODT(st.st_mode) : DT_UNKNOWN;
}

/* A stream of its own; fd stays the caller's. */
static Error *stream(int fd, DIR **ret_dir)
{
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    *ret_dir = own < 0 ? NULL : fdopendir(own);
    if (*ret_dir)
        return NULL;
    if (own < 0 && errno == ENOENT)
        return NULL; /* removed while it was open */
    Error *err = error_system("open");
    fd_close(&own);
    return err;
}

/* Dovecot, too, reads over what begins with a dot. */
static Error *messages_of(int fd, uint8_t part, ShadowList *files, uint64_t *refused)
{
    DEFER(dir_close) DIR *dir = NULL;

    Error *err = fd < 0 ? NULL : stream(fd, &dir);
    if (err || !dir)
        return err;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        if (kind_of(fd, entry) == DT_REG)
            shadow_list_add(files, entry->d_name, entry->d_ino, part);
        else if (refused)
            ++*refused;
    }
    return NULL;
}

static void own_name(int fd, ShadowLevel level, const struct dirent *entry, ShadowList *files, ShadowList *folders,
                     uint64_t *refused)
{
    unsigned char kind = kind_of(fd, entry);
    ShadowLevel below;
    bool leads = shadow_child(level, entry->d_name, &below), wanted = shadow_file_wanted(level, entry->d_name);

    bool file = (kind == DT_REG && wanted) || (kind == DT_LNK && shadow_active_script(fd, level, entry->d_name));
    if (kind == DT_DIR && leads)
        shadow_list_add(folders, entry->d_name, entry->d_ino, SHADOW_SELF);
    else if (file)
        shadow_list_add(files, entry->d_name, entry->d_ino, SHADOW_SELF);
    else if (refused && kind != DT_DIR && kind != DT_REG && (leads || wanted))
        ++*refused;
}

/* new before cur: a message that a client sees meanwhile is found in one of them at least. */
Error *shadow_list(const ShadowSide *side, ShadowLevel level, ShadowList *files, ShadowList *folders, uint64_t *refused)
{
    DEFER(dir_close) DIR *dir = NULL;
    int fd = side->fd[SHADOW_SELF];

    Error *err = stream(fd, &dir);
    for (struct dirent *entry; !err && dir && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            own_name(fd, level, entry, files, folders, refused);
    if (!err && shadow_has_mail(level))
        err = messages_of(side->fd[SHADOW_NEW], SHADOW_NEW, files, refused);
    if (!err && shadow_has_mail(level))
        err = messages_of(side->fd[SHADOW_CUR], SHADOW_CUR, files, refused);
    shadow_list_sort(files);
    shadow_list_sort(folders);
    return err;
}

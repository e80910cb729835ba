#include "tables/dkim_files.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/crash.h"
#include "base/path.h"
#include "model/name.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MODE = 0640, FILE_SIZE_MAX = 16 * 1024, FEW = 8 };

struct DkimFiles {
    int fd;
    gid_t gid;  /* the folder's, which files get by its setgid bit */
    char **put; /* domains whose new file waits beside its place */
    size_t n_put, n_settled, n_removed;
    bool unsynced; /* the folder */
};

Error *dkim_files_open(const char *folder, DkimFiles **ret_files)
{
    DEFER(xfree) char *path = xasprintf("%s/dkim", folder);
    struct stat st;

    Error *err = folder_make(path, 0750, (uid_t)-1, (gid_t)-1);
    if (err)
        return err;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        err = error_in(error_system("open"), "%s", path);
        if (fd >= 0)
            close(fd);
        return err;
    }
    *ret_files = xcalloc(1, sizeof **ret_files);
    (*ret_files)->fd = fd;
    (*ret_files)->gid = st.st_gid;
    return NULL;
}

/* No domain begins with '.': what is not settled is no file of any. */
static char *beside(const char *domain)
{
    return xasprintf(".%s", domain);
}

static void put_forget(DkimFiles *files, bool drop)
{
    for (size_t i = 0; i < files->n_put; i++) {
        DEFER(xfree) char *temp = beside(files->put[i]);
        if (drop)
            unlinkat(files->fd, temp, 0);
        free(files->put[i]);
    }
    free(files->put);
    files->put = NULL;
    files->n_put = 0;
}

void dkim_files_close(DkimFiles **files)
{
    if (!*files)
        return;
    put_forget(*files, true);
    close((*files)->fd);
    free(*files);
    *files = NULL;
}

size_t dkim_files_put(const DkimFiles *files)
{
    return files->n_settled;
}

size_t dkim_files_removed(const DkimFiles *files)
{
    return files->n_removed;
}

/* ---- one file ---- */

static Error *name_check(const char *domain)
{
    size_t len = strlen(domain);

    if (len && len <= NAME_FQDN_LEN && strspn(domain, "abcdefghijklmnopqrstuvwxyz0123456789.-") == len &&
        *domain != '.')
        return NULL;
    return error_new(ERROR_INVALID, "a domain that cannot be the name of a file");
}

static void text_done(Buf *text)
{
    if (text->data)
        wipe(text->data, text->room);
    buf_done(text);
}

static bool stands(const DkimFiles *files, const char *domain, const Buf *text)
{
    DEFER(fd_close) int fd = openat(files->fd, domain, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    uint8_t there[FILE_SIZE_MAX];
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 07777) != FILE_MODE ||
        st.st_gid != files->gid || (size_t)st.st_size != text->size)
        return false;
    ssize_t got = read(fd, there, sizeof there);
    bool same = got == (ssize_t)text->size && memcmp(there, text->data, text->size) == 0;
    wipe(there, sizeof there);
    return same;
}

static Error *temp_write(const DkimFiles *files, const char *domain, const Buf *text)
{
    DEFER(xfree) char *temp = beside(domain);

    if (unlinkat(files->fd, temp, 0) != 0 && errno != ENOENT)
        return error_system("unlink");
    DEFER(fd_close) int fd = openat(files->fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_system("create");
    if (fchmod(fd, FILE_MODE) != 0)
        return error_system("chmod");
    if (write(fd, text->data, text->size) != (ssize_t)text->size)
        return error_system("write");
    return NULL;
}

Error *dkim_file_put(DkimFiles *files, const char *domain, const char *selector, const Secret *key)
{
    DEFER(text_done) Buf text = {0};
    Error *err = name_check(domain);

    buf_init(&text, FILE_SIZE_MAX);
    if (!err && (!*selector || strchr(selector, '\n') || !buf_printf(&text, "%s\n", selector) ||
                 !buf_append(&text, secret_data(key), secret_size(key))))
        err = error_new(ERROR_INVALID, "selector or key are too long, or no selector");
    if (err || stands(files, domain, &text))
        return err;
    CRASH_POINT("agent.dkim.writing");
    err = temp_write(files, domain, &text);
    if (err)
        return error_in(err, "dkim/%s", domain);
    files->put = xrealloc(files->put, (files->n_put + 1) * sizeof *files->put);
    files->put[files->n_put++] = xstrdup(domain);
    return NULL;
}

/* ---- all of them ---- */

static Error *on_disk(const DkimFiles *files)
{
    if (files->n_put > FEW)
        return syncfs(files->fd) == 0 ? NULL : error_system("syncfs");
    for (size_t i = 0; i < files->n_put; i++) {
        DEFER(xfree) char *temp = beside(files->put[i]);
        DEFER(fd_close) int fd = openat(files->fd, temp, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fsync(fd) != 0)
            return error_system("fsync");
    }
    return NULL;
}

Error *dkim_files_settle(DkimFiles *files)
{
    Error *err = files->n_put ? on_disk(files) : NULL;
    for (size_t i = 0; !err && i < files->n_put; i++) {
        DEFER(xfree) char *temp = beside(files->put[i]);
        if (renameat(files->fd, temp, files->fd, files->put[i]) != 0)
            err = error_in(error_system("rename"), "dkim/%s", files->put[i]);
        else
            files->n_settled++;
        files->unsynced = true;
    }
    if (!err && files->unsynced && fsync(files->fd) != 0)
        err = error_in(error_system("fsync"), "dkim");
    files->unsynced = files->unsynced && err;
    CRASH_POINT("agent.dkim.settled");
    put_forget(files, err != NULL);
    return err;
}

Error *dkim_files_drop(DkimFiles *files, const char *name)
{
    bool folder = false;

    if (strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return error_new(ERROR_INVALID, "no name of a file");
    if (unlinkat(files->fd, name, 0) == 0) {
        files->n_removed++;
        files->unsynced = true;
        return NULL;
    }
    if (errno == ENOENT)
        return NULL;
    folder = errno == EISDIR;
    Error *err = error_in(error_system("unlink"), "dkim/%s", name);
    return folder ? error_hint(err, "a folder does not belong there: remove it") : err;
}

Error *dkim_file_remove(DkimFiles *files, const char *domain)
{
    Error *err = name_check(domain);

    if (err)
        return err;
    CRASH_POINT("agent.dkim.removing");
    return dkim_files_drop(files, domain);
}

Error *dkim_files_list(DkimFiles *files, Names *ret_names)
{
    int fd = openat(files->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir) {
        Error *err = error_in(error_system("open"), "dkim");
        if (fd >= 0)
            close(fd);
        return err;
    }
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            names_add(ret_names, entry->d_name);
    closedir(dir);
    return NULL;
}

#include "replication.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/path.h"
#include "tables/names.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAIR_MODE = 0640, PAIR_BYTES_MAX = 64 * 1024 };

typedef struct Pass {
    const char *folder, *node;
    Journal *journal;
    Names wanted; /* files */
    bool writes;
    size_t n_written;
} Pass;

static void pass_done(Pass *pass)
{
    names_done(&pass->wanted);
}

static void text_done(Buf *text)
{
    if (text->data)
        wipe(text->data, text->room);
    buf_done(text);
}

static bool stands(const char *folder, const char *path, const Secret *pair)
{
    DEFER(text_done) Buf there = {0};
    struct stat above, st;

    if (stat(folder, &above) != 0 || lstat(path, &st) != 0 || !S_ISREG(st.st_mode) ||
        (st.st_mode & 07777) != PAIR_MODE || st.st_gid != above.st_gid)
        return false;
    Error *err = file_read(path, PAIR_BYTES_MAX, &there);
    bool same = !err && there.size == secret_size(pair) && memcmp(there.data, secret_data(pair), there.size) == 0;
    error_free(&err);
    return same;
}

static Error *pair_write(Pass *pass, const char *name, uint64_t number)
{
    DEFER(xfree) char *path = xasprintf("%s/%s", pass->folder, name);
    DEFER(secret_free) Secret *pair = NULL;

    Error *err = journal_secret(pass->journal, number, &pair);
    if (err || !pair || stands(pass->folder, path, pair)) /* what is not here is not anywhere */
        return err;
    CRASH_POINT("agent.replication.writing");
    err = file_write(path, secret_data(pair), secret_size(pair), PAIR_MODE, (gid_t)-1);
    CRASH_POINT("agent.replication.written");
    pass->n_written += !err;
    return err;
}

static Error *want_one(void *context, const Object *object)
{
    Pass *pass = context;
    const Mail__UserDomain *stated = object->user_domain;

    if (!stated->replication || user_domain_role(stated, pass->node) == DIRECTORY_NONE)
        return NULL;
    DEFER(xfree) char *name = xasprintf("%s-%" PRIu64 ".pem", object->name, stated->replication);
    names_add(&pass->wanted, name);
    return pass->writes ? pair_write(pass, name, stated->replication) : NULL;
}

static Error *want_all(Pass *pass)
{
    TablesView view = journal_view(pass->journal, NULL);

    return view.objects.each(view.objects.self, MAIL__OBJECT__BODY_USER_DOMAIN, NULL, NULL, want_one, pass);
}

Error *replication_write(const char *folder, Journal *journal, const char *node, size_t *ret_n)
{
    DEFER(pass_done) Pass pass = {.folder = folder, .node = node, .journal = journal, .writes = true};

    Error *err = want_all(&pass);
    if (!err)
        *ret_n = pass.n_written;
    return error_in(err, "certificates of replicas");
}

Error *replication_sweep(const char *folder, Journal *journal, const char *node)
{
    DEFER(pass_done) Pass pass = {.folder = folder, .node = node, .journal = journal};
    DEFER(dir_close) DIR *dir = opendir(folder);

    Error *err = dir ? want_all(&pass) : NULL;
    for (struct dirent *entry; !err && dir && (entry = readdir(dir));) {
        DEFER(xfree) char *path = xasprintf("%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.' && !names_have(&pass.wanted, entry->d_name) && unlink(path) != 0)
            err = error_in(error_system("unlink"), "%s", path);
    }
    return error_in(err, "certificates of replicas");
}

#include "engine/replicas.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/path.h"
#include "base/proc.h"
#include "engine/child.h"
#include "engine/tree.h"
#include "render/slapd.h"
#include "tables/places.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REMOVE_MS = 10000 };

static Path marks_path(const char *root)
{
    return path_in(root, "%s/replicas", &PLACE_ENGINE[3]);
}

bool replicas_marked(const char *root, const char *name)
{
    Path marks = marks_path(root);
    DEFER(xfree) char *mark = xasprintf("%s/%s", marks.text, name);

    return access(mark, F_OK) == 0;
}

bool replica_is_whole(const char *line)
{
    static const char all[] = "contextCSN: ";

    return strncmp(line, all, sizeof all - 1) == 0;
}

Error *replicas_mark(const char *root, const NodeState *state)
{
    Path marks = marks_path(root);
    Error *err = NULL;

    for (size_t i = 0; !err && i < state->n_directories; i++) {
        DEFER(xfree) char *mark = xasprintf("%s/%s", marks.text, state->directories[i].name);
        if (!state->directories[i].replica || replicas_marked(root, state->directories[i].name))
            continue;
        err = folder_make(marks.text, 0700, 0, 0);
        if (!err)
            err = file_write(mark, "", 0, 0600, (gid_t)-1);
    }
    return err;
}

static const DirectoryState *directory_named(const NodeState *state, const char *name)
{
    for (size_t i = 0; i < state->n_directories; i++)
        if (strcmp(state->directories[i].name, name) == 0)
            return &state->directories[i];
    return NULL;
}

static int remove_in_child(void *context)
{
    const char *folder = context;

    tree_remove(folder);
    return access(folder, F_OK) != 0 && errno == ENOENT ? 0 : 1;
}

/* As slapd's user: the folder lies in one of its own, and root is not led astray there. */
static Error *copy_remove(const char *root, const char *name)
{
    DEFER(child_free) Child *child = NULL;
    ChildSpec spec = {.user = "openldap", .deadline_ms = REMOVE_MS};
    NodeState state = {.root = root};
    DEFER(xfree) char *folder = slapd_folder(&state, name);

    Error *err = child_fork(&spec, remove_in_child, folder, &child);
    while (!err && !child_run(child, clock_ms())) {
        Waiter wake = waiter_start();
        child_wait(child, &wake);
        waiter_block(&wake);
    }
    if (!err && !child_succeeded(child))
        err = error_new(ERROR_SYSTEM, "%s was not removed", folder);
    return err;
}

/* True: it is gone, or no copy any more. */
static bool settled(const char *root, const NodeState *state, const char *name)
{
    const DirectoryState *directory = directory_named(state, name);

    if (directory)
        return !directory->replica;
    Error *err = copy_remove(root, name);
    if (err) {
        log_stop(LOG_LEVEL_ERROR, "copy of a directory not removed, tried again with the next change", &err);
        return false;
    }
    log_info("copy of a directory removed", kv("user_domain", name));
    return true;
}

void replicas_sweep(const char *root, const NodeState *state)
{
    Path marks = marks_path(root);
    DEFER(dir_close) DIR *dir = state ? opendir(marks.text) : NULL;

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        DEFER(xfree) char *mark = xasprintf("%s/%s", marks.text, entry->d_name);
        if (entry->d_name[0] == '.' || strchr(entry->d_name, '.')) /* no name of a user domain has one */
            continue;
        CRASH_POINT("engine.replicas.sweeping");
        if (settled(root, state, entry->d_name) && unlink(mark) != 0)
            log_warning("mark of a copy not removed", kv("path", mark));
        CRASH_POINT("engine.replicas.swept");
    }
}

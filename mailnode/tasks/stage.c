#include "tasks/stage.h"

#include "base/alloc.h"
#include "base/path.h"
#include "engine/dialogue.h"
#include "engine/replicas.h"
#include "tables/places.h"
#include "tasks/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REDIS_WAIT_MS = 600000, LOOK_FIRST_MS = 5, LOOK_MS = 200, INFO_MAX = 16384, CONF_OCTETS_MAX = 1 << 24 };

/* ---- slapd ---- */

/* "NAME" of "PREFIXNAMEEND" */
static bool named(const char *text, size_t len, const char *prefix, const char *end, char ret_domain[NAME_MAX + 1])
{
    size_t before = strlen(prefix), behind = strlen(end);

    if (len <= before + behind || len - before - behind > NAME_MAX || strncmp(text, prefix, before) != 0 ||
        strncmp(text + len - behind, end, behind) != 0)
        return false;
    memcpy(ret_domain, text + before, len - before - behind);
    ret_domain[len - before - behind] = '\0';
    return true;
}

bool stage_is_directory(const char *file, char ret_domain[NAME_MAX + 1])
{
    return named(file, strlen(file), "directory-", ".ldif", ret_domain);
}

/* The slapd.conf in force names each by its suffix; a tree to begin with is there for what is held alone. */
Error *stage_directories(const char *root, DirectoryEach *each, void *context)
{
    Path conf = path_in(root, "%s/slapd/slapd.conf", &PLACE_CURRENT[3]);
    DEFER(buf_done) Buf text = {0};
    char domain[NAME_MAX + 1];

    Error *err = file_read(conf.text, CONF_OCTETS_MAX, &text);
    if (err && err->code == ERROR_NOT_FOUND)
        error_free(&err);
    for (const char *line = buf_text(&text), *end; !err && *line; line = end + (*end == '\n')) {
        end = line + strcspn(line, "\n");
        if (!named(line, (size_t)(end - line), "suffix dc=", ",dc=mailnode", domain))
            continue;
        Path tree = path_in(root, "%s/slapd/tree-%s.ldif", &PLACE_CURRENT[3], domain);
        err = each(context, domain, access(tree.text, F_OK) != 0);
    }
    return err;
}

/* Keeps the first error; takes the other. */
static void keep_first(Error **first, Error *err)
{
    if (*first)
        error_free(&err);
    else
        *first = err;
}

typedef struct Staging {
    Job *job;
    const char *state;
    Error *first;
} Staging;

static Error *whole_check(const char *path)
{
    DEFER(xfree) char *line = NULL;
    size_t room = 0;
    bool whole = false;
    FILE *text = fopen(path, "re");

    if (!text)
        return error_system("%s", path);
    while (!whole && getline(&line, &room, text) > 1) /* the first entry, which ends with an empty line */
        whole = replica_is_whole(line);
    fclose(text);
    if (whole)
        return NULL;
    unlink(path); /* nobody shall take it for the directory */
    return error_new(ERROR_UNAVAILABLE, "the copy here is not whole");
}

static Error *directory(void *context, const char *domain, bool copy)
{
    Staging *staging = context;
    Path conf = path_in(job_root(staging->job), "%s/slapd/slapd.conf", &PLACE_CURRENT[3]);
    DEFER(xfree) char *path = xasprintf("%s/" STATE_DIRECTORY, staging->state, domain);

    Error *err = owner_slapcat(staging->job, conf.text, domain, path);
    if (!err && copy)
        err = whole_check(path);
    keep_first(&staging->first, error_in(err, "directory of %s", domain));
    return NULL;
}

static Error *directories(Job *job, const char *state)
{
    Staging staging = {.job = job, .state = state};

    keep_first(&staging.first, stage_directories(job_root(job), directory, &staging));
    return staging.first;
}

/* ---- Redis ---- */

/* Is a BGSAVE under way, and did the last one go well? */
static Error *redis_saving(Dialogue *redis, bool *ret_saving, bool *ret_good)
{
    char line[DIALOGUE_LINE_MAX], info[INFO_MAX];

    Error *err = dialogue_say_line(redis, "INFO persistence");
    if (!err)
        err = dialogue_line(redis, line);
    unsigned long size = !err && line[0] == '$' ? strtoul(line + 1, NULL, 10) : 0;
    if (!err && (size == 0 || size + 2 >= sizeof info))
        err = error_new(ERROR_UNAVAILABLE, "answered '%.100s'", line);
    if (!err)
        err = dialogue_take(redis, info, size + 2);
    if (err)
        return err;
    info[size] = '\0';
    *ret_saving = !strstr(info, "rdb_bgsave_in_progress:0");
    *ret_good = strstr(info, "rdb_last_bgsave_status:ok");
    return NULL;
}

static Error *redis_until_saved(Job *job, Dialogue *redis, bool *ret_good)
{
    bool saving = true;
    unsigned pause_ms = LOOK_FIRST_MS;
    Error *err = NULL;

    for (; !err && saving; pause_ms = 2 * pause_ms < LOOK_MS ? 2 * pause_ms : LOOK_MS) {
        err = redis_saving(redis, &saving, ret_good);
        if (!err)
            err = job_go_on(job);
        if (!err && saving)
            usleep(pause_ms * 1000);
    }
    return err;
}

static Error *redis_save(Job *job)
{
    DEFER(xfree) char *path = xasprintf(PLACE_REDIS_SOCKET, job_root(job));
    DEFER(dialogue_free) Dialogue *redis = NULL;
    bool good = false;

    Error *err = dialogue_unix(path, clock_ms() + REDIS_WAIT_MS, &redis);
    if (!err)
        err = redis_until_saved(job, redis, &good); /* one that others asked for */
    if (!err)
        err = dialogue_say_line(redis, "BGSAVE SCHEDULE"); /* its log may just be written anew */
    if (!err)
        err = dialogue_expect(redis, "+Background saving");
    if (!err)
        err = redis_until_saved(job, redis, &good);
    return !err && !good ? error_new(ERROR_SYSTEM, "could not write its copy") : err;
}

static Error *redis(Job *job, const char *state)
{
    Path made = path_in(job_root(job), "%s/dump.rdb", &PLACE_REDIS_DATA[3]);
    DEFER(xfree) char *copy = xasprintf("%s/" STATE_REDIS, state);

    Error *err = redis_save(job);
    if (!err)
        err = owner_take(AT_FDCWD, made.text, copy);
    return error_in(err, "Redis");
}

/* ---- the whole ---- */

/* What the agent has staged; path NULL: nothing of the kind. */
static Error *staged(const char *path, const char *state, const char *name, const char *what)
{
    DEFER(xfree) char *copy = xasprintf("%s/%s", state, name);

    return path ? error_in(owner_take(AT_FDCWD, path, copy), "%s", what) : NULL;
}

Error *stage_state(Job *job, const char *state)
{
    Error *first = NULL;

    keep_first(&first, staged(job_staged(job), state, STATE_OBJECTS, "state of the node"));
    keep_first(&first, staged(job_copy(job).path, state, STATE_CONTROLLER, "copy of the controller"));
    keep_first(&first, directories(job, state));
    keep_first(&first, redis(job, state));
    if (job_cancelled(job)) {
        error_free(&first);
        return job_go_on(job);
    }
    return first;
}

#include "tasks/restore_databases.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/path.h"
#include "base/proc.h"
#include "engine/bounce.h"
#include "engine/dialogue.h"
#include "tables/places.h"
#include "tasks/owner.h"
#include "tasks/restore_ldif.h"
#include "tasks/restore_tree.h"
#include "tasks/stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLAPD_ENDS_MS = 30000, SLAPD_ANSWERS_MS = 60000, LOOK_US = 50000, CONF_OCTETS_MAX = 1 << 24 };

struct Databases {
    Job *job;
    const char *root;
    int aside; /* where all is made: room_aside */
    const char *path;
    int state;
    bool again, bounce;
    bool redis;     /* "redis" there is whole */
    char **domains; /* "slapd-NAME" there is whole */
    size_t n_domains;
    Buf copies; /* "\nNAME\nNAME\n": directories of other nodes, with a copy here */
    Buf words;
};

/* Its owner's alone. */
static Error *folder_of(const Databases *databases, const char *name, const char *user)
{
    uid_t uid = 0;
    gid_t gid = 0;

    Error *err = proc_user(user, &uid, &gid);
    if (err)
        return err;
    if (mkdirat(databases->aside, name, S_IRWXU) != 0 ||
        fchownat(databases->aside, name, uid, gid, AT_SYMLINK_NOFOLLOW) != 0)
        return error_in(error_system("create"), "%s", name);
    return NULL;
}

/* ---- a directory ---- */

/* A replica that has seen more than the backup is ahead of what is restored: the two do not find together again. */
static void tell_replicas(const Databases *databases, const char *domain, const char *conf)
{
    DEFER(xfree) char *limits = xasprintf("\nlimits dn.exact=" DIRECTORY_REPLICA " ", domain);

    if (strstr(conf, limits))
        job_found(databases->job, MAIL__FACT_STATE__DEGRADED, "directory",
                  "replicas of %.64s keep what they had: take each away and add it again, "
                  "mailctl user-domain set %.64s replicas-=NODE, then replicas+=NODE",
                  domain, domain);
}

/* slapd.conf as it is in force, with the database of this one domain in another folder. */
static Error *conf_beside(const Databases *databases, const char *domain, const char *folder, const char *conf)
{
    Path in_force = path_in(databases->root, "%s/slapd/slapd.conf", &PLACE_CURRENT[3]);
    DEFER(xfree) char *place = xasprintf(PLACE_SLAPD_DATA "/%s", databases->root, domain);
    DEFER(buf_done) Buf text = {0}, out = {0};
    size_t len = strlen(place), found = 0;

    Error *err = file_read(in_force.text, CONF_OCTETS_MAX, &text);
    if (err)
        return err;
    tell_replicas(databases, domain, buf_text(&text));
    for (const char *line = buf_text(&text), *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        end += *end == '\n';
        const char *value = strncmp(line, "directory ", 10) == 0 ? line + 10 + (line[10] == '"') : NULL;
        if (value && strncmp(value, place, len) == 0 && strchr("\"\n", value[len])) {
            buf_printf(&out, "directory \"%s\"\n", folder);
            found++;
        } else {
            buf_append(&out, line, (size_t)(end - line));
        }
    }
    if (found != 1)
        return error_new(ERROR_DAMAGED, "%s: names the database of %s %zu times", in_force.text, domain, found);
    return file_write(conf, out.data, out.size, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH, (gid_t)-1);
}

/* All of it is admitted. */
static Error *entries_of(const char *path, uint64_t *ret_entries)
{
    FILE *text = fopen(path, "re");

    if (!text)
        return error_system("%s", path);
    Error *err = ldif_admit(text, ret_entries);
    fclose(text);
    return error_in(err, "%s", strrchr(path, '/') + 1);
}

static Error *same(const char *one, const char *other, bool *ret_same)
{
    FILE *a = fopen(one, "re"), *b = fopen(other, "re");
    bool good = a && b;

    *ret_same = false;
    if (good) {
        int c;
        while ((c = getc_unlocked(a)) == getc_unlocked(b) && c != EOF)
            continue;
        *ret_same = c == EOF && feof(a) && feof(b);
        good = !ferror(a) && !ferror(b);
    }
    Error *err = good ? NULL : error_system("%s", one);
    if (a)
        fclose(a);
    if (b)
        fclose(b);
    return err;
}

static Error *load(const Databases *databases, const char *domain, const char *conf, const char *ldif)
{
    DEFER(xfree) char *suffix = xasprintf(DIRECTORY_SUFFIX, domain);
    const char *const argv[] = {"/usr/sbin/slapadd", "-q", "-f", conf, "-b", suffix, NULL};
    DEFER(fd_close) int in = open(ldif, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    return in < 0 ? error_system("%s", ldif) : owner_run(databases->job, "openldap", argv, in);
}

/* Loaded beside, and read again. */
static Error *directory_make(Databases *databases, const char *domain, const char *ldif, uint64_t entries)
{
    DEFER(xfree) char *name = xasprintf("slapd-%s", domain);
    DEFER(xfree) char *folder = xasprintf("%s/%s", databases->path, name), *conf = xasprintf("%s.conf", folder);
    DEFER(xfree) char *read_back = xasprintf("%s.ldif", folder);
    bool equal = false;

    Error *err = folder_of(databases, name, "openldap");
    if (!err)
        err = conf_beside(databases, domain, folder, conf);
    if (!err)
        err = load(databases, domain, conf, ldif);
    if (!err)
        err = owner_slapcat(databases->job, conf, domain, read_back);
    if (!err)
        err = same(ldif, read_back, &equal);
    if (!err && !equal)
        err = error_new(ERROR_DAMAGED, "read again after loading it is not what the backup holds");
    if (err)
        return err;
    databases->domains = xrealloc(databases->domains, (databases->n_domains + 1) * sizeof *databases->domains);
    databases->domains[databases->n_domains++] = xstrdup(domain);
    buf_printf(&databases->words, ", directory of %s with %" PRIu64 " entries", domain, entries);
    return NULL;
}

/* What is there may go when it has nothing but the tree that it began with. */
static Error *directory_is_empty(const Databases *databases, const char *domain, const char *ldif, bool *ret_empty,
                                 bool *ret_same)
{
    Path current = path_in(databases->root, "%s/slapd", &PLACE_CURRENT[3]);
    DEFER(xfree) char *conf = xasprintf("%s/slapd.conf", current.text);
    DEFER(xfree) char *tree = xasprintf("%s/tree-%s.ldif", current.text, domain);
    DEFER(xfree) char *now = xasprintf("%s/now-%s.ldif", databases->path, domain);
    uint64_t entries = 0, begins_with = 0;

    Error *err = owner_slapcat(databases->job, conf, domain, now);
    if (!err)
        err = entries_of(now, &entries);
    if (!err)
        err = entries_of(tree, &begins_with);
    if (!err)
        err = same(now, ldif, ret_same);
    *ret_empty = entries <= begins_with;
    return err;
}

static Error *directory_one(void *context, const char *domain, bool copy)
{
    Databases *databases = context;
    DEFER(xfree) char *file = xasprintf(STATE_DIRECTORY, domain);
    DEFER(xfree) char *ldif = xasprintf("%s/%s", databases->path, file);
    uint64_t entries = 0;
    bool empty = false, equal = false;

    if (copy)
        buf_printf(&databases->copies, "%s%s\n", databases->copies.size ? "" : "\n", domain);
    Error *err = owner_take(databases->state, file, ldif);
    if (err && err->code == ERROR_NOT_FOUND) {
        error_free(&err);
        buf_printf(&databases->words, ", no directory of %s, which the backup does not hold", domain);
        return NULL;
    }
    if (!err && copy) { /* it would be lost again: a copy follows its node, whatever that has */
        buf_printf(&databases->words,
                   ", not the directory of %s, whose copy here follows another node: to bring it back, first mailctl "
                   "user-domain set %s node=THIS-NODE replicas=",
                   domain, domain);
        return NULL;
    }
    if (!err)
        err = entries_of(ldif, &entries);
    if (!err)
        err = directory_is_empty(databases, domain, ldif, &empty, &equal);
    if (!err && !empty) {
        if (!equal)
            buf_printf(&databases->words, ", not the directory of %s, which has people here", domain);
        databases->bounce |= equal && databases->again; /* slapd may still run with what stood there before */
        return NULL;
    }
    if (!err)
        err = directory_make(databases, domain, ldif, entries);
    return error_in(err, "directory of %s", domain);
}

/* ---- Redis ---- */

static const char redis_log[] = "file appendonly.aof.1.base.rdb seq 1 type b\n";

static Error *redis_is_away(const Databases *databases)
{
    DEFER(xfree) char *path = xasprintf(PLACE_REDIS_SOCKET, databases->root);
    DEFER(dialogue_free) Dialogue *redis = NULL;

    Error *err = dialogue_unix(path, clock_ms() + 1000, &redis);
    if (!err)
        return error_new(ERROR_CONFLICT, "Redis still runs: the instance is not stopped yet");
    error_free(&err);
    return NULL;
}

/* With "appendonly yes" Redis 7 reads its log and no dump.rdb; a log may begin with one.  Source: redis.conf, "appenddirname";
 * the manifest's lines: "file NAME seq N type b|h|i". */
static Error *redis_make(Databases *databases)
{
    DEFER(xfree) char *folder = xasprintf("%s/redis", databases->path);
    DEFER(xfree) char *log = xasprintf("%s/appendonlydir", folder);
    DEFER(xfree) char *base = xasprintf("%s/appendonly.aof.1.base.rdb", log);
    DEFER(xfree) char *manifest = xasprintf("%s/appendonly.aof.manifest", log);
    const char *const check[] = {"/usr/bin/redis-check-rdb", base, NULL};
    TreeCounts counts = {0};
    uid_t uid = 0;
    gid_t gid = 0;

    Error *err = proc_user("redis", &uid, &gid);
    if (!err)
        err = folder_make(log, S_IRWXU, 0, 0);
    if (!err)
        err = owner_take(databases->state, STATE_REDIS, base);
    if (!err)
        err = file_write(manifest, redis_log, strlen(redis_log), S_IRUSR | S_IWUSR, (gid_t)-1);
    if (err)
        return err;
    DEFER(fd_close) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    err = fd < 0 ? error_system("%s", folder) : tree_take(fd, uid, gid, &counts);
    if (!err && fchmod(fd, S_IRWXU | S_IRGRP | S_IXGRP) != 0) /* as the engine makes it: PLACE_REDIS_DATA */
        err = error_system("%s", folder);
    return err ? err : owner_run(databases->job, "redis", check, 0);
}

static Error *redis(Databases *databases)
{
    Error *err = redis_is_away(databases);
    if (!err)
        err = redis_make(databases);
    if (err && err->code == ERROR_NOT_FOUND) {
        error_free(&err);
        buf_append_text(&databases->words, ", nothing that the filter had learned: the backup does not hold it");
        return NULL;
    }
    databases->redis = !err;
    if (!err)
        buf_append_text(&databases->words, ", what the filter had learned");
    return error_in(err, "Redis");
}

/* ---- the whole ---- */

/* A user domain that lives elsewhere now, or nowhere: said, since somebody may wait for its people. */
static void tell_homeless(Databases *databases)
{
    int again = openat(databases->state, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DEFER(dir_close) DIR *dir = again < 0 ? NULL : fdopendir(again);
    char domain[NAME_MAX + 1];

    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!stage_is_directory(entry->d_name, domain))
            continue;
        DEFER(xfree) char *place = xasprintf(PLACE_CURRENT "/slapd/tree-%s.ldif", databases->root, domain);
        DEFER(xfree) char *copy = xasprintf("\n%s\n", domain);
        if (access(place, F_OK) != 0 && !strstr(buf_text(&databases->copies), copy))
            job_found(databases->job, MAIL__FACT_STATE__DEGRADED, "directory",
                      "the backup holds a directory of %.64s, and no user domain of that name has its directory here",
                      domain);
    }
}

Error *databases_make(Job *job, Room *room, int state, bool again, Databases **ret_databases)
{
    DEFER(databases_free) Databases *databases = xcalloc(1, sizeof *databases);

    databases->job = job;
    databases->root = job_root(job);
    databases->state = state;
    databases->again = again;
    Error *err = room_aside(room, &databases->aside, &databases->path);
    if (!err)
        err = redis(databases);
    if (!err)
        err = stage_directories(databases->root, directory_one, databases);
    if (err)
        return err;
    tell_homeless(databases);
    *ret_databases = databases;
    databases = NULL;
    return NULL;
}

void databases_free(Databases **databases)
{
    if (!*databases)
        return;
    for (size_t i = 0; i < (*databases)->n_domains; i++)
        free((*databases)->domains[i]);
    free((*databases)->domains);
    buf_done(&(*databases)->copies);
    buf_done(&(*databases)->words);
    xfree(databases);
}

/* Its socket is there again, and somebody listens. */
static Error *slapd_until_up(const Databases *databases)
{
    DEFER(xfree) char *path = xasprintf(PLACE_LDAPI, databases->root);
    Msec until = clock_ms() + SLAPD_ANSWERS_MS;
    Error *err = NULL;

    do {
        DEFER(dialogue_free) Dialogue *slapd = NULL;
        error_free(&err);
        err = dialogue_unix(path, until, &slapd);
        if (err)
            usleep(LOOK_US);
    } while (err && clock_ms() < until);
    return err;
}

Error *databases_place(const Databases *databases)
{
    Error *err = NULL;

    if (databases->redis) {
        DEFER(xfree) char *place = xasprintf(PLACE_REDIS_DATA, databases->root);
        err = room_exchange(databases->aside, "redis", place);
    }
    if (err)
        return err;
    CRASH_POINT("restore.instance.redis");
    for (size_t i = 0; !err && i < databases->n_domains; i++) {
        DEFER(xfree) char *name = xasprintf("slapd-%s", databases->domains[i]);
        DEFER(xfree) char *place = xasprintf(PLACE_SLAPD_DATA "/%s", databases->root, databases->domains[i]);
        err = room_exchange(databases->aside, name, place);
    }
    if (err)
        return err;
    CRASH_POINT("restore.instance.directories");
    bool bounce = databases->bounce || databases->n_domains;
    if (bounce)
        err = daemon_bounce(databases->root, &daemons[DAEMON_SLAPD], SLAPD_ENDS_MS);
    if (!err && bounce)
        err = slapd_until_up(databases);
    return error_in(err, "slapd with what was restored");
}

const char *databases_words(Databases *databases)
{
    return buf_text(&databases->words);
}

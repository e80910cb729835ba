#include "engine/generation.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "engine/tree.h"
#include "render/slapd.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void prepare_free(Mail__EnginePrepare **prepare)
{
    if (*prepare)
        mail__engine_prepare__free_unpacked(*prepare, NULL);
    *prepare = NULL;
}

void generation_free(Generation **generation)
{
    if (!*generation)
        return;
    node_state_free(&(*generation)->state);
    rendered_done(&(*generation)->rendered);
    xfree(generation);
}

static Path engine_path(const char *root, const char *name)
{
    return path_in(root, "var/lib/mailnode/engine/%s", name);
}

Path generation_path(const char *root, uint64_t number, const char *suffix)
{
    return path_in(root, "var/lib/mailnode/engine/gen/%06" PRIu64 "%s", number, suffix);
}

/* ---- written ----------------------------------------------------------------------- */

/* Behind the objects stands their digest: a torn write of this file shall not be half a configuration. */
static Error *objects_write(const char *folder, const Buf *prepare)
{
    DEFER(xfree) char *path = xasprintf("%s/objects", folder);
    DEFER(buf_done) Buf text = {0};
    Digest digest = digest_of(prepare->data, prepare->size);

    buf_append(&text, prepare->data, prepare->size);
    buf_append(&text, digest.octets, sizeof digest.octets);
    return file_write(path, text.data, text.size, 0600, (gid_t)-1);
}

Error *generation_write(const char *root, uint64_t number, const Rendered *rendered)
{
    Path folder = generation_path(root, number, ".new"), above = engine_path(root, "gen");
    DEFER(xfree) char *file = xasprintf("%s/rendered", folder.text);
    DEFER(buf_done) Buf all = {0};

    rendered_pack(rendered, &all);
    if (all.size > GENERATION_BYTES_MAX)
        return error_new(ERROR_INVALID, "a configuration of %zu octets: at most %d", all.size, GENERATION_BYTES_MAX);
    CRASH_POINT("engine.generation.writing");
    Error *err = folder_make(above.text, 0711, 0, 0);
    tree_remove(folder.text);
    if (!err)
        err = tree_write(folder.text, rendered->files, &(TreeWay){.durable = true});
    if (!err)
        CRASH_POINT("engine.generation.texts");
    if (!err)
        err = objects_write(folder.text, &rendered->prepare);
    if (!err)
        err = file_write(file, all.data, all.size, 0600, (gid_t)-1);
    if (!err)
        err = folder_sync(above.text);
    if (err) {
        tree_remove(folder.text);
        return err;
    }
    CRASH_POINT("engine.generation.written");
    return NULL;
}

Error *generation_name(const char *root, uint64_t number)
{
    Path from = generation_path(root, number, ".new"), to = generation_path(root, number, "");
    Path above = engine_path(root, "gen");

    if (rename(from.text, to.text) != 0)
        return error_in(error_system("rename"), "%s", from.text);
    CRASH_POINT("engine.generation.named");
    return folder_sync(above.text);
}

Error *generation_objects_write(const char *root, uint64_t number, const Buf *prepare)
{
    Path folder = generation_path(root, number, "");

    CRASH_POINT("engine.objects.writing");
    Error *err = objects_write(folder.text, prepare);
    if (!err)
        CRASH_POINT("engine.objects.written");
    return err;
}

/* ---- read back --------------------------------------------------------------------- */

Error *objects_read(const Buf *prepare, const char *root, Generation *out)
{
    DEFER(prepare_free) Mail__EnginePrepare *said = mail__engine_prepare__unpack(NULL, prepare->size, prepare->data);
    NodeState *state = NULL;
    Digest config = {{0}};

    if (!said)
        return error_new(ERROR_DAMAGED, "the objects do not read back");
    Error *err = node_state_read(said->objects, said->n_objects, root, &state);
    if (!err && state->n_directories)
        err = slapd_uids(state);
    if (err) {
        node_state_free(&state);
        return err;
    }
    for (size_t i = 0; i < said->n_objects; i++) {
        Digest one = digest_of(said->objects[i].data, said->objects[i].len);
        digest_add(&config, &one);
    }
    node_state_free(&out->state);
    out->state = state;
    out->revision = said->revision;
    out->config = config;
    return NULL;
}

static bool objects_file_read(const char *folder, Buf *out)
{
    DEFER(xfree) char *path = xasprintf("%s/objects", folder);
    Digest there;

    Error *err = file_read(path, GENERATION_BYTES_MAX, out);
    if (err || out->size < DIGEST_SIZE) {
        error_free(&err);
        return false;
    }
    out->size -= DIGEST_SIZE;
    Digest wanted = digest_of(out->data, out->size);
    return digest_from(out->data + out->size, DIGEST_SIZE, &there) && digest_equal(&wanted, &there);
}

static Error *read_folder(const char *root, const char *folder, Generation *out)
{
    DEFER(xfree) char *file = xasprintf("%s/rendered", folder);
    DEFER(buf_done) Buf all = {0}, objects = {0};

    Error *err = file_read(file, GENERATION_BYTES_MAX, &all);
    if (!err)
        err = error_in(rendered_unpack(&all, &out->rendered), "%s", file);
    if (err)
        return err;
    out->mended = !objects_file_read(folder, &objects);
    if (!out->mended) {
        buf_done(&out->rendered.prepare);
        out->rendered.prepare = objects;
        objects = (Buf){0};
    }
    return error_in(objects_read(&out->rendered.prepare, root, out), "%s/objects", folder);
}

Error *generation_read(const char *root, uint64_t number, const char *suffix, Generation **ret_generation)
{
    DEFER(generation_free) Generation *generation = xcalloc(1, sizeof *generation);
    Path folder = generation_path(root, number, suffix);

    generation->number = number;
    Error *err = read_folder(root, folder.text, generation);
    if (err)
        return err;
    if (generation->rendered.certificate.text[0])
        generation->state->certificate = generation->rendered.certificate.text;
    *ret_generation = generation;
    generation = NULL;
    return NULL;
}

/* ---- listed and swept -------------------------------------------------------------- */

/* 0: no generation's own name. */
static uint64_t number_of(const char *name)
{
    char *end = NULL;

    if (strlen(name) < 6 || strspn(name, "0123456789") != strlen(name))
        return 0;
    return strtoull(name, &end, 10);
}

static int number_compare(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return (*left > *right) - (*left < *right);
}

size_t generations_list(const char *root, uint64_t **ret_numbers)
{
    Path above = engine_path(root, "gen");
    DEFER(dir_close) DIR *dir = opendir(above.text);
    uint64_t *numbers = NULL;
    size_t n = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        uint64_t number = number_of(entry->d_name);
        if (!number)
            continue;
        numbers = xrealloc(numbers, (n + 1) * sizeof *numbers);
        numbers[n++] = number;
    }
    if (n)
        qsort(numbers, n, sizeof *numbers, number_compare);
    *ret_numbers = numbers;
    return n;
}

static bool is_used(uint64_t number, const uint64_t *used, size_t n_used)
{
    for (size_t i = 0; i < n_used; i++) {
        if (used[i] == number)
            return true;
    }
    return false;
}

static bool half_made(const char *name)
{
    const char *dot = strchr(name, '.');

    return dot && dot != name && (strcmp(dot, ".new") == 0 || strcmp(dot, ".check") == 0);
}

void generations_sweep(const char *root, const uint64_t *used, size_t n_used)
{
    Path above = engine_path(root, "gen");
    DEFER(dir_close) DIR *dir = opendir(above.text);
    DEFER(xfree) uint64_t *numbers = NULL;
    size_t n = generations_list(root, &numbers);

    for (size_t i = 0; i + GENERATIONS_KEPT < n; i++) {
        Path folder = generation_path(root, numbers[i], "");
        if (!is_used(numbers[i], used, n_used))
            tree_remove(folder.text);
    }
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        DEFER(xfree) char *folder = xasprintf("%s/%s", above.text, entry->d_name);
        if (half_made(entry->d_name))
            tree_remove(folder);
    }
}

/* A generation's own two files lie above its texts, which may be called anything; a pair's lie deeper. */
void halves_sweep(const char *root)
{
    Path engine = engine_path(root, "."), certificates = engine_path(root, "tls");

    tree_sweep(engine.text, 2);
    tree_sweep(certificates.text, 2);
}

/* ---- what is current, and what is being proved --------------------------------------- */

static uint64_t link_number(const char *leads_to)
{
    return strncmp(leads_to, "gen/", 4) == 0 ? number_of(leads_to + 4) : 0;
}

Error *current_read(const char *root, uint64_t *ret_number)
{
    Path link = engine_path(root, "current");
    char text[64];
    ssize_t len = readlink(link.text, text, sizeof text - 1);

    if (len < 0 && errno == ENOENT) {
        *ret_number = 0;
        return NULL;
    }
    if (len < 0 && errno != EINVAL)
        return error_in(error_system("readlink"), "%s", link.text);
    text[len < 0 ? 0 : len] = '\0';
    uint64_t number = link_number(text);
    if (!number)
        return error_new(ERROR_DAMAGED, "%s leads to no generation", link.text);
    *ret_number = number;
    return NULL;
}

static Error *link_make(const char *root, const char *name, uint64_t number)
{
    Path link = engine_path(root, name);
    char target[64];

    snprintf(target, sizeof target, "gen/%06" PRIu64, number);
    if ((unlink(link.text) != 0 && errno != ENOENT) || symlink(target, link.text) != 0)
        return error_in(error_system("link"), "%s", link.text);
    return NULL;
}

static Error *link_move(const char *root, const char *from)
{
    Path link = engine_path(root, "current"), other = engine_path(root, from);
    Path above = engine_path(root, ".");

    if (rename(other.text, link.text) != 0)
        return error_in(error_system("rename"), "%s", other.text);
    return folder_sync(above.text);
}

static Error *name_remove(const char *root, const char *name)
{
    Path path = engine_path(root, name), above = engine_path(root, ".");

    if (unlink(path.text) == 0)
        return folder_sync(above.text);
    return errno == ENOENT ? NULL : error_in(error_system("unlink"), "%s", path.text);
}

Error *current_set(const char *root, uint64_t number)
{
    if (!number)
        return name_remove(root, "current");
    Error *err = link_make(root, "current.new", number);
    return err ? err : link_move(root, "current.new");
}

Error *trial_read(const char *root, Trial *ret_trial)
{
    Path path = engine_path(root, "trial");
    DEFER(buf_done) Buf text = {0};
    Trial trial = {0};
    char *end = NULL;

    Error *err = file_read(path.text, 256, &text);
    if (err && err->code == ERROR_NOT_FOUND) {
        error_free(&err);
        *ret_trial = trial;
        return NULL;
    }
    if (err)
        return err;
    const char *words = buf_text(&text);
    trial.number = strtoull(words, &end, 10);
    bool read = end != words && *end == ' ' && trial.number;
    if (read) {
        words = end + 1;
        trial.last = strtoull(words, &end, 10);
        read = end != words && strcmp(end, "\n") == 0;
    }
    if (!read)
        return error_new(ERROR_DAMAGED, "%s does not read back", path.text);
    *ret_trial = trial;
    return NULL;
}

Error *trial_begin(const char *root, const Trial *trial)
{
    Path path = engine_path(root, "trial");
    char text[64];
    int len = snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 "\n", trial->number, trial->last);

    Error *err = trial->last ? link_make(root, "current.back", trial->last) : NULL;
    if (!err)
        err = file_write(path.text, text, (size_t)len, 0600, (gid_t)-1);
    return err;
}

Error *trial_back(const char *root, const Trial *trial)
{
    Path back = engine_path(root, "current.back");
    char text[64];
    ssize_t len = readlink(back.text, text, sizeof text - 1);

    if (!trial->last)
        return current_set(root, 0);
    text[len < 0 ? 0 : len] = '\0';
    return link_number(text) == trial->last ? link_move(root, "current.back") : current_set(root, trial->last);
}

Error *trial_end(const char *root)
{
    Error *err = name_remove(root, "trial");

    return err ? err : name_remove(root, "current.back");
}

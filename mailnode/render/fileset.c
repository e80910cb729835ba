#include "render/fileset.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef struct Entry {
    char *path;
    char *group;
    Buf text;
} Entry;

typedef struct Restart {
    char *daemon, *what, *value;
} Restart;

struct FileSet {
    Entry **entries; /* by path; each stays where it is, because callers fill its text */
    size_t n;
    Restart *restarts; /* by daemon, what, value */
    size_t n_restarts;
    Error *refused;
};

FileSet *fileset_new(void)
{
    return xcalloc(1, sizeof(FileSet));
}

void fileset_free(FileSet **set)
{
    if (!*set)
        return;
    for (size_t i = 0; i < (*set)->n; i++) {
        Entry *entry = (*set)->entries[i];
        buf_done(&entry->text);
        free(entry->path);
        free(entry->group);
        free(entry);
    }
    for (size_t i = 0; i < (*set)->n_restarts; i++) {
        free((*set)->restarts[i].daemon);
        free((*set)->restarts[i].what);
        free((*set)->restarts[i].value);
    }
    free((*set)->entries);
    free((*set)->restarts);
    error_free(&(*set)->refused);
    free(*set);
    *set = NULL;
}

/* ---- in order ---------------------------------------------------------------------- */

/* The place of the first entry that is not before 'path'. */
static size_t place_of(const FileSet *set, const char *path)
{
    size_t from = 0, to = set->n;

    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (strcmp(set->entries[middle]->path, path) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

Buf *fileset_add(FileSet *set, const char *path, const char *group)
{
    size_t at = place_of(set, path);

    assert(strchr(path, '/') && path[0] != '/');
    assert(at == set->n || strcmp(set->entries[at]->path, path) != 0);

    Entry *entry = xcalloc(1, sizeof *entry);
    entry->path = xstrdup(path);
    entry->group = group ? xstrdup(group) : NULL;
    set->entries = xrealloc(set->entries, (set->n + 1) * sizeof(Entry *));
    memmove(&set->entries[at + 1], &set->entries[at], (set->n - at) * sizeof(Entry *));
    set->entries[at] = entry;
    set->n++;
    return &entry->text;
}

static int restart_compare(const Restart *a, const Restart *b)
{
    int order = strcmp(a->daemon, b->daemon);

    if (order == 0)
        order = strcmp(a->what, b->what);
    return order ? order : strcmp(a->value, b->value);
}

void fileset_restart_on(FileSet *set, const char *daemon, const char *what, const char *value)
{
    Restart restart = {xstrdup(daemon), xstrdup(what), xstrdup(value)};
    size_t at = set->n_restarts;

    set->restarts = xrealloc(set->restarts, (set->n_restarts + 1) * sizeof *set->restarts);
    for (; at > 0 && restart_compare(&set->restarts[at - 1], &restart) > 0; at--)
        set->restarts[at] = set->restarts[at - 1];
    set->restarts[at] = restart;
    set->n_restarts++;
}

/* ---- what a writer refused --------------------------------------------------------- */

void fileset_refuse(FileSet *set, Error *err)
{
    if (set->refused)
        error_free(&err);
    else
        set->refused = err;
}

Error *fileset_refused(const FileSet *set)
{
    if (!set->refused)
        return NULL;
    Error *copy = error_new(set->refused->code, "%s", set->refused->what);
    return set->refused->hint ? error_hint(copy, "%s", set->refused->hint) : copy;
}

/* ---- read back --------------------------------------------------------------------- */

size_t fileset_count(const FileSet *set)
{
    return set->n;
}

File fileset_file(const FileSet *set, size_t index)
{
    assert(index < set->n);
    const Entry *entry = set->entries[index];
    return (File){entry->path, entry->group, &entry->text};
}

const File *fileset_find(const FileSet *set, const char *path, File *out)
{
    size_t at = place_of(set, path);

    if (at == set->n || strcmp(set->entries[at]->path, path) != 0)
        return NULL;
    *out = fileset_file(set, at);
    return out;
}

/* ---- digests ----------------------------------------------------------------------- */

/* With its length before it, so that no two lists of texts look alike. */
static void piece(Buf *all, const void *data, size_t size)
{
    uint64_t length = size;

    buf_append(all, &length, sizeof length);
    buf_append(all, data, size);
}

static void piece_text(Buf *all, const char *text)
{
    piece(all, text, strlen(text));
}

static bool of_daemon(const Entry *entry, const char *daemon)
{
    size_t len = strlen(daemon);

    return strncmp(entry->path, daemon, len) == 0 && entry->path[len] == '/';
}

/* daemon NULL: of all. */
static Digest digest_over(const FileSet *set, const char *daemon)
{
    DEFER(buf_done) Buf all = {0};

    for (size_t i = 0; i < set->n; i++) {
        const Entry *entry = set->entries[i];
        if (daemon && !of_daemon(entry, daemon))
            continue;
        piece_text(&all, entry->path);
        piece_text(&all, entry->group ? entry->group : "");
        piece(&all, entry->text.data, entry->text.size);
    }
    return all.size ? digest_of(all.data, all.size) : (Digest){{0}};
}

Digest fileset_digest(const FileSet *set, const char *daemon)
{
    return digest_over(set, daemon);
}

Digest fileset_restart_digest(const FileSet *set, const char *daemon)
{
    DEFER(buf_done) Buf all = {0};
    bool any = false;

    for (size_t i = 0; i < set->n; i++)
        any = any || of_daemon(set->entries[i], daemon);
    if (!any)
        return (Digest){{0}};
    piece_text(&all, daemon);
    for (size_t i = 0; i < set->n_restarts; i++) {
        if (strcmp(set->restarts[i].daemon, daemon) != 0)
            continue;
        piece_text(&all, set->restarts[i].what);
        piece_text(&all, set->restarts[i].value);
    }
    return digest_of(all.data, all.size);
}

Digest fileset_all(const FileSet *set)
{
    return digest_over(set, NULL);
}

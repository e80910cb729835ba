/* Which public folders nobody has stated, and what Dovecot's file says of who may do what there. */
#include "engine/made.h"

#include "base/alloc.h"
#include "base/path.h"
#include "engine/publish.h"
#include "model/acl.h"
#include "model/mutf7.h"
#include "model/name.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    ACL_FILE_BYTES_MAX = 1024 * 1024,
    ENTRIES_MAX = 1000,
    AGE_S = 2, /* at least one whole second: a file's time is cut to it, and lags behind the clock */
};

#define RESTORED "Restored folder"

/* ---- dovecot-acl ---- */

typedef struct Rights {
    char *entries[ENTRIES_MAX];
    size_t n, bytes;
    bool any; /* somebody has, or loses, something */
} Rights;

static void rights_drop(Rights *rights, size_t at)
{
    free(rights->entries[at]);
    rights->n--;
    memmove(rights->entries + at, rights->entries + at + 1, (rights->n - at) * sizeof *rights->entries);
}

static void rights_done(Rights *rights)
{
    while (rights->n)
        rights_drop(rights, rights->n - 1);
}

/* "user=a b" lr, with backslashes inside the quotes; otherwise up to the first space.  The rest of the line is the rights:
 * letters, and behind ':' words, which we do not read.  Cuts the line into both. */
static bool line_split(char *line, char **ret_who, char **ret_letters)
{
    bool quoted = *line == '"';
    char *from = line + quoted, *to = line;

    *ret_who = line;
    for (; *from && *from != (quoted ? '"' : ' '); from++) {
        if (quoted && *from == '\\' && from[1])
            from++;
        *to++ = *from;
    }
    bool ended = *from != '\0';
    *to = '\0';
    if (!ended)
        return !quoted; /* a name alone: no rights */
    *ret_letters = from + 1 + (quoted && from[1] == ' ');
    return true;
}

/* NULL: none of the model's.  Owned by the caller. */
static char *entry_of(const char *who, const char *letters)
{
    static const char *const forms[][2] = {{"user=", "user:"}, {"group=", "group:"}};
    DEFER(xfree) char *text = NULL, *normal = NULL;

    if (strcmp(who, "anyone") == 0 || strcmp(who, "authenticated") == 0)
        text = xasprintf("anyone:%s", letters); /* nobody is in without a login */
    for (size_t i = 0; !text && i < sizeof forms / sizeof *forms; i++)
        if (strncmp(who, forms[i][0], strlen(forms[i][0])) == 0)
            text = xasprintf("%s%s:%s", forms[i][1], who + strlen(forms[i][0]), letters);
    Error *err = text ? text_normalise(MAIL__FIELD_TYPE__ACL, text, &normal) : NULL;
    error_free(&err); /* nobody of the directory's: never a right that could be missed */
    return normal ? xstrdup(normal) : NULL;
}

static bool is_of_same(const char *entry, const char *other)
{
    size_t len = (size_t)(strrchr(entry, ':') - entry) + 1;

    return strncmp(entry, other, len) == 0 && !strchr(other + len, ':');
}

static bool names_same(const Rights *rights, const char *entry)
{
    for (size_t i = 0; i < rights->n; i++)
        if (is_of_same(entry, rights->entries[i]))
            return true;
    return false;
}

/* Takes the entry. */
static void rights_add(Rights *rights, char *entry)
{
    if (rights->n == ENTRIES_MAX || rights->bytes + strlen(entry) > MADE_ACL_BYTES_MAX || names_same(rights, entry)) {
        free(entry);
        return;
    }
    rights->bytes += strlen(entry);
    rights->entries[rights->n++] = entry;
}

/* False: the model has no such line. */
static bool line_take(char *line, Rights *rights, Rights *lost)
{
    char *who = NULL, *letters = line + strlen(line);

    if (!*line || *line == '#')
        return true;
    if (!line_split(line, &who, &letters)) {
        rights->any = true;
        return false;
    }
    letters[strcspn(letters, ": \t\r")] = '\0';
    bool takes = *who == '-';
    if (!*letters)
        return !takes;
    rights->any = true;
    char *entry = entry_of(who + takes, letters);
    if (entry)
        rights_add(takes ? lost : rights, entry);
    return entry && !takes;
}

/* Where a line takes something away, or is none of the model's, groups and anyone might get too much by the others: then
 * only users keep what they have, and of them nobody who loses something.  An admin may give more. */
static void rights_read(char *text, Rights *rights)
{
    DEFER(rights_done) Rights lost = {.n = 0};
    bool all = true;

    for (char *line = text, *next = NULL; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        all = line_take(line, rights, &lost) && all;
    }
    for (size_t i = all ? 0 : rights->n; i-- > 0;)
        if (strncmp(rights->entries[i], "user:", 5) != 0 || names_same(&lost, rights->entries[i]))
            rights_drop(rights, i);
}

/* ---- folders ---- */

static bool is_restored(const char *name)
{
    const char *at = strstr(name, "/" RESTORED);
    size_t len = strlen("/" RESTORED);

    return at && (at[len] == '\0' || at[len] == '/');
}

/* The name that the model has for it; NULL: none.  Owned by the caller. */
static char *name_of(const char *folder)
{
    DEFER(xfree) char *on_disk = xstrdup(folder + 1);
    char *normal = NULL;

    for (char *at = on_disk; *at; at++)
        if (*at == '.')
            *at = '/';
    DEFER(xfree) char *name = mutf7_read(on_disk);
    Error *err = name ? text_normalise(MAIL__FIELD_TYPE__PUBLIC_NAME, name, &normal) : NULL;
    error_free(&err);
    if (normal && strcmp(normal, name) != 0)
        xfree(&normal); /* it would be another folder */
    return normal;
}

/* Has it rights of its own, which were not stated, and is nobody at them? */
static bool is_made(const char *path, const char *folder, uint64_t now_s, bool *ret_again)
{
    DEFER(xfree) char *rights = xasprintf("%s/" PUBLISH_RIGHTS, path);
    struct stat st;

    if (stat(rights, &st) != 0 || publish_stated(path, folder))
        return false;
    bool young = llabs((long long)now_s - st.st_mtime) < AGE_S;
    *ret_again = *ret_again || young;
    return !young;
}

static Error *folder_look(const char *path, const char *folder, MadeEach *each, void *context)
{
    DEFER(xfree) char *name = name_of(folder), *file = xasprintf("%s/" PUBLISH_RIGHTS, path);
    DEFER(rights_done) Rights rights = {.n = 0};
    DEFER(buf_done) Buf text = {0};

    if (name && is_restored(name))
        return NULL;
    Error *err = file_read(file, ACL_FILE_BYTES_MAX, &text);
    if (err && err->code != ERROR_NOT_FOUND && err->code != ERROR_INVALID)
        return error_in(err, "%s", file);
    bool read = !err && text.size;
    error_free(&err);
    if (read)
        rights_read((char *)(uintptr_t)buf_text(&text), &rights);
    if (rights.any) /* otherwise it was removed, and waits to be undeleted */
        each(context, folder, name, rights.entries, rights.n);
    return NULL;
}

Error *made_look(const char *public_folder, uint64_t now_s, MadeEach *each, void *context, bool *ret_again)
{
    DEFER(dir_close) DIR *dir = opendir(public_folder);
    bool again = false;
    Error *err = NULL;

    if (!dir)
        return error_in(error_system("open"), "%s", public_folder);
    for (struct dirent *entry; !err && (entry = readdir(dir));) {
        DEFER(xfree) char *path = xasprintf("%s/%s", public_folder, entry->d_name);
        if (publish_is_folder(entry) && is_made(path, entry->d_name, now_s, &again))
            err = folder_look(path, entry->d_name, each, context);
    }
    if (!err)
        *ret_again = again;
    return err;
}

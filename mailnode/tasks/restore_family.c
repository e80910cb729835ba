#include "tasks/restore_family.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "model/mutf7.h"
#include "model/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RESTORED "Restored folder"
#define INBOX "INBOX"

/* ---- what is meant ---- */

/* The levels of a folder are one name, with '.' before each. */
static char *disk_of(const char *folder)
{
    DEFER(xfree) char *levels = mutf7_of(folder);
    char *on_disk = xasprintf(".%s", levels);

    for (char *at = on_disk; *at; at++)
        if (*at == '/')
            *at = '.';
    return on_disk;
}

static char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return xstrdup(slash ? slash + 1 : path);
}

static Error *mailbox_take(Family *family, const char *mailbox)
{
    bool user = strncmp(mailbox, "user:", 5) == 0;
    const char *name = strchr(mailbox, ':');

    if (!user && strncmp(mailbox, "public:", 7) != 0)
        return error_hint(error_new(ERROR_INVALID, "mailbox '%s' is none", mailbox),
                          "mailbox=user:NAME or public:NAME");
    Error *err =
        text_normalise(user ? MAIL__FIELD_TYPE__ACCOUNT : MAIL__FIELD_TYPE__PUBLIC_NAME, name + 1, &family->mailbox);
    if (err)
        return error_in(err, "mailbox '%s'", mailbox);
    family->user = user ? xstrdup(family->mailbox) : NULL;
    family->base = user ? xstrdup("") : disk_of(family->mailbox);
    family->place = xasprintf("%s." RESTORED, family->base);
    return NULL;
}

/* Whatever a mail program may have made: stars, controls and blanks are names here. */
static Error *folder_check(const char *folder)
{
    size_t len = strlen(folder);

    if (!len)
        return error_new(ERROR_INVALID, "folder: names none");
    if (len > FAMILY_FOLDER_OCTETS)
        return error_new(ERROR_INVALID, "folder: %zu octets, at most %d", len, FAMILY_FOLDER_OCTETS);
    for (const char *at = folder; *at;) {
        size_t n = utf8_char_len(at, strlen(at));
        if (!n)
            return error_new(ERROR_INVALID, "folder: not UTF-8");
        at += n;
    }
    if (strchr(folder, '.'))
        return error_hint(error_new(ERROR_INVALID, "folder '%s': no folder has a dot in its name", folder),
                          "write '/' between its levels");
    if (folder[0] == '/' || folder[len - 1] == '/' || strstr(folder, "//"))
        return error_new(ERROR_INVALID, "folder '%s': has an empty level", folder);
    return NULL;
}

/* RFC 3501 5.1: INBOX is itself in any case. */
static void folder_take(Family *family, const char *folder)
{
    bool inbox = strcasecmp(folder, INBOX) == 0;

    if (inbox) {
        family->from = xstrdup(family->base);
        family->name = family->user ? xstrdup(INBOX) : last_part(family->mailbox);
        return;
    }
    DEFER(xfree) char *one = xstrdup(folder);
    if (family->user && strncasecmp(one, INBOX "/", strlen(INBOX) + 1) == 0)
        memcpy(one, INBOX, strlen(INBOX));
    DEFER(xfree) char *below = disk_of(one);
    family->from = xasprintf("%s%s", family->base, below);
    family->name = last_part(one);
}

Error *family_new(const char *mailbox, const char *folder, Family **ret_family)
{
    DEFER(family_free) Family *family = xcalloc(1, sizeof *family);

    Error *err = mailbox_take(family, mailbox);
    if (!err)
        err = folder_check(folder);
    if (err)
        return err;
    folder_take(family, folder);
    *ret_family = family;
    family = NULL;
    return NULL;
}

void family_free(Family **family)
{
    if (!*family)
        return;
    for (size_t i = 0; i < (*family)->n; i++) {
        free((*family)->folders[i].from);
        free((*family)->folders[i].to);
    }
    free((*family)->folders);
    free((*family)->user);
    free((*family)->mailbox);
    free((*family)->base);
    free((*family)->place);
    free((*family)->from);
    free((*family)->name);
    xfree(family);
}

/* ---- what is of it ---- */

/* What the children's names begin with, and the folder's own does not. */
static const char *below(const Family *family)
{
    return *family->from ? family->from : "." INBOX;
}

/* As Dovecot makes them: printable ASCII (modified UTF-7), no empty level. */
static bool disk_valid(const char *name)
{
    size_t len = strlen(name);

    if (!len)
        return true;
    if (len < 2 || len > FAMILY_DISK_OCTETS || name[0] != '.' || name[len - 1] == '.' || strstr(name, ".."))
        return false;
    for (; *name; name++)
        if (*name < 0x20 || *name > 0x7e || *name == '/')
            return false;
    return true;
}

Error *family_add(Family *family, const char *on_disk)
{
    if (!disk_valid(on_disk))
        return error_new(ERROR_DAMAGED, "the backup has a folder '%s', which is no name of one", on_disk);
    if (family->n == FAMILY_FOLDERS_MAX)
        return error_hint(error_new(ERROR_INVALID, "more than %d folders", FAMILY_FOLDERS_MAX),
                          "restore a folder that is further below");
    if ((family->n & (family->n - 1)) == 0)
        family->folders = xrealloc(family->folders, (family->n ? 2 * family->n : 1) * sizeof *family->folders);
    family->folders[family->n++] = (FamilyFolder){.from = xstrdup(on_disk)};
    return NULL;
}

/* ---- what it is called ---- */

static const char *rest_of(const Family *family, const char *on_disk)
{
    return strcmp(on_disk, family->from) == 0 ? "" : on_disk + strlen(below(family));
}

/* One character less. */
static void shorten(char *name)
{
    size_t last = 0;

    for (size_t at = 0; name[at]; at += utf8_char_len(name + at, strlen(name + at)))
        last = at;
    name[last] = '\0';
}

static size_t longest_rest(const Family *family)
{
    size_t longest = 0;

    for (size_t i = 0; i < family->n; i++) {
        size_t len = strlen(rest_of(family, family->folders[i].from));
        longest = len > longest ? len : longest;
    }
    return longest;
}

Error *family_named(Family *family)
{
    size_t rest = longest_rest(family), before = strlen(family->place);
    DEFER(xfree) char *name = xstrdup(family->name);
    DEFER(xfree) char *on_disk = disk_of(name);

    while (*name && before + strlen(on_disk) + rest > FAMILY_DISK_OCTETS) {
        shorten(name);
        xfree(&on_disk);
        on_disk = disk_of(name);
        family->shortened = true;
    }
    if (!*name)
        return error_hint(
            error_new(ERROR_INVALID, "the names of its subfolders are too long to stand below '" RESTORED "'"),
            "restore a folder that is further below");
    snprintf(family->name, strlen(family->name) + 1, "%s", name); /* shortened, if anything */
    for (size_t i = 0; i < family->n; i++)
        family->folders[i].to = xasprintf("%s%s%s", family->place, on_disk, rest_of(family, family->folders[i].from));
    return NULL;
}

char *family_shown(const Family *family)
{
    return family->user ? xasprintf(RESTORED "/%s", family->name)
                        : xasprintf("Public/%s/" RESTORED "/%s", family->mailbox, family->name);
}

#include "model/acl.h"

#include "base/alloc.h"
#include "model/shown.h"

#include <string.h>

static const char all_letters[ACL_LETTERS_SIZE] = ACL_LETTERS_ALL;

static const struct {
    const char *word, *letters;
} presets[] = {{"read", "lrs"}, {"write", "lrswikt"}, {"full", all_letters}};
enum { N_PRESETS = sizeof presets / sizeof *presets };

static const char way_out[] = "write user:NAME:read, group:NAME:write or anyone:lr";

/* In the order of all_letters, so that a set has one spelling. */
static void letters_sorted(const char *letters, char *out)
{
    for (const char *letter = all_letters; *letter; letter++)
        if (strchr(letters, *letter))
            *out++ = *letter;
    *out = '\0';
}

static Error *rights_read(const char *text, char *ret_letters)
{
    for (size_t i = 0; i < N_PRESETS; i++)
        if (strcmp(presets[i].word, text) == 0) {
            letters_sorted(presets[i].letters, ret_letters);
            return NULL;
        }
    if (!*text)
        return error_hint(error_new(ERROR_INVALID, "no rights"), "leave out who may do nothing");
    if (text[strspn(text, all_letters)]) {
        DEFER(xfree) char *seen = shown(text);
        return error_new(ERROR_INVALID, "no rights '%s': read, write, full or letters of %s", seen, all_letters);
    }
    letters_sorted(text, ret_letters);
    return NULL;
}

Error *acl_read(const char *text, AclEntry *ret_entry)
{
    static const struct {
        const char *prefix;
        AclWho who;
    } types[] = {{"user:", ACL_USER}, {"group:", ACL_GROUP}, {"anyone:", ACL_ANYONE}};
    AclEntry entry = {.who = ACL_ANYONE};
    const char *rest = NULL;

    for (size_t i = 0; !rest && i < sizeof types / sizeof *types; i++) {
        size_t len = strlen(types[i].prefix);
        if (strncmp(text, types[i].prefix, len) != 0)
            continue;
        rest = text + len;
        entry.who = types[i].who;
    }
    const char *colon = rest ? strrchr(rest, ':') : NULL;
    if (!rest || (entry.who == ACL_ANYONE ? colon != NULL : !colon))
        return error_hint(error_new(ERROR_INVALID, "not who and what"), "%s", way_out);
    Error *err = rights_read(colon ? colon + 1 : rest, entry.letters);
    if (err)
        return err;
    entry.name = colon ? xstrndup(rest, (size_t)(colon - rest)) : NULL;
    *ret_entry = entry;
    return NULL;
}

char *acl_text(const AclEntry *entry)
{
    const char *rights = entry->letters;

    for (size_t i = 0; i < N_PRESETS; i++) {
        char letters[ACL_LETTERS_SIZE];
        letters_sorted(presets[i].letters, letters);
        if (strcmp(letters, entry->letters) == 0)
            rights = presets[i].word;
    }
    if (entry->who == ACL_ANYONE)
        return xasprintf("anyone:%s", rights);
    return xasprintf("%s:%s:%s", entry->who == ACL_USER ? "user" : "group", entry->name, rights);
}

void acl_done(AclEntry *entry)
{
    xfree(&entry->name);
}

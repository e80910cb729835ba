/* Users and groups as entries of LDIF, as OpenLDAP's tools and slapcat write them. */
#include "ldif_read.h"
#include "people_file.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_one_of(const LdifEntry *entry, const char *const *classes)
{
    for (const LdifValue *value = NULL; (value = ldif_value(entry, "objectClass", value));)
        for (size_t i = 0; classes[i]; i++)
            if (strcasecmp(value->value, classes[i]) == 0)
                return true;
    return false;
}

/* A value that is to be a text: base64 can hold anything. */
static bool text_is(PeopleFile *file, const FileAccount *account, const LdifValue *value)
{
    if (strlen(value->value) == value->size)
        return true;
    people_file_wrong(file, value->line, account, error_new(ERROR_INVALID, "%s: a NUL is in it", value->name));
    return false;
}

/* Of several values the one in the DN is the name. */
static const LdifValue *naming(const LdifEntry *entry, const char *attribute)
{
    const LdifValue *first = ldif_value(entry, attribute, NULL);
    size_t len = strlen(attribute);

    if (!first || !ldif_value(entry, attribute, first) || strncasecmp(entry->dn, attribute, len) != 0 ||
        entry->dn[len] != '=')
        return first;
    for (const LdifValue *value = NULL; (value = ldif_value(entry, attribute, value));) {
        const char *in_dn = entry->dn + len + 1;
        if (strlen(value->value) == value->size && strncasecmp(in_dn, value->value, value->size) == 0 &&
            strchr(",+", in_dn[value->size]))
            return value;
    }
    return first;
}

static bool name_take(PeopleFile *file, FileAccount *account, const LdifEntry *entry, const char *attribute)
{
    const LdifValue *value = naming(entry, attribute);

    if (!value) {
        people_file_wrong(file, entry->line, NULL, error_new(ERROR_INVALID, "an entry without %s", attribute));
        return false;
    }
    account->line = value->line;
    return text_is(file, NULL, value) && account_name_is(file, account, value->value);
}

/* ---- users ---- */

static bool password_take(PeopleFile *file, FileAccount *account, const LdifEntry *entry)
{
    const LdifValue *value = ldif_value(entry, "userPassword", NULL);

    if (!value)
        return true;
    account->line = value->line;
    if (!ldif_value(entry, "userPassword", value))
        return account_password_is(file, account, value->value, value->size, *value->value == '{');
    people_file_wrong(file, value->line, account, error_new(ERROR_INVALID, "userPassword: there are several"));
    return false;
}

static void user_take(PeopleFile *file, const LdifEntry *entry)
{
    FileAccount *account = people_file_add(file, MAIL__ACCOUNT_KIND__USER, entry->line);
    const LdifValue *full_name = ldif_value(entry, "displayName", NULL);

    if (!full_name)
        full_name = ldif_value(entry, "cn", NULL);
    if (!name_take(file, account, entry, "uid"))
        return;
    if (full_name && strcmp(full_name->value, account->name) != 0) {
        account->line = full_name->line;
        if (!text_is(file, account, full_name) || !account_full_name_is(file, account, full_name->value))
            return;
    }
    const LdifValue *locked = ldif_value(entry, "pwdAccountLockedTime", NULL);
    account->locked = locked && strcmp(locked->value, "000001010000Z") == 0; /* slapo-ppolicy(5): an administrator's */
    if (password_take(file, account, entry))
        account->line = entry->line;
}

/* ---- groups ---- */

static int hex(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* "uid=alice,ou=People,dc=example" is alice; RFC 4514's escapes are undone in place.  NULL: it names nobody by uid. */
static char *name_in_dn(char *dn)
{
    char *out = dn + 4, *at = out;

    if (strncasecmp(dn, "uid=", 4) != 0)
        return NULL;
    while (*at && *at != ',' && *at != '+') {
        bool escaped = *at == '\\' && at[1];
        bool pair = escaped && isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2]);
        if (pair && at[1] == '0' && at[2] == '0')
            return NULL;
        *out++ = pair ? (char)(hex(at[1]) << 4 | hex(at[2])) : at[escaped];
        at += 1 + escaped + pair; /* may be where '*out' was just written */
    }
    *out = '\0';
    return dn + 4;
}

static bool member_take(PeopleFile *file, FileAccount *group, const LdifValue *value)
{
    bool by_dn = strcasecmp(value->name, "memberUid") != 0;

    group->line = value->line;
    if (!text_is(file, group, value))
        return false;
    char *name = by_dn ? name_in_dn(value->value) : value->value;
    if (name)
        return account_other_is(file, group, name);
    people_file_wrong(file, value->line, group, error_new(ERROR_INVALID, "%s: write uid=NAME,...", value->name));
    return false;
}

static void group_take(PeopleFile *file, const LdifEntry *entry)
{
    static const char *const attributes[] = {"memberUid", "member", "uniqueMember"};
    FileAccount *group = people_file_add(file, MAIL__ACCOUNT_KIND__GROUP, entry->line);

    if (!name_take(file, group, entry, "cn"))
        return;
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        for (const LdifValue *value = NULL; (value = ldif_value(entry, attributes[i], value));)
            if (!member_take(file, group, value))
                return;
    group->line = entry->line;
}

/* ---- all of them ---- */

void people_ldif_read(PeopleFile *file)
{
    static const char *const of_user[] = {"inetOrgPerson", "posixAccount", NULL};
    static const char *const of_group[] = {"posixGroup", "groupOfNames", "groupOfUniqueNames", "groupOfMembers", NULL};
    LdifEntry entry = {0};
    bool more = true;
    Ldif ldif;

    ldif_init(&ldif, file->text, file->size);
    while (more) {
        Error *err = ldif_next(&ldif, &entry, &more);
        if (err)
            people_file_wrong(file, entry.line, NULL, err);
        else if (more && is_one_of(&entry, of_user))
            user_take(file, &entry);
        else if (more && is_one_of(&entry, of_group))
            group_take(file, &entry);
        else
            file->left_out += more;
    }
    ldif_entry_done(&entry);
}

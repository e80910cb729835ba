#include "ldap/members.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "ldap/names.h"

#include <stdlib.h>
#include <string.h>

enum { ASK_AT_ONCE = 100, GROUP_MAX = 500000 };

/* ---- the set ---- */

bool members_have(const Members *members, const char *name)
{
    Member *found = NULL;

    HASH_FIND_STR(members->first, name, found);
    return found != NULL;
}

bool members_add(Members *members, const char *name)
{
    size_t len = strlen(name);

    if (members_have(members, name))
        return false;
    Member *member = xcalloc(1, sizeof *member + len + 1);
    memcpy(member->name, name, len);
    HASH_ADD_KEYPTR(hh, members->first, member->name, len, member);
    return true;
}

static void members_take(Members *members, const char *name)
{
    Member *found = NULL;

    HASH_FIND_STR(members->first, name, found);
    if (!found)
        return;
    HASH_DEL(members->first, found);
    free(found);
}

void members_done(Members *members)
{
    Member *member = members->first;

    HASH_CLEAR(hh, members->first); /* the table; its members still hold each other */
    while (member) {
        Member *next = member->hh.next;
        free(member);
        member = next;
    }
}

/* ---- edits ---- */

static Error *edit_one(Members *members, Mail__EditOp op, const char *text, size_t len)
{
    DEFER(xfree) char *word = xstrndup(text, len);
    DEFER(xfree) char *name = NULL;

    Error *err = name_known(MAIL__ACCOUNT_KIND__USER, word, &name);
    if (err)
        return error_in(err, "members");
    if (op == MAIL__EDIT_OP__TAKE)
        members_take(members, name);
    else
        members_add(members, name);
    return HASH_COUNT(members->first) <= GROUP_MAX ? NULL
                                                   : error_new(ERROR_INVALID, "members: over %d of them", GROUP_MAX);
}

Error *members_edit(Members *members, const Mail__FieldEdit *edit)
{
    const char *text = edit->value ? edit->value : "";
    Error *err = NULL;

    if (edit->op == MAIL__EDIT_OP__SET || edit->op == MAIL__EDIT_OP__CLEAR)
        members_done(members);
    while (!err && *text && edit->op != MAIL__EDIT_OP__CLEAR) {
        size_t len = strcspn(text, ",");
        err = edit_one(members, edit->op, text, len);
        text += len + (text[len] == ',');
    }
    return err;
}

/* ---- are they users? ---- */

static Error *there(void *context, const Entry *entry)
{
    const Attribute *uid = entry_attribute(entry, "uid");

    for (size_t i = 0; uid && i < uid->n; i++)
        members_add(context, uid->values[i].data);
    return NULL;
}

/* Asks for some of them at once; *at moves behind these. */
static Error *ask_some(Conn *conn, const Place *place, const Member **at, const Members *known, Members *found)
{
    DEFER(buf_done) Buf filter = {0};
    size_t n = 0;

    buf_append_text(&filter, "(&(objectClass=posixAccount)(|");
    for (; *at && n < ASK_AT_ONCE; *at = (*at)->hh.next) {
        DEFER(xfree) char *value = filter_escape((*at)->name);
        if (members_have(known, (*at)->name))
            continue;
        buf_printf(&filter, "(uid=%s)", value);
        n++;
    }
    buf_append_text(&filter, "))");
    if (!n)
        return NULL;
    return conn_search(conn, place->people, SCOPE_ONE, buf_text(&filter), (const char *const[]){"uid", NULL}, there,
                       found);
}

Error *members_exist(Conn *conn, const Place *place, const Members *members, const Members *known)
{
    DEFER(members_done) Members found = {0};
    const Member *at = members->first;
    Error *err = NULL;

    while (!err && at)
        err = ask_some(conn, place, &at, known, &found);
    for (const Member *member = members->first; !err && member; member = member->hh.next)
        if (!members_have(known, member->name) && !members_have(&found, member->name))
            err = people_missing(conn, place, MAIL__ACCOUNT_KIND__USER, member->name);
    if (err && err->code == ERROR_NOT_FOUND)
        err->code = ERROR_INVALID; /* the group is there: what was said of it is wrong */
    return err ? error_in(err, "members") : NULL;
}

/* ---- out of all ---- */

static Error *take_dn(void *context, const Entry *entry)
{
    members_add(context, entry->dn);
    return NULL;
}

Error *members_drop_everywhere(Conn *conn, const Place *place, const char *name)
{
    DEFER(members_done) Members groups = {0}; /* their DNs */
    DEFER(xfree) char *value = filter_escape(name);
    DEFER(xfree) char *filter = xasprintf("(&(objectClass=posixGroup)(memberUid=%s))", value);

    Error *err =
        conn_search(conn, place->groups, SCOPE_ONE, filter, (const char *const[]){"cn", NULL}, take_dn, &groups);
    for (const Member *group = groups.first; !err && group; group = group->hh.next) {
        DEFER(mods_done) Mods mods = {0};
        mods_add(&mods, MOD_DELETE, "memberUid", name);
        err = conn_modify(conn, group->name, &mods);
    }
    return err;
}

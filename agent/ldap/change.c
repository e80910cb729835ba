#include "ldap/change.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/crash.h"
#include "ldap/members.h"
#include "ldap/names.h"
#include "model/account.h"
#include "model/name.h"
#include "model/nearest.h"
#include "model/shown.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_FIRST = 20001, EVERYBODY = 20000 }; /* above what Debian gives to people of the machine itself */

static const char locked_time[] = "000001010000Z", past[] = "19700101000000Z";

/* What the verbs share. */
typedef struct Change {
    Conn *conn;
    const Place *place;
    Numbers *numbers;
    Mail__DirectoryWrite *write;
    char *name; /* in its one form */
} Change;

/* ---- fields ---- */

static bool field_is(const Mail__FieldEdit *edit, const char *name)
{
    const char *field = edit->field ? edit->field : "";

    for (; *field && *name; field++, name++)
        if (*field != *name && !(*field == '_' && *name == '-'))
            return false;
    return !*field && !*name;
}

static Error *field_unknown(const Mail__FieldEdit *edit, AccountKind kind)
{
    static const char *const of_user[] = {"full-name", "locked", "password", "password-hash"}, *const of_group[] = {
                                                                                                   "members"};
    bool person = kind == MAIL__ACCOUNT_KIND__USER;
    const char *field = edit->field ? edit->field : "";
    DEFER(xfree) char *seen = shown(field);
    const char *near = person ? nearest_of(field, of_user, 4) : nearest_of(field, of_group, 1);

    Error *err = error_new(ERROR_INVALID, "a %s has no field '%s'", account_kind_name(kind), seen);
    return near ? error_hint(err, "did you mean %s=?", near) : err;
}

typedef struct UserWish {
    bool says_name, says_locked, locked;
    char *full_name; /* NULL: none */
} UserWish;

static void wish_done(UserWish *wish)
{
    free(wish->full_name);
}

static Error *wish_full_name(UserWish *wish, const Mail__FieldEdit *edit)
{
    bool clear = edit->op == MAIL__EDIT_OP__CLEAR || !edit->value || !*edit->value;
    char *name = NULL;

    if (edit->op != MAIL__EDIT_OP__SET && edit->op != MAIL__EDIT_OP__CLEAR)
        return error_new(ERROR_INVALID, "full-name: it is no list");
    Error *err = clear ? NULL : text_normalise(MAIL__FIELD_TYPE__TEXT, edit->value, &name);
    if (!err && name && strlen(name) > ACCOUNT_FULL_NAME_MAX)
        err = error_new(ERROR_INVALID, "%zu octets: at most %d", strlen(name), ACCOUNT_FULL_NAME_MAX);
    if (err) {
        free(name);
        return error_in(err, "full-name");
    }
    free(wish->full_name);
    wish->full_name = name;
    wish->says_name = true;
    return NULL;
}

static Error *wish_locked(UserWish *wish, const Mail__FieldEdit *edit)
{
    const char *value = edit->op == MAIL__EDIT_OP__CLEAR ? "no" : edit->value ? edit->value : "";
    bool yes = strcmp(value, "yes") == 0;
    DEFER(xfree) char *seen = shown(value);

    if ((!yes && strcmp(value, "no") != 0) || edit->op == MAIL__EDIT_OP__APPEND || edit->op == MAIL__EDIT_OP__TAKE)
        return error_new(ERROR_INVALID, "locked '%s': write yes or no", seen);
    wish->locked = yes;
    wish->says_locked = true;
    return NULL;
}

static Error *user_wish(const Mail__DirectoryWrite *write, UserWish *wish)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < write->n_fields; i++) {
        const Mail__FieldEdit *edit = write->fields[i];
        if (field_is(edit, "full-name"))
            err = wish_full_name(wish, edit);
        else if (field_is(edit, "locked"))
            err = wish_locked(wish, edit);
        else
            err = field_unknown(edit, MAIL__ACCOUNT_KIND__USER);
    }
    return err;
}

/* ---- passwords ---- */

static Error *password_check(const Mail__DirectoryWrite *write)
{
    const ProtobufCBinaryData *password = &write->password;

    if (!write->has_password)
        return NULL;
    if (write->kind == MAIL__ACCOUNT_KIND__GROUP)
        return error_new(ERROR_INVALID, "a group has no password");
    if (write->hashed)
        return error_in(account_hash_check(password->data, password->len), "password-hash");
    return error_in(account_password_check(password->data, password->len), "password");
}

static Error *lock(Conn *conn, const char *dn, bool over)
{
    DEFER(mods_done) Mods mods = {0};

    if (over)
        mods_add(&mods, MOD_REPLACE, "pwdAccountLockedTime", locked_time);
    mods_add(&mods, MOD_REPLACE, "pwdEndTime", over ? NULL : past);
    return conn_modify(conn, dn, &mods);
}

/* A hash is kept as it is (slapo-ppolicy(5): at pwdCheckQuality 1 what cannot be looked into is taken). */
static Error *password_write(const Change *change, const char *dn)
{
    const ProtobufCBinaryData *password = &change->write->password;
    DEFER(mods_done) Mods mods = {0};

    if (!change->write->hashed)
        return conn_password(change->conn, dn, password->data, password->len);
    DEFER(xfree) char *hash = xstrndup((const char *)password->data, password->len);
    mods_add(&mods, MOD_REPLACE, "userPassword", hash);
    return conn_modify(change->conn, dn, &mods);
}

/* A new password takes slapd's lock away: who is locked is kept out by another attribute until it is back, also when we end
 * in between. */
static Error *password_set(const Change *change, const char *dn, bool locked)
{
    Error *err = NULL;

    if (!change->write->has_password)
        return NULL;
    if (locked)
        err = lock(change->conn, dn, false);
    if (err)
        return err;
    CRASH_POINT("ldap.password.setting");
    err = password_write(change, dn);
    CRASH_POINT("ldap.password.set");
    if (err && err->code == ERROR_INVALID)
        err = error_hint(error_in(err, "password"), "at least 8 characters");
    if (locked && (!err || !conn_lost(change->conn))) {
        Error *again = lock(change->conn, dn, true);
        if (!err)
            return again;
        error_free(&again);
    }
    return err;
}

/* ---- numbers ---- */

typedef struct Highest {
    const char *attribute;
    unsigned long number;
} Highest;

static Error *higher(void *context, const Entry *entry)
{
    Highest *highest = context;
    const Attribute *attribute = entry_attribute(entry, highest->attribute);

    for (size_t i = 0; attribute && i < attribute->n; i++) {
        unsigned long number = strtoul(attribute->values[i].data, NULL, 10);
        if (number > highest->number && number < UINT32_MAX / 2)
            highest->number = number;
    }
    return NULL;
}

/* The one after the highest: those of who is gone are not given again as long as anybody newer is there. */
static Error *number_next(const Change *change, bool person, unsigned long *ret_number)
{
    unsigned long *last = person ? &change->numbers->user : &change->numbers->group;
    Highest highest = {person ? "uidNumber" : "gidNumber", NUMBER_FIRST - 1};
    Error *err = NULL;

    if (!*last)
        err = conn_search(change->conn, person ? change->place->people : change->place->groups, SCOPE_ONE,
                          person ? "(objectClass=posixAccount)" : "(objectClass=posixGroup)",
                          (const char *const[]){highest.attribute, NULL}, higher, &highest);
    if (err)
        return err;
    if (!*last)
        *last = highest.number;
    *ret_number = ++*last;
    return NULL;
}

/* 'mods' is all but the number.  Somebody else may have given it meanwhile: then once more from what is there. */
static Error *add_numbered(const Change *change, bool person, const char *dn,
                           void (*describe)(Mods *mods, const Change *change, const void *wish), const void *wish)
{
    Error *err = NULL;

    for (int i = 0; i < 2; i++) {
        DEFER(mods_done) Mods mods = {0};
        unsigned long number = 0;
        char text[24];

        error_free(&err);
        err = number_next(change, person, &number);
        if (err)
            return err;
        snprintf(text, sizeof text, "%lu", number);
        describe(&mods, change, wish);
        mods_add(&mods, MOD_ADD, person ? "uidNumber" : "gidNumber", text);
        CRASH_POINT("ldap.account.adding");
        err = conn_add(change->conn, dn, &mods);
        if (!err || err->code != ERROR_INVALID)
            return err;
        *change->numbers = (Numbers){0};
    }
    return err;
}

/* ---- users ---- */

static const char *last_word(const char *name)
{
    const char *space = strrchr(name, ' ');

    return space && space[1] ? space + 1 : name;
}

static void names_into(Mods *mods, ModOp op, const char *name, const char *full_name)
{
    mods_add(mods, op, "cn", full_name ? full_name : name);
    mods_add(mods, op, "sn", last_word(full_name ? full_name : name));
    if (full_name || op == MOD_REPLACE)
        mods_add(mods, op, "displayName", full_name);
}

static void user_describe(Mods *mods, const Change *change, const void *context)
{
    const UserWish *wish = context;
    DEFER(xfree) char *home = xasprintf("/home/%s", change->name), *everybody = xasprintf("%d", EVERYBODY);

    mods_add(mods, MOD_ADD, "objectClass", "inetOrgPerson");
    mods_add(mods, MOD_ADD, "objectClass", "posixAccount");
    mods_add(mods, MOD_ADD, "uid", change->name);
    names_into(mods, MOD_ADD, change->name, wish->full_name);
    mods_add(mods, MOD_ADD, "gidNumber", everybody);
    mods_add(mods, MOD_ADD, "homeDirectory", home);
    if (wish->locked)
        mods_add(mods, MOD_ADD, "pwdAccountLockedTime", locked_time);
}

static Error *exists(const Change *change, bool otherwise)
{
    DEFER(xfree) char *seen = shown(change->name);
    Error *err = error_new(ERROR_EXISTS, "%s %s exists%s", account_kind_name(change->write->kind), seen,
                           otherwise ? " with other values" : "");

    return otherwise ? error_hint(err, "change it with set instead of add") : err;
}

/* SPEC F-015: the same again changes nothing; other values are not slipped in by "may exist". */
static Error *user_add_again(const Change *change, const UserWish *wish, const char *dn, const Mail__Account *there)
{
    const char *full_name = there->full_name ? there->full_name : "";
    bool same = !wish->says_name || strcmp(full_name, wish->full_name ? wish->full_name : "") == 0;

    same = same && (!wish->says_locked || wish->locked == !there->enabled);
    if (same && change->write->has_password && !change->write->hashed) { /* two hashes of one password differ */
        Error *err =
            conn_may_bind(change->place->socket, dn, change->write->password.data, change->write->password.len, &same);
        if (err)
            return err;
    }
    return same ? NULL : exists(change, true);
}

static Error *user_add(const Change *change, const UserWish *wish)
{
    DEFER(xfree) char *value = dn_escape(change->name);
    DEFER(xfree) char *dn = xasprintf("uid=%s,%s", value, change->place->people);

    Error *err = add_numbered(change, true, dn, user_describe, wish);
    if (err)
        return err->code == ERROR_EXISTS ? (error_free(&err), exists(change, false)) : err;
    CRASH_POINT("ldap.account.added");
    err = password_set(change, dn, wish->locked);
    if (err && !conn_lost(change->conn)) { /* nobody who cannot log in is left behind a refusal */
        Error *undone = conn_delete(change->conn, dn);
        error_free(&undone);
    }
    return err;
}

static Error *user_modify(const Change *change, const UserWish *wish, const char *dn, const Mail__Account *there)
{
    DEFER(mods_done) Mods mods = {0};

    Error *err = password_set(change, dn, wish->says_locked ? wish->locked : !there->enabled);
    if (err)
        return err;
    if (wish->says_name)
        names_into(&mods, MOD_REPLACE, change->name, wish->full_name);
    if (wish->says_locked)
        mods_add(&mods, MOD_REPLACE, "pwdAccountLockedTime", wish->locked ? locked_time : NULL);
    if (wish->says_locked && !wish->locked)
        mods_add(&mods, MOD_REPLACE, "pwdEndTime", NULL);
    return conn_modify(change->conn, dn, &mods);
}

/* Out of the groups first: were it the other way, and we ended in between, the next one of that name would be in them. */
static Error *user_remove(const Change *change, const char *dn)
{
    Error *err = members_drop_everywhere(change->conn, change->place, change->name);

    CRASH_POINT("ldap.memberships.removed");
    return err ? err : conn_delete(change->conn, dn);
}

static Error *user_change(const Change *change, const char *dn, const Mail__Account *there)
{
    DEFER(wish_done) UserWish wish = {0};

    Error *err = user_wish(change->write, &wish);
    if (err)
        return err;
    switch (change->write->verb) {
    case MAIL__VERB__ADD:
        if (there)
            return change->write->lenient ? user_add_again(change, &wish, dn, there) : exists(change, false);
        return user_add(change, &wish);
    case MAIL__VERB__MODIFY:
        return user_modify(change, &wish, dn, there);
    case MAIL__VERB__REMOVE:
    default:
        return user_remove(change, dn);
    }
}

/* ---- groups ---- */

static Error *group_wish(const Change *change, const Mail__Account *there, Members *was, Members *wanted)
{
    const Mail__DirectoryWrite *write = change->write;
    Error *err = NULL;

    for (size_t i = 0; there && i < there->n_members; i++) {
        members_add(was, there->members[i]);
        members_add(wanted, there->members[i]);
    }
    for (size_t i = 0; !err && i < write->n_fields; i++)
        err = field_is(write->fields[i], "members") ? members_edit(wanted, write->fields[i])
                                                    : field_unknown(write->fields[i], MAIL__ACCOUNT_KIND__GROUP);
    return err ? err : members_exist(change->conn, change->place, wanted, was);
}

static void group_describe(Mods *mods, const Change *change, const void *context)
{
    const Members *wanted = context;

    mods_add(mods, MOD_ADD, "objectClass", "posixGroup");
    mods_add(mods, MOD_ADD, "cn", change->name);
    for (const Member *member = wanted->first; member; member = member->hh.next)
        mods_add(mods, MOD_ADD, "memberUid", member->name);
}

static Error *group_add(const Change *change, const Members *wanted)
{
    DEFER(xfree) char *value = dn_escape(change->name);
    DEFER(xfree) char *dn = xasprintf("cn=%s,%s", value, change->place->groups);

    Error *err = add_numbered(change, false, dn, group_describe, wanted);
    return err && err->code == ERROR_EXISTS ? (error_free(&err), exists(change, false)) : err;
}

/* Only what differs is written, so two who change different members do not undo each other. */
static void group_difference(Mods *mods, const Members *was, const Members *wanted)
{
    for (const Member *member = was->first; member; member = member->hh.next)
        if (!members_have(wanted, member->name))
            mods_add(mods, MOD_DELETE, "memberUid", member->name);
    for (const Member *member = wanted->first; member; member = member->hh.next)
        if (!members_have(was, member->name))
            mods_add(mods, MOD_ADD, "memberUid", member->name);
}

static Error *group_change(const Change *change, const char *dn, const Mail__Account *there)
{
    DEFER(members_done) Members was = {0};
    DEFER(members_done) Members wanted = {0};
    DEFER(mods_done) Mods mods = {0};

    if (change->write->verb == MAIL__VERB__REMOVE)
        return conn_delete(change->conn, dn);
    Error *err = group_wish(change, there, &was, &wanted);
    if (err)
        return err;
    group_difference(&mods, &was, &wanted);
    if (change->write->verb == MAIL__VERB__MODIFY)
        return conn_modify(change->conn, dn, &mods);
    if (!there)
        return group_add(change, &wanted);
    return change->write->lenient && !mods.n ? NULL : exists(change, change->write->lenient);
}

/* ---- all of them ---- */

static Error *change_now(Change *change)
{
    Mail__DirectoryWrite *write = change->write;
    bool adding = write->verb == MAIL__VERB__ADD;
    Mail__Account *there = NULL;
    DEFER(xfree) char *dn = NULL;

    Error *err = write->has_kind && write->has_verb ? NULL : error_new(ERROR_INVALID, "a change without kind or verb");
    if (!err)
        err = adding ? name_new(write->kind, write->name ? write->name : "", &change->name)
                     : name_known(write->kind, write->name ? write->name : "", &change->name);
    if (!err)
        err = password_check(write);
    if (!err)
        err = people_find(change->conn, change->place, write->kind, change->name, &dn, &there);
    if (err)
        return err;
    if (!there && !adding)
        return write->lenient ? NULL : people_missing(change->conn, change->place, write->kind, change->name);
    err = write->kind == MAIL__ACCOUNT_KIND__USER ? user_change(change, dn, there) : group_change(change, dn, there);
    account_free(&there);
    return err;
}

Error *people_change(Conn *conn, const Place *place, Numbers *numbers, Mail__DirectoryWrite *write)
{
    Change change = {conn, place, numbers, write, NULL};
    Error *err = change_now(&change);

    if (write->has_password && write->password.len)
        explicit_bzero(write->password.data, write->password.len);
    free(change.name);
    return err;
}

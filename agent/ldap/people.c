#include "ldap/people.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "ldap/names.h"
#include "model/name.h"
#include "model/nearest.h"
#include "model/shown.h"
#include "tables/places.h"

#include <ldap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char person_class[] = "(objectClass=posixAccount)", group_class[] = "(objectClass=posixGroup)";

/* ---- where ---- */

Place place_of(const char *socket, const char *user_domain)
{
    DEFER(xfree) char *name = dn_escape(user_domain);
    char *suffix = xasprintf(DIRECTORY_SUFFIX, name);

    return (Place){
        .user_domain = xstrdup(user_domain),
        .suffix = suffix,
        .people = xasprintf(DIRECTORY_PEOPLE ",%s", suffix),
        .groups = xasprintf(DIRECTORY_GROUPS ",%s", suffix),
        .socket = xstrdup(socket),
    };
}

bool dn_is_one_below(const char *dn, const char *above)
{
    const char *at = dn;

    while (*at && *at != ',')
        at += *at == '\\' && at[1] ? 2 : 1;
    return *at == ',' && strcasecmp(at + 1, above) == 0;
}

void place_done(Place *place)
{
    free(place->user_domain);
    free(place->suffix);
    free(place->people);
    free(place->groups);
    free(place->socket);
    *place = (Place){0};
}

/* ---- one account ---- */

void account_free(Mail__Account **account)
{
    if (!*account)
        return;
    for (size_t i = 0; i < (*account)->n_members; i++)
        free((*account)->members[i]);
    for (size_t i = 0; i < (*account)->n_groups; i++)
        free((*account)->groups[i]);
    free((*account)->members);
    free((*account)->groups);
    free((*account)->name);
    free((*account)->uuid);
    free((*account)->full_name);
    free(*account);
    *account = NULL;
}

/* Doubles at powers of two. */
static void text_add(char ***list, size_t *n, const char *text)
{
    if ((*n & (*n - 1)) == 0)
        *list = xrealloc(*list, (*n ? 2 * *n : 1) * sizeof **list);
    (*list)[(*n)++] = xstrdup(text);
}

static bool can_be_said(const Value *value)
{
    if (!value->size || value->size > NAME_ACCOUNT_LEN || memchr(value->data, '\0', value->size) ||
        !utf8_valid(value->data, value->size))
        return false;
    for (size_t at = 0, len; at < value->size; at += len)
        if (character_hidden(character_at(value->data + at, &len)))
            return false;
    return true;
}

static const Value *first_value(const Entry *entry, const char *name)
{
    const Attribute *attribute = entry_attribute(entry, name);

    return attribute && attribute->n ? &attribute->values[0] : NULL;
}

/* Of several values the one in the RDN is the name. */
static char *name_of(const Entry *entry, const char *attribute)
{
    LDAPDN dn = NULL;
    char *name = NULL;

    if (ldap_str2dn(entry->dn, &dn, LDAP_DN_FORMAT_LDAPV3) != LDAP_SUCCESS || !dn)
        return NULL;
    for (size_t i = 0; dn[0] && dn[0][i]; i++) {
        const LDAPAVA *ava = dn[0][i];
        Value value = {ava->la_value.bv_val, ava->la_value.bv_len};
        if (!name && strcasecmp(ava->la_attr.bv_val, attribute) == 0 && can_be_said(&value))
            name = xstrndup(value.data, value.size);
    }
    ldap_dnfree(dn);
    return name;
}

/* "20261125000621Z" is of a past; slapd locks by itself for a while, which is no word about mail. */
static bool is_enabled(const Entry *entry)
{
    const Value *locked = first_value(entry, "pwdAccountLockedTime"), *end = first_value(entry, "pwdEndTime");
    time_t now = time(NULL);
    struct tm utc;
    char today[20];

    if (locked && strcmp(locked->data, "000001010000Z") == 0)
        return false;
    gmtime_r(&now, &utc);
    strftime(today, sizeof today, "%Y%m%d%H%M%S", &utc);
    return !end || end->size < 14 || strncmp(end->data, today, 14) > 0;
}

static void members_take(const Entry *entry, Mail__Account *account)
{
    const Attribute *members = entry_attribute(entry, "memberUid");

    for (size_t i = 0; members && i < members->n; i++)
        if (can_be_said(&members->values[i]))
            text_add(&account->members, &account->n_members, members->values[i].data);
}

Error *account_of_entry(Mail__AccountKind kind, const Entry *entry, Mail__Account **ret_account)
{
    bool person = kind == MAIL__ACCOUNT_KIND__USER;
    char *name = name_of(entry, person ? "uid" : "cn");
    const Value *uuid = first_value(entry, "entryUUID"), *full_name = first_value(entry, "displayName");

    *ret_account = NULL;
    if (!name)
        return NULL;
    if (!uuid || !can_be_said(uuid)) {
        free(name);
        return error_new(ERROR_UNAVAILABLE, "directory: an entry without entryUUID");
    }
    Mail__Account *account = xcalloc(1, sizeof *account);
    mail__account__init(account);
    account->has_kind = true;
    account->kind = kind;
    account->name = name;
    account->uuid = xstrdup(uuid->data);
    account->has_enabled = person;
    account->enabled = person && is_enabled(entry);
    if (person && full_name && can_be_said(full_name))
        account->full_name = xstrdup(full_name->data);
    if (!person)
        members_take(entry, account);
    *ret_account = account;
    return NULL;
}

/* ---- many ---- */

void account_list_done(AccountList *list)
{
    for (size_t i = 0; i < list->n; i++)
        account_free(&list->items[i]);
    free(list->items);
    free(list->state);
    *list = (AccountList){0};
}

Error *account_list_take(AccountList *list, Mail__Account *account)
{
    if (list->n == list->room) {
        list->room = list->room ? list->room * 2 : 64;
        list->items = xrealloc(list->items, list->room * sizeof *list->items);
    }
    list->items[list->n++] = account;
    list->octets += mail__account__get_packed_size(account);
    if (list->n > PEOPLE_MAX || list->octets > PEOPLE_BYTES_MAX)
        return error_new(ERROR_UNAVAILABLE, "directory: over %d accounts, or %d octets of them", PEOPLE_MAX,
                         PEOPLE_BYTES_MAX);
    return NULL;
}

typedef struct Taking {
    Mail__AccountKind kind;
    AccountList *list;
} Taking;

static Error *take_entry(void *context, const Entry *entry)
{
    Taking *taking = context;
    Mail__Account *account = NULL;

    Error *err = account_of_entry(taking->kind, entry, &account);
    if (err)
        return err;
    if (account)
        return account_list_take(taking->list, account);
    taking->list->left_out++;
    return NULL;
}

static Error *read_kind(Conn *conn, const Place *place, Mail__AccountKind kind, const char *filter, AccountList *list)
{
    static const char *const of_user[] = {"uid",        "displayName", "entryUUID", "pwdAccountLockedTime",
                                          "pwdEndTime", NULL};
    static const char *const of_group[] = {"cn", "memberUid", "entryUUID", NULL};
    bool person = kind == MAIL__ACCOUNT_KIND__USER;
    Taking taking = {kind, list};

    return conn_search(conn, person ? place->people : place->groups, SCOPE_ONE, filter, person ? of_user : of_group,
                       take_entry, &taking);
}

static int by_name(const void *a, const void *b)
{
    const Mail__Account *one = *(Mail__Account *const *)a, *other = *(Mail__Account *const *)b;
    int order = strcmp(one->name, other->name);

    return order ? order : (int)one->kind - (int)other->kind;
}

static void list_sort(AccountList *list)
{
    if (list->n)
        qsort(list->items, list->n, sizeof(Mail__Account *), by_name);
}

static Error *take_csn(void *context, const Entry *entry)
{
    const Attribute *csn = entry_attribute(entry, "contextCSN");
    char **state = context;

    for (size_t i = 0; csn && i < csn->n; i++) { /* one for each server that writes */
        char *more = xasprintf("%s%s%s", *state ? *state : "", *state ? "," : "", csn->values[i].data);
        free(*state);
        *state = more;
    }
    return NULL;
}

Error *people_state(Conn *conn, const Place *place, char **ret_state)
{
    DEFER(xfree) char *state = NULL;

    Error *err = conn_search(conn, place->suffix, SCOPE_BASE, "(objectClass=*)",
                             (const char *const[]){"contextCSN", NULL}, take_csn, &state);
    if (err)
        return err;
    if (state && (strlen(state) > 1000 || !utf8_valid(state, strlen(state))))
        return error_new(ERROR_UNAVAILABLE, "directory: its contextCSN is none");
    *ret_state = state ? state : xstrdup("");
    state = NULL;
    return NULL;
}

/* ---- copies ---- */

static Error *take_dn(void *context, const Entry *entry)
{
    char **dn = context;

    free(*dn);
    *dn = xstrdup(entry->dn);
    return NULL;
}

static Error *take_connection(void *context, const Entry *entry)
{
    const Value *connection = first_value(entry, "olmSRConnection");
    bool *cut_off = context;

    *cut_off = !connection || !connection->size;
    return NULL;
}

Error *people_cut_off(Conn *conn, const Place *place, bool *ret_cut_off)
{
    DEFER(xfree) char *filter = xasprintf("(namingContexts=%s)", place->suffix), *database = NULL;
    bool cut_off = false;

    Error *err = conn_search(conn, "cn=Databases,cn=Monitor", SCOPE_FEW, filter, (const char *const[]){"1.1", NULL},
                             take_dn, &database);
    if (!err && database)
        err = conn_search(conn, database, SCOPE_FEW, "(objectClass=olmSyncReplInstance)",
                          (const char *const[]){"olmSRConnection", NULL}, take_connection, &cut_off);
    if (err && !conn_lost(conn)) /* there is no monitor where nothing is a copy */
        error_free(&err);
    if (!err)
        *ret_cut_off = cut_off;
    return err;
}

/* ---- who is in which group ---- */

static Mail__Account *user_named(const AccountList *users, const char *name)
{
    Mail__Account key = MAIL__ACCOUNT__INIT, *at = &key;

    key.name = (char *)name;
    key.kind = MAIL__ACCOUNT_KIND__USER;
    Mail__Account **found = users->n ? bsearch(&at, users->items, users->n, sizeof(Mail__Account *), by_name) : NULL;
    return found ? *found : NULL;
}

/* 'users' are sorted, and nothing but users. */
static Error *groups_into(AccountList *users, const AccountList *groups)
{
    for (size_t i = 0; i < groups->n; i++) {
        const Mail__Account *group = groups->items[i];
        for (size_t k = 0; k < group->n_members; k++) {
            Mail__Account *user = user_named(users, group->members[k]);
            if (!user)
                continue;
            text_add(&user->groups, &user->n_groups, group->name);
            users->octets += strlen(group->name) + 2;
        }
    }
    return users->octets <= PEOPLE_BYTES_MAX
               ? NULL
               : error_new(ERROR_UNAVAILABLE, "directory: memberships of over %d octets", PEOPLE_BYTES_MAX);
}

/* ---- what is asked for ---- */

static Error *read_all(Conn *conn, const Place *place, const Mail__DirectoryRead *read, AccountList *list)
{
    DEFER(account_list_done) AccountList groups = {0};
    bool users = !read->has_kind || read->kind == MAIL__ACCOUNT_KIND__USER;
    Error *err = NULL;

    if (users)
        err = read_kind(conn, place, MAIL__ACCOUNT_KIND__USER, person_class, list);
    list_sort(list);
    if (!err)
        err = read_kind(conn, place, MAIL__ACCOUNT_KIND__GROUP, group_class, &groups);
    list_sort(&groups);
    if (!err && users)
        err = groups_into(list, &groups);
    for (size_t i = 0; !err && i < groups.n; i++) {
        if (read->has_kind && users)
            break;
        err = account_list_take(list, groups.items[i]);
        groups.items[i] = NULL;
    }
    list->left_out += groups.left_out;
    list_sort(list);
    return err;
}

/* Pages are cut from the whole: the directory has no order of its own. */
static void cut(AccountList *list, const char *after, uint32_t limit)
{
    size_t first = 0, kept = 0;

    while (after && *after && first < list->n && strcmp(list->items[first]->name, after) <= 0)
        first++;
    for (size_t i = 0; i < list->n; i++)
        if (i < first || (limit && kept == limit))
            account_free(&list->items[i]);
        else
            list->items[kept++] = list->items[i];
    list->n = kept;
}

typedef struct Finding {
    Mail__AccountKind kind;
    char *dn;
    Mail__Account *account;
} Finding;

static Error *found(void *context, const Entry *entry)
{
    Finding *finding = context;

    if (finding->account) /* overlay unique forbids it */
        return error_new(ERROR_CONFLICT, "directory: two entries have this name");
    finding->dn = xstrdup(entry->dn);
    return account_of_entry(finding->kind, entry, &finding->account);
}

Error *people_find(Conn *conn, const Place *place, Mail__AccountKind kind, const char *name, char **ret_dn,
                   Mail__Account **ret_account)
{
    static const char *const wanted[] = {
        "uid", "cn", "displayName", "memberUid", "entryUUID", "pwdAccountLockedTime", "pwdEndTime", NULL};
    bool person = kind == MAIL__ACCOUNT_KIND__USER;
    DEFER(xfree) char *value = filter_escape(name);
    DEFER(xfree)
    char *filter = xasprintf("(&%s(%s=%s))", person ? person_class : group_class, person ? "uid" : "cn", value);
    Finding finding = {.kind = kind};

    Error *err = conn_search(conn, person ? place->people : place->groups, SCOPE_ONE, filter, wanted, found, &finding);
    if (err || !finding.account) {
        free(finding.dn);
        account_free(&finding.account);
        return err;
    }
    *ret_dn = finding.dn;
    *ret_account = finding.account;
    return NULL;
}

static Error *offer(void *context, const Entry *entry)
{
    DEFER(xfree) char *name = name_of(entry, "uid");
    if (!name)
        name = name_of(entry, "cn");

    if (name)
        nearest_offer(context, name);
    return NULL;
}

Error *people_missing(Conn *conn, const Place *place, Mail__AccountKind kind, const char *name)
{
    static const char *const names[] = {"uid", "cn", NULL};
    bool person = kind == MAIL__ACCOUNT_KIND__USER;
    DEFER(xfree) char *seen = shown(name);
    Nearest nearest;

    nearest_init(&nearest, name);
    Error *err = conn_search(conn, person ? place->people : place->groups, SCOPE_ONE,
                             person ? person_class : group_class, names, offer, &nearest);
    error_free(&err); /* the hint is a courtesy */
    Error *missing = error_new(ERROR_NOT_FOUND, "%s %s does not exist", account_kind_name(kind), seen);
    return nearest_found(&nearest) ? error_hint(missing, "did you mean %s?", nearest_found(&nearest)) : missing;
}

static Error *groups_of(Conn *conn, const Place *place, Mail__Account *user)
{
    DEFER(account_list_done) AccountList groups = {0};
    DEFER(xfree) char *value = filter_escape(user->name);
    DEFER(xfree) char *filter = xasprintf("(&%s(memberUid=%s))", group_class, value);

    Error *err = read_kind(conn, place, MAIL__ACCOUNT_KIND__GROUP, filter, &groups);
    list_sort(&groups);
    for (size_t i = 0; !err && i < groups.n; i++)
        text_add(&user->groups, &user->n_groups, groups.items[i]->name);
    return err;
}

static Error *read_one(Conn *conn, const Place *place, Mail__AccountKind kind, const char *name, AccountList *list)
{
    Mail__Account *account = NULL;
    DEFER(xfree) char *dn = NULL;

    Error *err = people_find(conn, place, kind, name, &dn, &account);
    if (!err && account && kind == MAIL__ACCOUNT_KIND__USER)
        err = groups_of(conn, place, account);
    if (!account)
        return err;
    Error *full = account_list_take(list, account);
    if (!err)
        return full;
    error_free(&full);
    return err;
}

static Error *read_named(Conn *conn, const Place *place, const Mail__DirectoryRead *read, AccountList *list)
{
    Mail__AccountKind kind = read->has_kind ? read->kind : MAIL__ACCOUNT_KIND__USER;
    DEFER(xfree) char *name = NULL;

    Error *err = name_known(kind, read->name, &name);
    if (!err)
        err = read_one(conn, place, kind, name, list);
    if (!err && !read->has_kind)
        err = read_one(conn, place, MAIL__ACCOUNT_KIND__GROUP, name, list);
    if (!err && !list->n)
        err = people_missing(conn, place, kind, name);
    return err;
}

Error *people_read(Conn *conn, const Place *place, const Mail__DirectoryRead *read, AccountList *list)
{
    Error *err = people_state(conn, place, &list->state); /* before: what comes meanwhile is read again */

    if (err)
        return err;
    if (read->name && *read->name)
        return read_named(conn, place, read, list);
    err = read_all(conn, place, read, list);
    if (!err)
        cut(list, read->after, read->has_limit ? read->limit : 0);
    return err;
}

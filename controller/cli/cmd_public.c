/* Public mailboxes: added with their address, and with owners that are there; nor may others make some.  The controller knows
 * no users: the directory is asked, and where it does not answer that is said. */
#include "accounts.h"
#include "objects.h"
#include "outcome.h"

#include "base/alloc.h"
#include "model/acl.h"
#include "model/meta.h"
#include "model/name.h"
#include "model/validate.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- the directory ---- */

static void count(void *context, const Mail__Account *account)
{
    (void)account;
    ++*(size_t *)context;
}

/* *ret_known: the directory has answered. */
static Error *account_look(Cli *cli, Mail__AccountKind kind, const char *name, bool *ret_there, bool *ret_known)
{
    size_t n = 0;
    Error *err = accounts_each(cli, kind, name, NULL, 0, count, &n, NULL);
    bool missing = err && err->code == ERROR_NOT_FOUND && !cli->exit;

    *ret_there = !err && n;
    *ret_known = !err || missing;
    if (!err || cli->exit ||
        (err->code != ERROR_UNAVAILABLE && err->code != ERROR_NOT_FOUND && err->code != ERROR_UNSUPPORTED &&
         err->code != ERROR_DENIED))
        return err;
    if (!missing) {
        DEFER(xfree)
        char *words = xasprintf("warning: whether there is a %s %s is not known: %s",
                                kind == MAIL__ACCOUNT_KIND__USER ? "user" : "group", name, err->what);
        print_text(stderr, words);
        fputc('\n', stderr);
    }
    error_free(&err);
    return NULL;
}

static Error *must_exist(Cli *cli, const char *field, const char *value, bool user, const char *name)
{
    bool there = false, known = false;
    Error *err = account_look(cli, user ? MAIL__ACCOUNT_KIND__USER : MAIL__ACCOUNT_KIND__GROUP, name, &there, &known);

    if (err || there || !known)
        return err;
    return error_new(ERROR_NOT_FOUND, "%s '%s': %s %s does not exist", field, value, user ? "user" : "group", name);
}

static Error *owner_check(Cli *cli, const char *text)
{
    DEFER(acl_done) AclEntry entry = {.name = NULL};
    DEFER(xfree) char *normal = NULL;

    Error *err = text_normalise(MAIL__FIELD_TYPE__ACL, text, &normal);
    if (!err)
        err = acl_read(normal, &entry);
    if (err || entry.who == ACL_ANYONE) {
        error_free(&err); /* the controller says so, as of any other field */
        return NULL;
    }
    return must_exist(cli, "acl", normal, entry.who == ACL_USER, entry.name);
}

static Error *creator_check(Cli *cli, const char *text)
{
    DEFER(xfree) char *normal = NULL;

    Error *err = text_normalise(MAIL__FIELD_TYPE__DESTINATION, text, &normal);
    bool user = !err && strncmp(normal, "user:", 5) == 0, group = !err && strncmp(normal, "group:", 6) == 0;
    error_free(&err);
    if (!user && !group) /* the controller says so */
        return NULL;
    return must_exist(cli, "public-creators", normal, user, strchr(normal, ':') + 1);
}

/* Of a list as it was typed; what is taken away may be gone already. */
static Error *each_checked(Cli *cli, const Mail__FieldEdit *field, Error *(*check)(Cli *cli, const char *text))
{
    DEFER(xfree) char *list = xstrdup(field->value ? field->value : "");
    char *rest = NULL;
    Error *err = NULL;

    if (field->has_op && field->op == MAIL__EDIT_OP__TAKE)
        return NULL;
    for (char *item = strtok_r(list, ",", &rest); !err && item; item = strtok_r(NULL, ",", &rest)) {
        item += strspn(item, " ");
        for (size_t len = strlen(item); len && item[len - 1] == ' '; len--)
            item[len - 1] = '\0';
        err = check(cli, item);
    }
    return err;
}

static Error *named_check(Cli *cli, Kind kind, const Mail__FieldEdit *edit)
{
    const FieldMeta *field = meta_field(kind_info(kind)->meta, edit->field);

    if (field && strcmp(field->name, "acl") == 0)
        return each_checked(cli, edit, owner_check);
    if (field && strcmp(field->name, "public_creators") == 0)
        return each_checked(cli, edit, creator_check);
    return NULL;
}

Error *run_named_set(Cli *cli, const Line *line, int *ret_exit)
{
    Kind kind = kind_by_name(line->command->kind)->kind;
    Error *err = NULL;

    for (size_t i = 0; !err && i < line->n_fields; i++)
        err = named_check(cli, kind, &line->fields[i]);
    return err ? err : run_change(cli, line, ret_exit);
}

/* ---- its address (SPEC F-056) ---- */

static Error *ways_out(Error *err, const char *key, const char *wildcard)
{
    if (wildcard)
        return error_hint(err,
                          "mailctl public-mailbox add '%s' address=%s all the same, address=OTHER@*, or address=none",
                          key, wildcard);
    return error_hint(err, "mailctl public-mailbox add '%s' address=OTHER@*, or address=none", key);
}

typedef struct Holder {
    const char *dest; /* "public:NAME": its own address is no other's */
    char *name;       /* NULL: nobody */
} Holder;

static void holder_done(Holder *holder)
{
    xfree(&holder->name);
}

static void nothing(void *context)
{
    (void)context;
}

static Error *holder_take(void *context, const Object *object)
{
    Holder *holder = context;
    const Mail__Address *address = object->address;

    if (!holder->name && !(address->n_to == 1 && strcmp(address->to[0], holder->dest) == 0))
        holder->name = xstrdup(object->name);
    return NULL;
}

/* Addresses of this local part, in whatever domain. */
static Error *address_look(Cli *cli, const char *local, Holder *holder)
{
    DEFER(xfree) char *prefix = xasprintf("%s@", local);
    Mail__List list = MAIL__LIST__INIT;

    list.kind = (char *)"address";
    list.instance = (char *)cli_instance(cli);
    list.prefix = prefix;
    return objects_each(cli, &list, nothing, holder_take, holder);
}

static Error *account_holds(Cli *cli, const char *key, const char *local, const char *wildcard)
{
    static const Mail__AccountKind kinds_of[] = {MAIL__ACCOUNT_KIND__USER, MAIL__ACCOUNT_KIND__GROUP};
    Error *err = NULL;

    for (size_t i = 0; !err && i < sizeof kinds_of / sizeof *kinds_of; i++) {
        bool there = false, known = false;
        err = account_look(cli, kinds_of[i], local, &there, &known);
        if (!err && there)
            err = ways_out(error_new(ERROR_EXISTS, "address: %s %s has this name", i ? "group" : "user", local), key,
                           wildcard);
    }
    return err;
}

/* The wildcard address of its name.  Owned by the caller. */
static Error *address_of_name(Cli *cli, const char *key, const char *name, char **ret_address)
{
    DEFER(xfree) char *typed = xasprintf("%s@*", name), *dest = xasprintf("public:%s", name), *wildcard = NULL;
    DEFER(holder_done) Holder holder = {.dest = dest};

    Error *err = address_key_normalise(typed, &wildcard);
    if (err)
        return ways_out(error_in(err, "address %s", typed), key, NULL);
    DEFER(xfree) char *local = xstrndup(wildcard, strlen(wildcard) - 2);
    err = address_look(cli, local, &holder);
    if (!err && holder.name)
        err = ways_out(error_new(ERROR_EXISTS, "address: %s is there already", holder.name), key,
                       strcmp(holder.name, wildcard) == 0 ? NULL : wildcard);
    if (!err)
        err = account_holds(cli, key, local, wildcard);
    if (err)
        return err;
    *ret_address = wildcard;
    wildcard = NULL;
    return NULL;
}

/* ---- for the list ---- */

struct PublicAddresses {
    json_t *of; /* "INSTANCE NAME" -> "sales@*,info@example.org" */
};

static void leads_there(PublicAddresses *addresses, const char *instance, const char *dest, const char *from)
{
    if (!dest || strncmp(dest, "public:", 7) != 0)
        return;
    DEFER(xfree) char *key = xasprintf("%s %s", instance, dest + 7);
    const char *before = json_string_value(json_object_get(addresses->of, key));
    DEFER(xfree) char *all = xasprintf("%s%s%s", before ? before : "", before ? "," : "", from);
    json_object_set_new(addresses->of, key, json_text(all));
}

static Error *public_address_take(void *context, const Object *object)
{
    DEFER(xfree) char *all_of_domain = xasprintf("*@%s", object->name);
    const Mail__Address *address = object->address;

    if (object->body_case == MAIL__OBJECT__BODY_DOMAIN) {
        leads_there(context, object->instance_name, object->domain->catch_all, all_of_domain);
        return NULL;
    }
    for (size_t i = 0; i < address->n_to; i++)
        leads_there(context, object->instance_name, address->to[i], object->name);
    return NULL;
}

Error *public_addresses_ask(Cli *cli, const char *instance, const char *prefix, PublicAddresses **ret_addresses)
{
    static const char *const kinds_of[] = {"address", "domain"};
    DEFER(public_addresses_free) PublicAddresses *addresses = xcalloc(1, sizeof *addresses);
    DEFER(xfree) char *to = xasprintf("public:%s", prefix ? prefix : "");
    Error *err = NULL;

    addresses->of = json_object();
    for (size_t i = 0; !err && i < sizeof kinds_of / sizeof *kinds_of; i++) {
        Mail__List list = MAIL__LIST__INIT;
        list.kind = (char *)(uintptr_t)kinds_of[i];
        list.instance = (char *)(uintptr_t)instance;
        list.to = to;
        err = objects_each(cli, &list, nothing, public_address_take, addresses);
    }
    if (err)
        return err;
    *ret_addresses = addresses;
    addresses = NULL;
    return NULL;
}

void public_addresses_free(PublicAddresses **addresses)
{
    if (*addresses)
        json_decref((*addresses)->of);
    xfree(addresses);
}

const char *public_addresses_of(const PublicAddresses *addresses, const ObjectRef *mailbox)
{
    DEFER(xfree) char *key = xasprintf("%s %s", mailbox->instance, mailbox->name);
    const char *all = json_string_value(json_object_get(addresses->of, key));

    return all ? all : "no address";
}

/* ---- add ---- */

/* NULL: none.  Owned by the caller. */
static Error *address_wanted(Cli *cli, const Line *line, const char *name, char **ret_address)
{
    const char *given = NULL;

    for (size_t i = 0; i < line->n_fields; i++)
        if (strcmp(line->fields[i].field, "address") == 0)
            given = line->fields[i].value ? line->fields[i].value : "";
    if (!given)
        return address_of_name(cli, line->key, name, ret_address);
    if (strcmp(given, "none") == 0 || !*given)
        return NULL;
    return error_in(address_key_normalise(given, ret_address), "address");
}

static Error *add_send(Cli *cli, const Line *line, const char *address, const char *name, int *ret_exit)
{
    DEFER(xfree) char *dest = xasprintf("public:%s", name);
    DEFER(xfree) Mail__FieldEdit **fields = xcalloc(line->n_fields + 1, sizeof(Mail__FieldEdit *));
    Mail__FieldEdit to = MAIL__FIELD_EDIT__INIT, *tos = &to;
    Mail__Ref refs[2] = {MAIL__REF__INIT, MAIL__REF__INIT};
    Mail__ObjectEdit edits[2] = {MAIL__OBJECT_EDIT__INIT, MAIL__OBJECT_EDIT__INIT};

    for (size_t i = 0; i < line->n_fields; i++)
        if (strcmp(line->fields[i].field, "address") != 0)
            fields[edits[0].n_fields++] = &line->fields[i];
    refs[0].kind = (char *)"public-mailbox";
    refs[0].name = (char *)line->key;
    refs[1].kind = (char *)"address";
    refs[1].name = (char *)address;
    to.field = (char *)"to";
    to.value = dest;
    to.has_op = 1;
    edits[0].fields = fields;
    edits[1].fields = &tos;
    edits[1].n_fields = 1;
    for (size_t i = 0; i < 2; i++) {
        refs[i].instance = (char *)cli_instance(cli);
        edits[i].has_verb = 1;
        edits[i].ref = &refs[i];
    }
    return change_send(cli, line, (Mail__ObjectEdit *[]){&edits[0], &edits[1]}, address ? 2 : 1, ret_exit);
}

/* The mailbox and its address are one revision: neither is there without the other. */
Error *run_public_add(Cli *cli, const Line *line, int *ret_exit)
{
    DEFER(xfree) char *name = NULL, *address = NULL;

    Error *err = name_normalise(MAIL__OBJECT__BODY_PUBLIC_MAILBOX, line->key, &name);
    for (size_t i = 0; !err && i < line->n_fields; i++)
        err = named_check(cli, MAIL__OBJECT__BODY_PUBLIC_MAILBOX, &line->fields[i]);
    if (!err)
        err = address_wanted(cli, line, name, &address);
    return err ? err : add_send(cli, line, address, name, ret_exit);
}

/* ---- undelete: the revision that removed it, taken back as a whole (SPEC F-058) ---- */

enum { UNDELETE_DAYS = 30, DAY_S = 86400 };

typedef struct Removal {
    uint64_t revision, time_s;
    bool alone; /* nothing else went or came with it but addresses */
    char *instance;
} Removal;

static void removal_done(Removal *removal)
{
    free(removal->instance);
}

static bool is_it(const Mail__Ref *ref, const char *name)
{
    return strcmp(ref->kind, "public-mailbox") == 0 && strcmp(ref->name, name) == 0;
}

static bool of_removal(const Mail__Ref *ref, const char *name)
{
    return strcmp(ref->kind, "address") == 0 || is_it(ref, name);
}

static void removal_take(Removal *removal, const Mail__RevisionInfo *info, const char *name)
{
    removal_done(removal);
    *removal = (Removal){.revision = info->revision, .time_s = info->time, .alone = info->count == info->n_changed};
    for (size_t i = 0; i < info->n_changed; i++) {
        removal->alone = removal->alone && of_removal(info->changed[i], name);
        if (!removal->instance && is_it(info->changed[i], name))
            removal->instance = xstrdup(info->changed[i]->instance);
    }
}

/* The newest change of it: where it is not there now that is how it went. */
static Error *removal_find(Cli *cli, const char *name, Removal *removal)
{
    Mail__GetHistory wish = MAIL__GET_HISTORY__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Call call;

    wish.kind = (char *)"public-mailbox";
    wish.instance = (char *)cli_instance(cli);
    wish.name = (char *)(uintptr_t)name;
    wish.has_limit = wish.limit = 1;
    envelope.body_case = MAIL__ENVELOPE__BODY_GET_HISTORY;
    envelope.get_history = &wish;
    Error *err = call_begin(cli, &envelope, false, &call);
    while (!err && !call.ended) {
        DEFER(envelope_free) Envelope *said = NULL;
        err = call_next(&call, &said);
        if (!err && said && said->body_case == MAIL__ENVELOPE__BODY_REVISIONS && said->revisions->n_revisions)
            removal_take(removal, said->revisions->revisions[0], name);
    }
    return err;
}

static Error *seen_there(void *context, const Object *object)
{
    (void)object;
    *(bool *)context = true;
    return NULL;
}

static Error *absent_check(Cli *cli, const char *name)
{
    Mail__List list = MAIL__LIST__INIT;
    bool there = false;

    list.kind = (char *)"public-mailbox";
    list.instance = (char *)cli_instance(cli);
    list.name = (char *)(uintptr_t)name;
    Error *err = objects_each(cli, &list, nothing, seen_there, &there);
    if (err && err->code == ERROR_NOT_FOUND && !cli->exit && !there) {
        error_free(&err);
        return NULL;
    }
    return err ? err : error_new(ERROR_EXISTS, "public-mailbox %s is there", name);
}

static Error *removal_check(const Removal *removal, const char *name)
{
    uint64_t now_s = (uint64_t)time(NULL);

    if (!removal->revision)
        return error_new(ERROR_NOT_FOUND, "public-mailbox %s: nothing of that name was removed", name);
    if (removal->time_s + (uint64_t)UNDELETE_DAYS * DAY_S < now_s)
        return error_hint(
            error_new(ERROR_NOT_FOUND, "public-mailbox %s: it was removed more than %d days ago", name, UNDELETE_DAYS),
            "its mail is there still: mailctl public-mailbox add %s", name);
    if (!removal->alone)
        return error_hint(error_new(ERROR_CONFLICT, "public-mailbox %s: revision %llu, which removed it, changed more",
                                    name, (unsigned long long)removal->revision),
                          "take back all of it: mailctl revert %llu", (unsigned long long)removal->revision);
    return NULL;
}

Error *run_public_undelete(Cli *cli, const Line *line, int *ret_exit)
{
    DEFER(xfree) char *name = NULL, *subject = NULL;
    DEFER(removal_done) Removal removal = {0};
    Mail__Undelete wish = MAIL__UNDELETE__INIT;
    Mail__Manner manner;
    Envelope envelope = MAIL__ENVELOPE__INIT;

    Error *err = name_normalise(MAIL__OBJECT__BODY_PUBLIC_MAILBOX, line->key, &name);
    if (!err)
        err = absent_check(cli, name);
    if (!err)
        err = removal_find(cli, name, &removal);
    if (!err)
        err = removal_check(&removal, name);
    if (!err)
        err = manner_of(cli, &manner);
    if (err)
        return err;
    subject = xasprintf("public-mailbox %s", name);
    wish.has_revision = 1;
    wish.revision = removal.revision;
    wish.instance = removal.instance;
    wish.name = name;
    wish.manner = &manner;
    envelope.body_case = MAIL__ENVELOPE__BODY_UNDELETE;
    envelope.undelete = &wish;
    return outcome_of(cli, &envelope, &manner, subject, line->command->done, ret_exit);
}

/* Public mailboxes: their key for delivery, their folder, and what Dovecot reads as the list of their rights. */
#include "tables/compute.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "model/acl.h"
#include "model/mutf7.h"
#include "tables/target.h"

#include <stdlib.h>
#include <string.h>

/* Maildir++: the levels of a folder are one name, with '.' before each. */
static char *folder_of(const char *name)
{
    DEFER(xfree) char *on_disk = mutf7_of(name);
    char *folder = xasprintf(".%s", on_disk);

    for (char *at = folder; *at; at++)
        if (*at == '/')
            *at = '.';
    return folder;
}

static void identifier_add(Buf *out, const char *prefix, const char *name)
{
    buf_printf(out, "\"%s", prefix);
    for (; *name; name++)
        buf_printf(out, "%s%c", *name == '"' || *name == '\\' ? "\\" : "", *name);
    buf_append_text(out, "\"");
}

/* As dovecot-acl has it; validation has let nothing else into the object. */
static Error *acl_lines(const Mail__PublicMailbox *mailbox, char **ret_text)
{
    DEFER(buf_done) Buf out = {0};

    for (size_t i = 0; i < mailbox->n_acl; i++) {
        DEFER(acl_done) AclEntry entry = {.name = NULL};
        Error *err = acl_read(mailbox->acl[i], &entry);
        if (err)
            return err;
        if (entry.who == ACL_ANYONE)
            buf_append_text(&out, "anyone");
        else
            identifier_add(&out, entry.who == ACL_USER ? "user=" : "group=", entry.name);
        buf_printf(&out, " %s\n", entry.letters);
    }
    *ret_text = xstrdup(buf_text(&out));
    return NULL;
}

char *public_creators(const Mail__Policy *policy)
{
    DEFER(buf_done) Buf out = {0};

    for (size_t i = 0; i < policy->n_public_creators; i++) {
        const char *who = policy->public_creators[i], *name = strchr(who, ':') + 1;
        identifier_add(&out, strncmp(who, "user:", 5) == 0 ? "user=" : "group=", name);
        buf_append_text(&out, " " ACL_LETTERS_ALL "\n");
    }
    return xstrdup(buf_text(&out));
}

/* ---- who loses something ---- */

/* Has this line's identifier these letters and more in 'now'? */
static bool keeps(const char *line, size_t len, const char *now)
{
    size_t who = len;

    while (who > 0 && line[who - 1] != ' ')
        who--;
    for (const char *at = now; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        if (strncmp(at, line, who) != 0)
            continue;
        for (size_t i = who; i < len; i++)
            if (!memchr(at + who, line[i], strcspn(at + who, "\n")))
                return false;
        return true;
    }
    return false;
}

static void left_add(void *context, const char *name, const char *facts)
{
    Compute *compute = context;

    (void)facts;
    if (compute->settle.left && names_count(compute->settle.left) < compute->settle.users_max)
        names_add(compute->settle.left, name);
}

static Error *left_entry(Compute *compute, const char *entry)
{
    DEFER(acl_done) AclEntry was = {.name = NULL};

    Error *err = acl_read(entry, &was);
    if (err)
        return err;
    if (was.who == ACL_ANYONE)
        compute->settle.all_left = true;
    else if (was.who == ACL_USER)
        left_add(compute, was.name, NULL);
    else
        return groups_below(&compute->groups, was.name, left_add, compute);
    return NULL;
}

/* A line of dovecot-acl as an entry of ours: 'user="..."' has its quotes outside. */
static char *entry_of(const char *line, size_t len)
{
    Buf entry = {0};
    bool quoted = *line == '"';

    for (size_t i = quoted; i < len; i++) {
        if (quoted && line[i] == '"') {
            quoted = false;
            continue;
        }
        if (quoted && line[i] == '\\')
            i++;
        char c = line[i] == '=' && !memchr(line, '=', i) ? ':' : line[i] == ' ' && !quoted ? ':' : line[i];
        buf_append(&entry, &c, 1);
    }
    char *text = xstrdup(buf_text(&entry));
    buf_done(&entry);
    return text;
}

/* A session reads on in what it has open, whatever the list says now. */
static Error *left_find(Compute *compute, const char *before, const char *now)
{
    Error *err = NULL;

    for (const char *line = before; !err && *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t len = strcspn(line, "\n");
        DEFER(xfree) char *entry = keeps(line, len, now) ? NULL : entry_of(line, len);
        if (entry)
            err = left_entry(compute, entry);
    }
    return err;
}

/* ---- one mailbox ---- */

static Error *acl_before(Compute *compute, const char *name, char **ret_acl)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(compute->sql, SQL_PUBLIC, &get, "t", name);
    if (!err)
        err = sql_row(compute->sql, get, &got);
    if (err || !got)
        return err;
    *ret_acl = xstrdup(sql_column(get, 0));
    sqlite3_reset(get);
    return NULL;
}

static Error *settle(Compute *compute, const char *name, const Object *object)
{
    DEFER(xfree) char *before = NULL, *now = NULL;
    DEFER(xfree) char *key = target_public_key(name), *folder = folder_of(name);

    Error *err = acl_before(compute, name, &before);
    if (!err && object)
        err = acl_lines(object->public_mailbox, &now);
    if (err)
        return err;
    if (now)
        compute_row(compute, ROWS_PUBLIC, (const char *const[]){name, key, folder, now});
    err = compute_settle(compute, ROWS_PUBLIC, name, NULL);
    if (!err && before)
        err = left_find(compute, before, now ? now : "");
    if (err || compute->touched->all)
        return err;
    bool same = before && now ? !compute->groups_send || strcmp(before, now) == 0 : !before && !now;
    return same ? NULL : compute_dependents(compute, 'p', name);
}

Error *public_object(Compute *compute, const Object *object)
{
    return settle(compute, object->name, object);
}

Error *public_named(Compute *compute, const char *name)
{
    DEFER(object_free) Object *object = NULL;

    Error *err = compute_object(compute, MAIL__OBJECT__BODY_PUBLIC_MAILBOX, name, &object);
    return err ? err : settle(compute, name, object);
}

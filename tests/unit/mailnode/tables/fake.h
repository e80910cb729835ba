/* fake.h - for the tests of tables/: a folder, a stated state in memory, and the answers that Postfix would get */
#pragma once
#include "tables/inside.h"
#include "tables/mail_db.h"
#include "tables/queries.h"
#include "tables/target.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/path.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "expect.h"

#define UNUSED __attribute__((unused))

/* ---- a folder ---- */

typedef struct Folder {
    char text[64];
} Folder;

UNUSED static Folder folder_new(void)
{
    Folder folder;

    /* In memory where there is such a place: it is not the disk that is tested. */
    snprintf(folder.text, sizeof folder.text, "%s/unit-tables-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(folder.text));
    return folder;
}

/* ---- what is stated ---- */

typedef struct Stated {
    Object **objects;
    size_t n, room;
    const char *instance;
} Stated;

UNUSED static size_t stated_find(const Stated *stated, Kind kind, const char *name)
{
    for (size_t i = 0; i < stated->n; i++)
        if (stated->objects[i]->body_case == kind &&
            strcmp(stated->objects[i]->name ? stated->objects[i]->name : "", name) == 0)
            return i;
    return SIZE_MAX;
}

UNUSED static void stated_remove(Stated *stated, Kind kind, const char *name)
{
    size_t i = stated_find(stated, kind, name);

    if (i == SIZE_MAX)
        return;
    object_free(&stated->objects[i]);
    stated->objects[i] = stated->objects[--stated->n];
}

UNUSED static Object *stated_put(Stated *stated, Kind kind, const char *name)
{
    stated_remove(stated, kind, name);
    if (stated->n == stated->room) {
        stated->room = stated->room ? stated->room * 2 : 16;
        stated->objects = xrealloc(stated->objects, stated->room * sizeof(Object *));
    }
    return stated->objects[stated->n++] = object_new(kind, "main", *name ? name : NULL);
}

UNUSED static void stated_done(Stated *stated)
{
    while (stated->n)
        object_free(&stated->objects[--stated->n]);
    free(stated->objects);
    stated->objects = NULL;
    stated->room = 0;
}

static char **words_of(const char *list, size_t *ret_n) /* separated by ',' */
{
    char **words = NULL;

    *ret_n = 0;
    for (const char *p = list; p && *p;) {
        size_t len = strcspn(p, ",");
        words = xrealloc(words, (*ret_n + 1) * sizeof *words);
        words[(*ret_n)++] = xstrndup(p, len);
        p += len + (p[len] != '\0');
    }
    return words;
}

UNUSED static void state_domain(Stated *stated, const char *name, bool users, bool groups, const char *catch_all)
{
    Mail__Domain *domain = stated_put(stated, MAIL__OBJECT__BODY_DOMAIN, name)->domain;

    domain->has_user_addresses = domain->has_group_addresses = true;
    domain->user_addresses = users;
    domain->group_addresses = groups;
    if (catch_all)
        domain->catch_all = xstrdup(catch_all);
}

UNUSED static void state_address(Stated *stated, const char *name, const char *to, bool internal)
{
    Mail__Address *address = stated_put(stated, MAIL__OBJECT__BODY_ADDRESS, name)->address;

    address->to = words_of(to, &address->n_to);
    address->has_internal = true;
    address->internal = internal;
}

UNUSED static Mail__Mailbox *state_mailbox(Stated *stated, const char *name, bool enabled, const char *forward,
                                           bool copy)
{
    Mail__Mailbox *mailbox = stated_put(stated, MAIL__OBJECT__BODY_MAILBOX, name)->mailbox;

    mailbox->has_enabled = mailbox->has_keep_copy = true;
    mailbox->enabled = enabled;
    mailbox->keep_copy = copy;
    mailbox->forward = words_of(forward, &mailbox->n_forward);
    return mailbox;
}

UNUSED static void state_public(Stated *stated, const char *name, const char *acl)
{
    Mail__PublicMailbox *mailbox = stated_put(stated, MAIL__OBJECT__BODY_PUBLIC_MAILBOX, name)->public_mailbox;

    mailbox->acl = words_of(acl, &mailbox->n_acl);
}

UNUSED static Mail__Policy *state_policy(Stated *stated, Mail__SenderLoginMatch match, const char *exempt)
{
    Mail__Policy *policy = stated_put(stated, MAIL__OBJECT__BODY_POLICY, "")->policy;

    policy->has_sender_login_match = true;
    policy->sender_login_match = match;
    policy->sender_login_exempt = words_of(exempt, &policy->n_sender_login_exempt);
    return policy;
}

static Error *fake_get(void *self, const ObjectRef *ref, Object **ret_object)
{
    Stated *stated = self;
    size_t i = stated_find(stated, ref->kind, ref->name ? ref->name : "");

    *ret_object = i == SIZE_MAX ? NULL : object_clone(stated->objects[i]);
    return NULL;
}

static Error *fake_each(void *self, Kind kind, const char *instance, const char *name,
                        Error *(*each)(void *context, const Object *object), void *context)
{
    Stated *stated = self;
    Error *err = NULL;

    (void)instance;
    for (size_t i = 0; !err && i < stated->n; i++)
        if (stated->objects[i]->body_case == kind && (!name || strcmp(stated->objects[i]->name, name) == 0))
            err = each(context, stated->objects[i]);
    return err;
}

UNUSED static TablesView fake_view(Stated *stated)
{
    return (TablesView){
        .self = stated,
        .instance = stated->instance,
        .objects = {.self = stated, .get = fake_get, .each = fake_each},
    };
}

/* ---- what Postfix would be told ---- */

static void quoted(Buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf_printf(out, text[i] == '\'' ? "''" : "%c", text[i]);
}

/* The rows' first column, separated by ','; NULL: none.  Owned by the caller. */
UNUSED static char *ask(sqlite3 *db, const char *query, const char *key)
{
    const char *at = strrchr(key, '@'), *domain = at ? at + 1 : "";
    size_t local = at ? (size_t)(at - key) : strlen(key);
    DEFER(buf_done) Buf sql = {0}, answer = {0};
    sqlite3_stmt *get;

    if (!at && strstr(query, "%d"))
        return NULL;
    for (const char *p = query; *p; p++) {
        if (*p == '%' && (p[1] == 's' || p[1] == 'L'))
            quoted(&sql, key, strlen(key));
        else if (*p == '%' && p[1] == 'u')
            quoted(&sql, key, local);
        else if (*p == '%' && p[1] == 'd')
            quoted(&sql, domain, strlen(domain));
        else
            buf_append(&sql, p, 1);
        p += *p == '%' ? p[1] == 'L' ? 2 : 1 : 0;
    }
    if (sqlite3_prepare_v2(db, buf_text(&sql), -1, &get, NULL) != SQLITE_OK)
        fail_msg("%s: %s", buf_text(&sql), sqlite3_errmsg(db));
    while (sqlite3_step(get) == SQLITE_ROW)
        if (sqlite3_column_text(get, 0) && *sqlite3_column_text(get, 0))
            buf_printf(&answer, "%s%s", answer.size ? "," : "", (const char *)sqlite3_column_text(get, 0));
    sqlite3_finalize(get);
    return answer.size ? xstrdup(buf_text(&answer)) : NULL;
}

/* With its tag, and without. */
static char *ask_probes(sqlite3 *db, const char *query, const char *recipient)
{
    char *answer = ask(db, query, recipient);
    const char *at = strrchr(recipient, '@'), *tag = strchr(recipient, '+');

    if (!answer && tag && tag < at && tag != recipient) {
        char *base = xasprintf("%.*s%s", (int)(tag - recipient), recipient, at);
        answer = ask(db, query, base);
        free(base);
    }
    return answer;
}

static char *ask_alias(sqlite3 *db, const char *address)
{
    const char *domain = strrchr(address, '@');
    char *in_alias = ask(db, QUERY_ALIAS_DOMAINS, domain + 1);
    char *answer = in_alias ? ask_probes(db, QUERY_ALIAS, address) : NULL;

    free(in_alias);
    if (!answer && strcmp(domain + 1, EXPAND_DOMAIN) == 0)
        answer = ask_probes(db, QUERY_EXPAND, address);
    return answer ? answer : ask(db, QUERY_CATCHALL, domain);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, separated by ' '.  Owned by the caller. */
UNUSED static char *boxes_of(sqlite3 *db, const char *recipient)
{
    Names met = {0};
    char **boxes = NULL;
    size_t n = 0, n_words;
    Buf text = {0};

    names_add(&met, recipient);
    for (const Name *name = met.first; name; name = name->hh.next) {
        char *answer = ask_alias(db, name->text);
        char **words = words_of(answer, &n_words);
        if (!answer) {
            boxes = xrealloc(boxes, (n + 1) * sizeof *boxes);
            boxes[n++] = xstrdup(name->text);
        }
        for (size_t i = 0; i < n_words; i++) {
            names_add(&met, words[i]);
            free(words[i]);
        }
        free(words);
        free(answer);
    }
    if (boxes)
        qsort(boxes, n, sizeof *boxes, by_text);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&text, "%s%s", i ? " " : "", boxes[i]);
        free(boxes[i]);
    }
    free(boxes);
    names_done(&met);
    char *joined = xstrdup(buf_text(&text));
    buf_done(&text);
    return joined;
}

/* What RCPT says to a stranger: a reply, or where it ends. */
UNUSED static char *fate(sqlite3 *db, const char *recipient)
{
    char *answer = ask_probes(db, QUERY_GATE, recipient);

    if (answer)
        return answer;
    answer = ask_probes(db, QUERY_OURS, recipient);
    if (!answer)
        return xstrdup("554 relay");
    free(answer);
    answer = ask_probes(db, QUERY_KNOWN, recipient);
    if (!answer)
        answer = ask_probes(db, QUERY_REST, recipient);
    if (answer && strcmp(answer, "OK") == 0) {
        free(answer);
        return boxes_of(db, recipient);
    }
    return answer;
}

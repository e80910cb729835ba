#include "tasks/restore_mail.h"

#include "base/alloc.h"
#include "base/path.h"
#include "engine/child.h"
#include "tables/places.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOVEADM_MS = 120000, EXIT_NO_USER = 67 /* of doveadm(1) */ };

static const char doveadm[] = "/usr/bin/doveadm";

/* ---- one run ---- */

static void doveadm_of(Argv *argv, const char *root)
{
    Path conf = path_in(root, "%s/dovecot/dovecot.conf", &PLACE_CURRENT[3]);

    argv_add(argv, "%s", doveadm);
    argv_add(argv, "-c");
    argv_add(argv, "%s", conf.text);
    argv_add(argv, "-f");
    argv_add(argv, "tab");
}

/* Started as root it reads its configuration, and becomes vmail before it looks at mail. */
static Error *run(const Argv *argv, const char *const *env, Child **ret_child)
{
    const ChildSpec spec = {.argv = (const char *const *)argv->items, .env = env, .deadline_ms = DOVEADM_MS};

    Error *err = child_start(&spec, ret_child);
    while (!err && !child_run(*ret_child, clock_ms())) {
        Waiter wake = waiter_start();
        child_wait(*ret_child, &wake);
        waiter_block(&wake);
    }
    if (!err && !child_succeeded(*ret_child)) {
        const char *words = child_words(*ret_child);
        err = child_exit(*ret_child) == EXIT_NO_USER
                  ? error_new(ERROR_NOT_FOUND, "there is no such user")
                  : error_new(ERROR_UNAVAILABLE, "%s", *words ? words : "doveadm did not answer in time");
    }
    return err;
}

/* To open INBOX makes the Maildir where there is none. */
Error *mail_user_there(const char *root, const char *user)
{
    DEFER(argv_done) Argv argv = {0};
    DEFER(child_free) Child *child = NULL;

    doveadm_of(&argv, root);
    argv_add(&argv, "mailbox");
    argv_add(&argv, "status");
    argv_add(&argv, "-u");
    argv_add(&argv, "%s", user);
    argv_add(&argv, "messages");
    argv_add(&argv, "INBOX");
    return error_in(run(&argv, NULL, &child), "mailbox of %s", user);
}

/* ---- what arrived ---- */

/* For nobody in particular, and no rights are asked: perhaps no user may read it. */
static void in_public(Argv *argv, const Family *family)
{
    argv_add(argv, "-o");
    argv_add(argv, "mail_plugins=");
    argv_add(argv, "mailbox");
    argv_add(argv, "status");
    argv_add(argv, "-t");
    argv_add(argv, "messages");
    argv_add(argv, "Public/%s/Restored folder/*", family->mailbox);
}

static void in_own(Argv *argv, const Family *family)
{
    argv_add(argv, "mailbox");
    argv_add(argv, "status");
    argv_add(argv, "-u");
    argv_add(argv, "%s", family->user);
    argv_add(argv, "-t");
    argv_add(argv, "messages");
    argv_add(argv, "Restored folder/*");
}

/* A heading, then the sum. */
static Error *sum_read(const char *words, uint64_t *ret_sum)
{
    const char *line = strrchr(words, '\n');
    char *end = NULL;

    *ret_sum = line ? strtoull(line + 1, &end, 10) : 0;
    if (!line || end == line + 1 || *end)
        return error_new(ERROR_DAMAGED, "doveadm says '%s'", words);
    return NULL;
}

Error *mail_restored(const char *root, const Family *family, uint64_t *ret_messages)
{
    static const char *const env[] = {"USER=vmail", "HOME=/nonexistent", NULL};
    DEFER(argv_done) Argv argv = {0};
    DEFER(child_free) Child *child = NULL;

    doveadm_of(&argv, root);
    if (family->user)
        in_own(&argv, family);
    else
        in_public(&argv, family);
    Error *err = run(&argv, family->user ? NULL : env, &child);
    if (!err)
        err = sum_read(child_words(child), ret_messages);
    return error_in(err, "reading it back");
}

/* ---- quota ---- */

static Error *quota(const char *root, const char *user, const char *verb, Child **ret_child)
{
    DEFER(argv_done) Argv argv = {0};

    doveadm_of(&argv, root);
    argv_add(&argv, "quota");
    argv_add(&argv, "%s", verb);
    argv_add(&argv, "-u");
    argv_add(&argv, "%s", user);
    return run(&argv, NULL, ret_child);
}

/* "User quota", "STORAGE", used and limit in KiB; "-" is no limit. */
static bool is_over(const char *line)
{
    char kind[16] = "", used[24] = "", limit[24] = "";
    const char *tab = strchr(line, '\t');

    if (!tab || sscanf(tab + 1, "%15[^\t]\t%23[^\t]\t%23[^\t]", kind, used, limit) != 3 || strcmp(limit, "-") == 0)
        return false;
    return strtoull(used, NULL, 10) > strtoull(limit, NULL, 10);
}

Error *mail_over_quota(const char *root, const char *user, bool *ret_over)
{
    DEFER(child_free) Child *counted = NULL, *asked = NULL;

    Error *err = quota(root, user, "recalc", &counted);
    if (!err)
        err = quota(root, user, "get", &asked);
    if (err)
        return error_in(err, "quota of %s", user);
    *ret_over = false;
    for (const char *line = child_words(asked); line && *line; line = strchr(line, '\n'), line += line != NULL)
        *ret_over = *ret_over || is_over(line);
    return NULL;
}

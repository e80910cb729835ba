#include "engine/made.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/path.h"
#include "engine/child.h"
#include "engine/publish.h"
#include "tables/places.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
    LOOK_MS = 1000,
    AGAIN_MS = 30000, /* where the last look brought nothing new: nobody takes them */
    DEADLINE_MS = 10000,
    UNNAMED_MAX = 20, /* nobody takes those away: they leave the others their room */
    UNNAMED_BYTES = UNNAMED_MAX * (NAME_MAX + 2),
    TOLD_BYTES_MAX = CHILD_OUTPUT_MAX - UNNAMED_BYTES - 1024, /* a list of rights fits into it */
};

struct Made {
    Path mail_db, public;
    Happened *happened;
    Child *child;
    Msec look_at;
    struct timespec seen; /* of the folder's last change before the last look */
    bool again;           /* somebody may be at one */
    Msec again_at;        /* some are not stated yet, or there was trouble; 0: neither */
    char *trouble, *unnamed;
    char *words; /* of the last child that went well */
    Mail__PublicMade **list;
    size_t n;
};

Made *made_new(const char *root, Happened *happened)
{
    Made *made = xcalloc(1, sizeof *made);

    made->mail_db = path_in(root, "%s/mail.db", &PLACE_TABLES[3]);
    made->public = path_in(root, "%s", &PLACE_PUBLIC[3]);
    made->happened = happened;
    return made;
}

static void list_clear(Made *made)
{
    while (made->n)
        mail__public_made__free_unpacked(made->list[--made->n], NULL);
    xfree(&made->list);
}

void made_free(Made **made)
{
    if (!*made)
        return;
    child_free(&(*made)->child);
    list_clear(*made);
    free((*made)->trouble);
    free((*made)->unnamed);
    free((*made)->words);
    xfree(made);
}

/* ---- the child: "+NAME" with " ENTRY" for each of its rights, "!FOLDER", "?": look again ---- */

typedef struct Telling {
    size_t n, bytes, n_unnamed;
} Telling;

static void tell_unnamed(Telling *telling, const char *folder)
{
    if (telling->n_unnamed++ < UNNAMED_MAX)
        printf("!%s\n", folder);
}

static void tell(void *context, const char *folder, const char *name, char *const *acl, size_t n_acl)
{
    Telling *telling = context;

    if (!name) {
        tell_unnamed(telling, folder);
        return;
    }
    size_t bytes = strlen(name) + 2;
    for (size_t i = 0; i < n_acl; i++)
        bytes += strlen(acl[i]) + 2;
    if (telling->n == MADE_MAX || telling->bytes + bytes > TOLD_BYTES_MAX)
        return; /* when those before it are stated */
    telling->n++;
    telling->bytes += bytes;
    printf("+%s\n", name);
    for (size_t i = 0; i < n_acl; i++)
        printf(" %s\n", acl[i]);
}

static int look_in_child(void *context)
{
    const Made *made = context;
    Telling telling = {0};
    bool again = false;

    Error *err = publish(made->mail_db.text, made->public.text);
    if (!err)
        err = made_look(made->public.text, (uint64_t)time(NULL), tell, &telling, &again);
    if (err || again)
        printf("%s\n", err ? err->what : "?");
    int status = err ? 1 : 0;
    error_free(&err);
    return fflush(stdout) == 0 ? status : 1;
}

/* ---- what it says ---- */

static void made_add(Made *made, const char *name)
{
    Mail__PublicMade *one = xmalloc(sizeof *one);

    mail__public_made__init(one);
    one->name = xstrdup(name);
    made->list = xrealloc(made->list, (made->n + 1) * sizeof(Mail__PublicMade *));
    made->list[made->n++] = one;
}

static void entry_add(Mail__PublicMade *one, const char *entry)
{
    one->acl = xrealloc(one->acl, (one->n_acl + 1) * sizeof *one->acl);
    one->acl[one->n_acl++] = xstrdup(entry);
}

static void words_take(Made *made, const char *words)
{
    DEFER(xfree) char *text = xstrdup(words);
    DEFER(buf_done) Buf unnamed = {0};

    list_clear(made);
    for (char *line = text, *next = NULL; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        if (*line == '+')
            made_add(made, line + 1);
        else if (*line == ' ' && made->n)
            entry_add(made->list[made->n - 1], line + 1);
        else if (*line == '!')
            buf_printf(&unnamed, "%s%s", unnamed.size ? ", " : "", line + 1);
        else if (*line == '?')
            made->again = true;
    }
    if (unnamed.size && (!made->unnamed || strcmp(made->unnamed, buf_text(&unnamed)) != 0))
        happened_add(made->happened, MAIL__FACT_STATE__DEGRADED, "public folders without a name",
                     "made by IMAP, and mailctl has no such names: %s", buf_text(&unnamed));
    free(made->unnamed);
    made->unnamed = xstrdup(buf_text(&unnamed));
}

/* True: they are other words than those that are kept; kept are these. */
static bool is_news(char **kept, const char *words)
{
    if (*kept && strcmp(*kept, words) == 0)
        return false;
    free(*kept);
    *kept = xstrdup(words);
    return true;
}

/* Takes err. */
static void failed(Made *made, Error *err, Msec now)
{
    bool news = is_news(&made->trouble, err->what);

    if (news)
        log_warning("public mailboxes not looked through, trying again", kv("why", err->what));
    made->again_at = now + (news ? LOOK_MS : AGAIN_MS);
    error_free(&err);
}

static void child_ended(Made *made, Msec now)
{
    DEFER(child_free) Child *child = made->child;
    const char *words = child_words(child);

    made->child = NULL;
    if (!child_succeeded(child)) {
        failed(made, error_new(ERROR_UNAVAILABLE, "%s", *words ? words : "no answer in time"), now);
        return;
    }
    xfree(&made->trouble);
    bool news = is_news(&made->words, words);
    words_take(made, words);
    made->again_at = !made->n ? 0 : now + (news ? LOOK_MS : AGAIN_MS);
}

/* ---- when ---- */

/* The folder changes with each that comes, goes or gets another name; in its last second more may be to come. */
static bool has_changed(Made *made, Msec now)
{
    struct stat st;

    if (stat(made->public.text, &st) != 0)
        return false;
    bool news = made->again || (made->again_at && now >= made->again_at) || st.st_mtim.tv_sec != made->seen.tv_sec ||
                st.st_mtim.tv_nsec != made->seen.tv_nsec;
    made->seen = st.st_mtim;
    made->again = labs((long)(time(NULL) - st.st_mtim.tv_sec)) < 3;
    return news;
}

void made_run(Made *made, const NodeState *state, Msec now)
{
    const ChildSpec spec = {.user = "vmail", .deadline_ms = DEADLINE_MS};

    if (made->child && child_run(made->child, now))
        child_ended(made, now);
    if (made->child || now < made->look_at)
        return;
    made->look_at = now + LOOK_MS;
    if (!state || !state->instance_name)
        list_clear(made);
    else if (has_changed(made, now)) {
        Error *err = child_fork(&spec, look_in_child, made, &made->child);
        if (err)
            failed(made, err, now);
    }
}

void made_again(Made *made)
{
    made->again = true;
}

void made_wait(const Made *made, Waiter *wake)
{
    if (made->child)
        child_wait(made->child, wake);
    else
        waiter_at(wake, made->look_at);
}

Mail__PublicMade *const *made_list(const Made *made, size_t *ret_n)
{
    *ret_n = made->n;
    return made->list;
}

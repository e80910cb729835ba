/* What the node of an instance knows: mailboxes with their state and usage, and who may send as whom. */
#include "tables.h"

#include "base/alloc.h"
#include "model/amount.h"
#include "model/name.h"
#include "model/shown.h"

#include <stdlib.h>
#include <string.h>

Error *tables_ask(Cli *cli, Mail__TablesRead *read, EachRows *each, void *context)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Call call;

    read->instance = (char *)(uintptr_t)cli_instance(cli);
    read->has_question = true;
    envelope.body_case = MAIL__ENVELOPE__BODY_TABLES_READ;
    envelope.tables_read = read;
    Error *err = call_begin(cli, &envelope, false, &call);
    while (!err && !call.ended) {
        DEFER(envelope_free) Envelope *said = NULL;
        err = call_next(&call, &said);
        if (err || !said || said->body_case != MAIL__ENVELOPE__BODY_TABLES_ROWS)
            continue;
        err = each(context, said->tables_rows);
        if (!err)
            err = cli_flush(cli); /* a reader that has gone ends it here */
    }
    return err;
}

static Error *paging_take(Cli *cli, const Line *line, Mail__TablesRead *read)
{
    uint64_t limit = 0;

    read->after = (char *)(uintptr_t)line->given[FLAG_AFTER];
    read->prefix = (char *)(uintptr_t)line->given[FLAG_FILTER];
    if (!line_has(line, FLAG_LIMIT))
        return NULL;
    Error *err = number_parse(line->given[FLAG_LIMIT], &limit);
    if (err || limit == 0 || limit > UINT32_MAX) {
        error_free(&err);
        return cli_usage(cli, "--limit: write a number of at least 1");
    }
    read->has_limit = true;
    read->limit = (uint32_t)limit;
    return NULL;
}

/* ---- mailboxes ---- */

static const char *const state_words[] = {
    [MAIL__MAILBOX_STATE__MAILBOX_ENABLED] = "enabled",
    [MAIL__MAILBOX_STATE__MAILBOX_DISABLED] = "disabled",
    [MAIL__MAILBOX_STATE__MAILBOX_ORPHAN] = "orphan",
};
enum { N_STATES = sizeof state_words / sizeof *state_words };

static const char *state_word(const Mail__MailboxIs *is)
{
    return is->has_state && (unsigned)is->state < N_STATES ? state_words[is->state] : "?";
}

static Error *state_take(Cli *cli, const Line *line, Mail__TablesRead *read)
{
    const char *word = line->given[FLAG_STATE];

    for (size_t i = 0; word && i < N_STATES; i++)
        if (strcmp(word, state_words[i]) == 0) {
            read->has_state = true;
            read->state = (Mail__MailboxState)i;
            return NULL;
        }
    return word ? cli_usage(cli, "--state: write enabled, disabled or orphan") : NULL;
}

/* "734 B", "12.4 MB": powers of 1000, as quotas are written. */
static char *bytes_text(uint64_t bytes)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    int unit = -1;

    while (value >= 999.95) {
        value /= 1000;
        unit++;
    }
    return unit < 0 ? xasprintf("%llu B", (unsigned long long)bytes) : xasprintf("%.1f %s", value, units[unit]);
}

static char *quota_text(const Mail__MailboxIs *is)
{
    if (!is->has_quota)
        return xstrdup("?");
    DEFER(xfree) char *amount = is->quota ? amount_text(MAIL__FIELD_TYPE__SIZE, is->quota) : xstrdup("unlimited");
    return xasprintf("%s%s", amount, is->own_quota ? "" : " (default)");
}

static json_t *mailbox_json(const Mail__MailboxIs *is)
{
    json_t *item = json_object();

    json_put_text(item, "name", is->name);
    json_put_text(item, "full_name", is->full_name);
    json_put_text(item, "state", state_word(is));
    json_object_set_new(item, "locked", json_boolean(is->locked));
    if (is->has_quota)
        json_put_number(item, "quota_bytes", is->quota);
    json_object_set_new(item, "own_quota", json_boolean(is->own_quota));
    json_object_set_new(item, "used_bytes", is->has_bytes ? json_integer((json_int_t)is->bytes) : json_null());
    json_object_set_new(item, "messages", is->has_messages ? json_integer((json_int_t)is->messages) : json_null());
    return item;
}

typedef struct Mailboxes {
    Cli *cli;
    Table *table;
    json_t *items;
    char *trouble;
} Mailboxes;

static void mailbox_row(Table *table, const Mail__MailboxIs *is, bool readable)
{
    DEFER(xfree) char *quota = quota_text(is);
    DEFER(xfree) char *used = is->has_bytes ? bytes_text(is->bytes) : xstrdup(readable ? "-" : "unreadable");
    DEFER(xfree)
    char *messages =
        is->has_messages ? xasprintf("%llu", (unsigned long long)is->messages) : xstrdup(readable ? "-" : "unreadable");
    DEFER(xfree) char *state = xasprintf("%s%s", state_word(is), is->locked ? ", locked" : "");

    table_cell(table, is->name);
    table_cell(table, is->full_name);
    table_cell(table, state);
    table_cell(table, used);
    table_cell(table, quota);
    table_cell(table, messages);
    table_row(table);
}

static Error *mailboxes_take(void *context, const Mail__TablesRows *rows)
{
    Mailboxes *to = context;

    if (rows->trouble && !to->trouble)
        to->trouble = xstrdup(rows->trouble);
    for (size_t i = 0; i < rows->n_mailboxes; i++) {
        const Mail__MailboxIs *is = rows->mailboxes[i];
        if (to->items) {
            json_array_append_new(to->items, mailbox_json(is));
        } else if (to->table) {
            mailbox_row(to->table, is, !rows->trouble);
        } else {
            print_text(to->cli->out, is->name ? is->name : "");
            fputc('\n', to->cli->out);
        }
    }
    return NULL;
}

static void trouble_say(const char *trouble)
{
    if (!trouble)
        return;
    fputs("note: how much is in them cannot be read: ", stderr);
    print_text(stderr, trouble);
    fputc('\n', stderr);
}

Error *run_mailbox_list(Cli *cli, const Line *line, int *ret_exit)
{
    static const char *const headings[] = {"NAME", "FULL NAME", "STATE", "USED", "QUOTA", "MESSAGES"};
    Mail__TablesRead read = MAIL__TABLES_READ__INIT;
    Mailboxes to = {.cli = cli};

    (void)ret_exit;
    Error *err = paging_take(cli, line, &read);
    if (!err)
        err = state_take(cli, line, &read);
    if (err)
        return err;
    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML)
        to.items = json_array();
    else if (cli->form == OUTPUT_TABLE)
        to.table = table_new(cli->out, headings, sizeof headings / sizeof *headings);
    read.question = MAIL__TABLES_QUESTION__MAILBOXES;
    err = tables_ask(cli, &read, mailboxes_take, &to);
    table_end(&to.table);
    if (to.items && !err) {
        json_t *document = json_object();
        json_put_number(document, "version", 1);
        json_object_set_new(document, "items", to.items);
        print_document(cli->out, cli->form, &document);
    } else {
        json_decref(to.items);
    }
    trouble_say(to.trouble);
    free(to.trouble);
    return err;
}

static void fact_print(FILE *out, const char *left, const char *text)
{
    DEFER(xfree) char *shown_text = escaped(text && *text ? text : "-");

    fprintf(out, "  %-21s %s\n", left, shown_text);
}

static Error *facts_take(void *context, const Mail__TablesRows *rows)
{
    Mailboxes *to = context;

    for (size_t i = 0; i < rows->n_mailboxes; i++) {
        const Mail__MailboxIs *is = rows->mailboxes[i];
        DEFER(xfree) char *quota = quota_text(is);
        DEFER(xfree) char *bytes = is->has_bytes ? bytes_text(is->bytes) : NULL;
        DEFER(xfree)
        char *used = bytes ? xasprintf("%s in %llu messages", bytes, (unsigned long long)is->messages)
                           : xstrdup(rows->trouble ? "unreadable" : "-");
        fputs("now:\n", to->cli->out);
        fact_print(to->cli->out, "state", state_word(is));
        fact_print(to->cli->out, "login", is->locked ? "locked in the directory" : "open in the directory");
        fact_print(to->cli->out, "quota-in-force", quota);
        fact_print(to->cli->out, "used", used);
    }
    return NULL;
}

/* What is stated, from the controller, and what is so, from the node: if that is away, what is stated alone. */
Error *run_mailbox_show(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__TablesRead read = MAIL__TABLES_READ__INIT;
    Mailboxes to = {.cli = cli};
    DEFER(xfree) char *name = NULL;

    Error *err = run_show(cli, line, ret_exit);
    if (!err && cli->form == OUTPUT_TABLE)
        err = text_normalise(MAIL__FIELD_TYPE__ACCOUNT, line->key, &name);
    if (err || !name)
        return err;
    read.question = MAIL__TABLES_QUESTION__MAILBOXES;
    read.name = name;
    err = tables_ask(cli, &read, facts_take, &to);
    if (err) {
        fputs("note: not known how it stands: ", stderr);
        print_text(stderr, err->what);
        fputc('\n', stderr);
        error_free(&err);
        cli->exit = 0;
    }
    return NULL;
}

/* ---- senders ---- */

typedef struct Senders {
    Cli *cli;
    json_t *items;
    char *any, *none;
    size_t n;
} Senders;

static Error *senders_take(void *context, const Mail__TablesRows *rows)
{
    Senders *to = context;

    if (rows->any && !to->any)
        to->any = xstrdup(rows->any);
    if (rows->none && !to->none)
        to->none = xstrdup(rows->none);
    for (size_t i = 0; i < rows->n_senders; i++, to->n++) {
        if (to->items) {
            json_array_append_new(to->items, json_text(rows->senders[i]));
            continue;
        }
        print_text(to->cli->out, rows->senders[i]);
        fputc('\n', to->cli->out);
    }
    return NULL;
}

static void senders_end(Senders *to, const char *name)
{
    if (to->items) {
        json_t *document = json_object();
        json_put_number(document, "version", 1);
        json_put_text(document, "user", name);
        json_put_text(document, "any", to->any);
        json_put_text(document, "none", to->none);
        json_object_set_new(document, "items", to->items);
        print_document(to->cli->out, to->cli->form, &document);
        return;
    }
    if (to->any && to->cli->form == OUTPUT_TABLE) {
        fputs("any\n", to->cli->out);
        fprintf(stderr, "note: any sender is accepted: %s\n", to->any);
    }
    if (to->none)
        fprintf(stderr, "note: no sender is accepted: %s\n", to->none);
}

Error *run_user_senders(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__TablesRead read = MAIL__TABLES_READ__INIT;
    Senders to = {.cli = cli};
    DEFER(xfree) char *name = NULL, *seen = shown(line->key);

    (void)ret_exit;
    Error *err = error_in(text_normalise(MAIL__FIELD_TYPE__ACCOUNT, line->key, &name), "user '%s'", seen);
    if (!err)
        err = paging_take(cli, line, &read);
    if (err)
        return err;
    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML)
        to.items = json_array();
    read.question = MAIL__TABLES_QUESTION__SENDERS;
    read.name = name;
    err = tables_ask(cli, &read, senders_take, &to);
    if (err)
        json_decref(to.items);
    else
        senders_end(&to, name);
    free(to.any);
    free(to.none);
    return err;
}

/* ---- orphans ---- */

struct Orphans {
    json_t *missing; /* address -> "user:dave,group:x" */
};

static Error *orphans_take(void *context, const Mail__TablesRows *rows)
{
    Orphans *orphans = context;

    for (size_t i = 0; i < rows->n_orphans; i++) {
        const Mail__OrphanIs *is = rows->orphans[i];
        for (size_t k = 0; is->address && k < is->n_missing; k++) {
            const char *before = json_string_value(json_object_get(orphans->missing, is->address));
            DEFER(xfree) char *all = xasprintf("%s%s%s", before ? before : "", before ? "," : "", is->missing[k]);
            json_object_set_new(orphans->missing, is->address, json_text(all));
        }
    }
    return NULL;
}

Orphans *orphans_ask(Cli *cli, const char *prefix, const char *after)
{
    Mail__TablesRead read = MAIL__TABLES_READ__INIT;
    Orphans *orphans = xcalloc(1, sizeof *orphans);
    int exit = cli->exit;

    orphans->missing = json_object();
    read.question = MAIL__TABLES_QUESTION__ORPHANS;
    read.prefix = (char *)(uintptr_t)prefix;
    read.after = (char *)(uintptr_t)after;
    Error *err = tables_ask(cli, &read, orphans_take, orphans);
    if (err)
        cli->exit = exit;
    error_free(&err);
    return orphans;
}

void orphans_free(Orphans **orphans)
{
    if (!*orphans)
        return;
    json_decref((*orphans)->missing);
    free(*orphans);
    *orphans = NULL;
}

bool orphans_any(const Orphans *orphans)
{
    return orphans && json_object_size(orphans->missing) > 0;
}

char *orphans_of(const Orphans *orphans, const char *address)
{
    const char *missing = orphans ? json_string_value(json_object_get(orphans->missing, address)) : NULL;

    return missing ? xstrdup(missing) : NULL;
}

/* trace from= to=: what went between a sender and a recipient, and what was refused (SPEC F-002). */
#include "trace.h"

#include "base/alloc.h"
#include "model/name.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    WINDOW_S = 24 * 3600,
    SHOWN = 200, /* without --limit */
};

typedef struct Row {
    const char *node; /* of the status, which outlives it */
    size_t index;     /* as told */
    const Mail__TraceFound *found;
} Row;

typedef struct Search {
    Asking asking;
    Row *rows;
    size_t n_rows, room;
    uint64_t limit;
} Search;

static void search_done(Search *search)
{
    asking_done(&search->asking);
    free(search->rows);
}

static void found_take(void *context, const char *node, const Mail__TraceRows *rows)
{
    Search *search = context;

    for (size_t i = 0; i < rows->n_found; i++) {
        if (search->n_rows == search->room) {
            search->room = search->room ? 2 * search->room : 64;
            search->rows = xrealloc(search->rows, search->room * sizeof *search->rows);
        }
        search->rows[search->n_rows] = (Row){node, search->n_rows, rows->found[i]};
        search->n_rows++;
    }
}

static int by_time(const void *one, const void *other)
{
    const Row *a = one, *b = other;

    if (a->found->time != b->found->time)
        return a->found->time < b->found->time ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* ---- what is asked for ---- */

static Error *address_take(const Mail__FieldEdit *edit, bool null_too, char **ret_address)
{
    Error *err = error_in(sought_address_check(edit->value ? edit->value : "", null_too), "%s", edit->field);

    *ret_address = edit->value;
    return err;
}

static Error *field_take(Cli *cli, const Mail__FieldEdit *edit, Mail__TraceRead *read)
{
    bool last = strcmp(edit->field, "until") == 0;
    uint64_t when = 0;

    if (edit->op == MAIL__EDIT_OP__APPEND || edit->op == MAIL__EDIT_OP__TAKE)
        return cli_usage(cli, "%s is no list", edit->field);
    if (strcmp(edit->field, "from") == 0)
        return address_take(edit, true, &read->from);
    if (strcmp(edit->field, "to") == 0)
        return address_take(edit, false, &read->to);
    Error *err = error_in(moment_parse(edit->value ? edit->value : "", last, &when), "%s", edit->field);
    if (last)
        read->has_until = true, read->until = when;
    else
        read->has_since = true, read->since = when;
    return err;
}

/* Without since= the last day up to until=, or now. */
static Error *wish_take(Cli *cli, const Line *line, Search *search)
{
    Mail__TraceRead *read = &search->asking.read;
    Error *err = NULL;

    for (size_t i = 0; !err && i < line->n_fields; i++) {
        for (size_t k = 0; !err && k < i; k++)
            if (strcmp(line->fields[i].field, line->fields[k].field) == 0)
                err = cli_usage(cli, "%s is there twice", line->fields[i].field);
        if (!err)
            err = field_take(cli, &line->fields[i], read);
    }
    if (err)
        return err;
    if (!read->from && !read->to)
        return error_hint(cli_usage(cli, "nothing to look for"),
                          "mailctl trace ID, or mailctl trace from=a@example.org to=@example.net since=2h");
    if (!read->has_until)
        read->until = (uint64_t)time(NULL);
    if (!read->has_since)
        read->since = read->until > WINDOW_S ? read->until - WINDOW_S : 0;
    read->has_since = read->has_until = true;
    if (read->since > read->until)
        return error_new(ERROR_INVALID, "since %s is later than until %s", time_text(read->since).text,
                         time_text(read->until).text);
    search->limit = SHOWN;
    if (!line_has(line, FLAG_LIMIT))
        return NULL;
    err = error_in(number_parse(line->given[FLAG_LIMIT], &search->limit), "--limit");
    if (!err && !search->limit)
        err = error_new(ERROR_INVALID, "--limit: at least 1");
    return err;
}

/* ---- output ---- */

static void rows_table(const Search *search, const Row *rows, size_t n)
{
    static const char *const headings[] = {"TIME", "NODE", "RESULT", "TRIES", "QUEUE-ID", "FROM", "TO", "TEXT"};
    Table *table = table_new(search->asking.cli->out, headings, sizeof headings / sizeof *headings);

    for (size_t i = 0; i < n; i++) {
        const Mail__TraceFound *found = rows[i].found;
        DEFER(xfree) char *tries = found->tries ? xasprintf("%llu", (unsigned long long)found->tries) : NULL;
        DEFER(xfree)
        char *to = found->orig_to && found->to ? xasprintf("%s (%s)", found->orig_to, found->to) : NULL;
        table_cell(table, time_text(found->time).text);
        table_cell(table, rows[i].node);
        table_cell(table, found->result);
        table_cell(table, tries);
        table_cell(table, found->queue_id);
        table_cell(table, found->from && !*found->from ? "<>" : found->from);
        table_cell(table, to ? to : found->to);
        table_cell(table, found->text);
        table_row(table);
    }
    table_end(&table);
}

static void rows_document(const Search *search, const Row *rows, size_t n, bool more)
{
    json_t *document = json_object(), *items = json_array();

    for (size_t i = 0; i < n; i++) {
        const Mail__TraceFound *found = rows[i].found;
        json_t *item = json_object();
        json_put_number(item, "time", found->time);
        json_put_text(item, "node", rows[i].node);
        json_put_text(item, "result", found->result);
        json_put_number(item, "tries", found->tries);
        json_put_text(item, "queue_id", found->queue_id);
        json_put_text(item, "from", found->from);
        json_put_text(item, "to", found->to);
        json_put_text(item, "orig_to", found->orig_to);
        json_put_text(item, "text", found->text);
        json_array_append_new(items, item);
    }
    json_put_number(document, "version", 1);
    json_put_number(document, "since", search->asking.read.since);
    json_put_number(document, "until", search->asking.read.until);
    json_object_set_new(document, "items", items);
    json_object_set(document, "away", search->asking.away);
    json_object_set_new(document, "more", json_boolean(more));
    print_document(search->asking.cli->out, search->asking.cli->form, &document);
}

static Error *rows_say(Search *search)
{
    const Mail__TraceRead *read = &search->asking.read;
    size_t n = search->n_rows < search->limit ? search->n_rows : (size_t)search->limit;
    const Row *rows = search->rows + search->n_rows - n; /* the newest */
    bool more = search->asking.more || n < search->n_rows;

    fprintf(stderr, "from %s to %s\n", time_text(read->since).text, time_text(read->until).text);
    if (!search->n_rows)
        return error_hint(error_new(ERROR_NOT_FOUND, "nothing of it in the logs of that time"),
                          "the last day is searched, unless since= and until= say another time");
    if (search->asking.cli->form == OUTPUT_TABLE)
        rows_table(search, rows, n);
    else
        rows_document(search, rows, n, more);
    if (more)
        fprintf(stderr, "there is more before these %zu: narrow it by from=, to=, since= or until=\n", n);
    return NULL;
}

Error *run_trace_search(Cli *cli, const Line *line, int *ret_exit)
{
    DEFER(search_done) Search search = {.asking = {.cli = cli, .read = MAIL__TRACE_READ__INIT, .take = found_take}};
    DEFER(envelope_free) Envelope *status = NULL;

    search.asking.context = &search;
    Error *err = wish_take(cli, line, &search);
    if (!err)
        err = status_get(cli, line->given[FLAG_NODE], &status);
    if (!err)
        err = asking_nodes(&search.asking, status->status, line->given[FLAG_NODE]);
    if (err)
        return err;
    if (search.n_rows)
        qsort(search.rows, search.n_rows, sizeof *search.rows, by_time);
    asking_away_say(&search.asking);
    err = asking_verdict(&search.asking, search.n_rows, ret_exit);
    return err ? err : rows_say(&search);
}

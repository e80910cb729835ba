/* snapshot: what the backups at a destination hold.  The node of the instance looks; a destination is asked by itself. */
#include "call.h"

#include "base/alloc.h"
#include "model/meta.h"
#include "model/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static char *given(const Line *line, const char *name)
{
    for (size_t i = 0; i < line->n_fields; i++)
        if (strcmp(line->fields[i].field, name) == 0)
            return line->fields[i].value;
    return NULL;
}

/* "734 B", "12.4 MB": powers of 1000, as quotas are written. */
static char *bytes_text(bool known, uint64_t bytes)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    int unit = -1;

    if (!known)
        return xstrdup("-");
    while (value >= 999.95) {
        value /= 1000;
        unit++;
    }
    return unit < 0 ? xasprintf("%" PRIu64 " B", bytes) : xasprintf("%.1f %s", value, units[unit]);
}

static char *number_text(bool known, uint64_t number)
{
    return known ? xasprintf("%" PRIu64, number) : xstrdup("-");
}

/* ---- what comes ---- */

typedef struct Answer {
    Cli *cli;
    Table *table;
    json_t *items;
    char *snapshot; /* that was meant */
} Answer;

static void snapshot_row(Table *table, const Mail__SnapshotIs *is)
{
    DEFER(xfree) char *messages = number_text(is->has_messages, is->messages);
    DEFER(xfree) char *bytes = bytes_text(is->has_bytes, is->bytes);
    DEFER(xfree) char *id = xstrndup(is->id ? is->id : "?", 12);

    table_cell(table, id);
    table_cell(table, time_text(is->time).text);
    table_cell(table, is->plan && *is->plan ? is->plan : "-");
    table_cell(table, messages);
    table_cell(table, bytes);
    table_row(table);
}

static json_t *snapshot_json(const Mail__SnapshotIs *is)
{
    json_t *item = json_object();

    json_put_text(item, "id", is->id);
    json_put_number(item, "time", is->time);
    json_put_text(item, "plan", is->plan);
    json_object_set_new(item, "messages", is->has_messages ? json_integer((json_int_t)is->messages) : json_null());
    json_object_set_new(item, "bytes", is->has_bytes ? json_integer((json_int_t)is->bytes) : json_null());
    return item;
}

static void folder_row(Table *table, const Mail__FolderIs *is)
{
    DEFER(xfree) char *messages = number_text(true, is->messages);
    DEFER(xfree) char *bytes = bytes_text(true, is->bytes);

    table_cell(table, is->name);
    table_cell(table, messages);
    table_cell(table, bytes);
    table_row(table);
}

static json_t *folder_json(const Mail__FolderIs *is)
{
    json_t *item = json_object();

    json_put_text(item, "name", is->name);
    json_put_number(item, "messages", is->messages);
    json_put_number(item, "bytes", is->bytes);
    return item;
}

static void name_line(const Answer *to, const char *name)
{
    print_text(to->cli->out, name ? name : "");
    fputc('\n', to->cli->out);
}

static void rows_take(Answer *to, const Mail__BackupRows *rows)
{
    if (rows->snapshot && !to->snapshot)
        to->snapshot = xstrdup(rows->snapshot);
    for (size_t i = 0; i < rows->n_snapshots; i++) {
        if (to->items)
            json_array_append_new(to->items, snapshot_json(rows->snapshots[i]));
        else if (to->table)
            snapshot_row(to->table, rows->snapshots[i]);
        else
            name_line(to, rows->snapshots[i]->id);
    }
    for (size_t i = 0; i < rows->n_folders; i++) {
        if (to->items)
            json_array_append_new(to->items, folder_json(rows->folders[i]));
        else if (to->table)
            folder_row(to->table, rows->folders[i]);
        else
            name_line(to, rows->folders[i]->name);
    }
}

static Error *ask(Cli *cli, Mail__BackupRead *read, Answer *to)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Call call;

    read->instance = (char *)(uintptr_t)cli_instance(cli);
    envelope.body_case = MAIL__ENVELOPE__BODY_BACKUP_READ;
    envelope.backup_read = read;
    Error *err = call_begin(cli, &envelope, false, &call);
    while (!err && !call.ended) {
        DEFER(envelope_free) Envelope *said = NULL;
        err = call_next(&call, &said);
        if (!err && said && said->body_case == MAIL__ENVELOPE__BODY_BACKUP_ROWS)
            rows_take(to, said->backup_rows);
    }
    return err;
}

/* B41: which one was meant is said, whatever was written. */
static void which_say(const Answer *to, const char *written)
{
    if (!to->snapshot || !written || strcmp(to->snapshot, written) == 0 || !to->table)
        return;
    fputs("snapshot ", stderr);
    print_text(stderr, to->snapshot);
    fputc('\n', stderr);
}

static Error *answer(Cli *cli, Mail__BackupRead *read, const char *const *headings, size_t n)
{
    Answer to = {.cli = cli};

    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML)
        to.items = json_array();
    else if (cli->form == OUTPUT_TABLE)
        to.table = table_new(cli->out, headings, n);
    Error *err = ask(cli, read, &to);
    which_say(&to, read->snapshot);
    table_end(&to.table);
    if (to.items && !err) {
        json_t *document = json_object();
        json_put_number(document, "version", 1);
        if (to.snapshot)
            json_put_text(document, "snapshot", to.snapshot);
        json_object_set_new(document, "items", to.items);
        print_document(cli->out, cli->form, &document);
    } else {
        json_decref(to.items);
    }
    free(to.snapshot);
    return err;
}

/* ---- commands ---- */

/* F-059 */
static Error *destination_take(Cli *cli, const Line *line, Mail__BackupRead *read)
{
    read->destination = given(line, "destination");
    read->mailbox = given(line, "mailbox");
    if (!read->destination || !*read->destination)
        return error_hint(cli_usage(cli, "destination= is missing"), "mailctl destination list");
    return NULL;
}

Error *run_snapshot_list(Cli *cli, const Line *line, int *ret_exit)
{
    static const char *const headings[] = {"SNAPSHOT", "TIME", "PLAN", "MESSAGES", "SIZE"};
    Mail__BackupRead read = MAIL__BACKUP_READ__INIT;

    (void)ret_exit;
    Error *err = destination_take(cli, line, &read);
    return err ? err : answer(cli, &read, headings, sizeof headings / sizeof *headings);
}

typedef struct Export {
    Cli *cli;
    TextWriter writer;
    bool begun;
    Error *err;
} Export;

/* Nothing is written before something came: an error leaves no half of a file. */
static void objects_write(Export *export, const Mail__BackupRows *rows)
{
    if (!export->begun)
        text_write_begin(&export->writer, export->cli->out, export->cli->form == OUTPUT_JSON ? TEXT_JSON : TEXT_YAML);
    export->begun = true;
    for (size_t i = 0; !export->err && i < rows->n_objects; i++) {
        DEFER(object_free) Object *object = NULL;
        export->err = object_unpack(rows->objects[i].data, rows->objects[i].len, &object);
        if (!export->err && !kind_info(object->body_case)->meta->made) /* no file states one */
            text_write_item(&export->writer, object);
    }
}

/* What 'apply' takes: the node's part of what was stated when the snapshot was made. */
Error *run_snapshot_export(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__BackupRead read = MAIL__BACKUP_READ__INIT;
    Export export = {.cli = cli};
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Call call;

    (void)ret_exit;
    Error *err = destination_take(cli, line, &read);
    if (err)
        return err;
    read.instance = (char *)(uintptr_t)cli_instance(cli);
    read.snapshot = (char *)(uintptr_t)line->key;
    read.has_state = read.state = true;
    envelope.body_case = MAIL__ENVELOPE__BODY_BACKUP_READ;
    envelope.backup_read = &read;
    err = call_begin(cli, &envelope, false, &call);
    if (err)
        return err;
    while (!err && !call.ended) {
        DEFER(envelope_free) Envelope *said = NULL;
        err = call_next(&call, &said);
        if (!err && said && said->body_case == MAIL__ENVELOPE__BODY_BACKUP_ROWS)
            objects_write(&export, said->backup_rows);
        if (!err)
            err = export.err;
    }
    if (!err && export.begun)
        text_write_end(&export.writer);
    return err;
}

Error *run_snapshot_folders(Cli *cli, const Line *line, int *ret_exit)
{
    static const char *const headings[] = {"FOLDER", "MESSAGES", "SIZE"};
    Mail__BackupRead read = MAIL__BACKUP_READ__INIT;

    (void)ret_exit;
    Error *err = destination_take(cli, line, &read);
    if (!err && (!read.mailbox || !*read.mailbox))
        err = error_hint(cli_usage(cli, "mailbox= is missing"), "mailbox=user:NAME or mailbox=public:NAME");
    if (err)
        return err;
    read.snapshot = (char *)(uintptr_t)line->key;
    read.filter = given(line, "filter");
    return answer(cli, &read, headings, sizeof headings / sizeof *headings);
}

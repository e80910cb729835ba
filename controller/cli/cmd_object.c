/* Objects: add, set, remove, list, show.  What a kind's fields mean is the controller's to say: values travel as typed. */
#include "objects.h"
#include "outcome.h"
#include "password.h"
#include "tables.h"

#include "base/alloc.h"
#include "model/edit.h"
#include "model/text.h"
#include "model/validate.h"
#include "model/value.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CELL_MAX = 60 };

/* ---- changes ---- */

/* A mail domain that is there lies in one instance: a key that holds one says more than a setting does. */
static bool key_says_instance(const Command *command, const KindInfo *info, const char *name)
{
    const char *domain = NULL;
    size_t local_len = 0;

    if (info->kind == MAIL__OBJECT__BODY_DOMAIN)
        return command->run != run_add;
    return info->kind == MAIL__OBJECT__BODY_ADDRESS && address_split(name, &local_len, &domain) &&
           strcmp(domain, "*") != 0;
}

static const char *instance_of(const Cli *cli, const KindInfo *info, const char *name)
{
    if (!info->meta->in_instance)
        return NULL;
    if (name && key_says_instance(cli->line->command, info, name))
        return cli->line->given[FLAG_INSTANCE];
    return cli_instance(cli);
}

static Mail__Ref ref_of(const Cli *cli, const char *kind, const char *name)
{
    Mail__Ref ref = MAIL__REF__INIT;

    ref.kind = (char *)kind;
    ref.name = (char *)name;
    ref.instance = (char *)instance_of(cli, kind_by_name(kind), name);
    return ref;
}

static char *subject_of(const Line *line)
{
    return line->key ? xasprintf("%s %s", line->command->kind, line->key) : xstrdup(line->command->kind);
}

Error *change_send(Cli *cli, const Line *line, Mail__ObjectEdit **edits, size_t n_edits, int *ret_exit)
{
    DEFER(xfree) char *subject = subject_of(line);
    Mail__Manner manner;
    Mail__Change change = MAIL__CHANGE__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;

    Error *err = manner_of(cli, &manner);
    if (err)
        return err;
    change.edits = edits;
    change.n_edits = n_edits;
    change.manner = &manner;
    envelope.body_case = MAIL__ENVELOPE__BODY_CHANGE;
    envelope.change = &change;
    return outcome_of(cli, &envelope, &manner, subject, line->command->done, ret_exit);
}

/* The values of the line's secrets, wiped by secrets_done, and the edits that carry them. */
typedef struct Secrets {
    Password values[LINE_SECRETS_MAX];
    Mail__FieldEdit edits[LINE_SECRETS_MAX];
} Secrets;

static void secrets_done(Secrets *secrets)
{
    for (size_t i = 0; i < LINE_SECRETS_MAX; i++)
        password_done(&secrets->values[i]);
}

static Error *secret_take(Cli *cli, const LineSecret *from, const char *whose, Password *ret_value)
{
    const FieldMeta *field = meta_field(command_meta(cli->line->command), from->field);

    if (!field || strcmp(field->name, "password") == 0)
        return password_take(cli, from->from, false, whose, ret_value);
    DEFER(xfree) char *title = field_title(field);
    return secret_file_take(cli, from->from, title, field->max, ret_value);
}

static Error *secrets_take(Cli *cli, const Line *line, const char *whose, Secrets *secrets)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < line->n_secrets; i++) {
        Mail__FieldEdit *edit = &secrets->edits[i];
        Password *value = &secrets->values[i];
        err = secret_take(cli, &line->secrets[i], whose, value);
        mail__field_edit__init(edit);
        edit->field = line->secrets[i].field;
        edit->has_op = edit->has_secret = 1;
        edit->op = MAIL__EDIT_OP__SET;
        edit->secret = (ProtobufCBinaryData){.data = value->octets, .len = value->size};
    }
    return err;
}

/* One object, with 'fields' and the edit that the verb itself stands for. */
static Error *change_one(Cli *cli, const Line *line, int *ret_exit)
{
    const Command *command = line->command;
    Mail__Ref ref = ref_of(cli, command->kind, line->key);
    Mail__FieldEdit own = MAIL__FIELD_EDIT__INIT;
    DEFER(secrets_done) Secrets secrets = {0};
    Mail__ObjectEdit edit = MAIL__OBJECT_EDIT__INIT;
    DEFER(xfree) char *stands_for = command->stands_for ? xstrdup(command->stands_for) : NULL;
    DEFER(xfree) char *whose = subject_of(line);
    Error *err = secrets_take(cli, line, whose, &secrets);

    if (err)
        return err;
    Mail__FieldEdit **fields = xcalloc(line->n_fields + LINE_SECRETS_MAX + 1, sizeof(Mail__FieldEdit *));

    for (size_t i = 0; i < line->n_fields; i++)
        fields[edit.n_fields++] = &line->fields[i];
    if (stands_for) {
        own.field = strtok(stands_for, "=");
        own.value = strtok(NULL, "=");
        own.has_op = 1;
        fields[edit.n_fields++] = &own;
    }
    for (size_t i = 0; i < line->n_secrets; i++)
        fields[edit.n_fields++] = &secrets.edits[i];
    edit.has_verb = 1;
    edit.verb = command->edit;
    edit.ref = &ref;
    edit.fields = fields;
    err = change_send(cli, line, &(Mail__ObjectEdit *){&edit}, 1, ret_exit);
    free(fields);
    return err;
}

/* What a new domain takes over (F-075) is the controller's to say: where somebody is there to be asked, the answer no is
 * shown as a question. */
Error *run_add(Cli *cli, const Line *line, int *ret_exit)
{
    Error *err = change_one(cli, line, ret_exit);

    if (!err || err->code != ERROR_CONFLICT || line_has(line, FLAG_YES) || !command_takes(line->command, FLAG_YES) ||
        !isatty(STDIN_FILENO))
        return err;
    Error *no = cli_confirm(cli, err->what);
    error_free(&err);
    if (no)
        return no;
    cli->confirmed = true;
    return change_one(cli, line, ret_exit);
}

Error *run_remove(Cli *cli, const Line *line, int *ret_exit)
{
    return change_one(cli, line, ret_exit);
}

Error *run_change(Cli *cli, const Line *line, int *ret_exit)
{
    if (!line->n_fields && !line->n_secrets && !line->command->stands_for)
        return error_hint(cli_usage(cli, "nothing to set"), "mailctl %s", line->command->example);
    return change_one(cli, line, ret_exit);
}

Error *run_instance_move(Cli *cli, const Line *line, int *ret_exit)
{
    if (line->n_fields != 1 || line->fields[0].op != MAIL__EDIT_OP__SET)
        return error_hint(cli_usage(cli, "node= is missing"), "mailctl instance move %s node=NODE", line->key);
    return change_one(cli, line, ret_exit);
}

/* F-012: the instance and its primary domain are one revision: neither is there without the other. */
Error *run_instance_add(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__Ref instance = ref_of(cli, "instance", line->key), domain = MAIL__REF__INIT;
    Mail__ObjectEdit edits[2] = {MAIL__OBJECT_EDIT__INIT, MAIL__OBJECT_EDIT__INIT};
    Mail__FieldEdit **fields = xcalloc(line->n_fields + 1, sizeof(Mail__FieldEdit *));

    for (size_t i = 0; i < line->n_fields; i++) {
        Mail__FieldEdit *field = &line->fields[i];
        if (strcmp(field->field, "mail-domain") != 0 && strcmp(field->field, "mail_domain") != 0)
            fields[edits[0].n_fields++] = field;
        else
            domain.name = field->value;
    }
    domain.kind = (char *)"domain";
    domain.instance = instance.name;
    for (size_t i = 0; i < 2; i++) {
        edits[i].has_verb = 1;
        edits[i].ref = i ? &domain : &instance;
    }
    edits[0].fields = fields;
    Error *err = change_send(cli, line, (Mail__ObjectEdit *[]){&edits[0], &edits[1]}, domain.name ? 2 : 1, ret_exit);
    free(fields);
    return err;
}

/* ---- list ---- */

/* Where the objects of a listing go, one by one. */
typedef struct Listing {
    Cli *cli;
    const KindMeta *meta;
    bool with_instance;
    Table *table;
    const char **headings;
    TextWriter writer;
    bool begun;
    Orphans *orphans;           /* of addresses; NULL: not asked */
    PublicAddresses *addresses; /* of public mailboxes; NULL: not asked */
} Listing;

static char *heading(const char *name)
{
    char *text = xstrdup(name);

    for (char *c = text; *c; c++)
        *c = (char)(*c == '_' ? '-' : *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    return text;
}

static void listing_begin(Listing *listing)
{
    Cli *cli = listing->cli;
    size_t n = 0;

    if (listing->begun)
        return;
    listing->begun = true;
    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML)
        text_write_begin(&listing->writer, cli->out, cli->form == OUTPUT_JSON ? TEXT_JSON : TEXT_YAML);
    if (cli->form != OUTPUT_TABLE)
        return;
    listing->headings = xcalloc(TABLE_COLUMNS_MAX, sizeof *listing->headings);
    listing->headings[n++] = heading("name");
    if (listing->with_instance)
        listing->headings[n++] = heading("instance");
    for (size_t i = 0; i < listing->meta->n_fields && n < TABLE_COLUMNS_MAX; i++)
        listing->headings[n++] = heading(listing->meta->fields[i].name);
    if (listing->addresses)
        listing->headings[n++] = heading("addresses");
    if (orphans_any(listing->orphans) && n < TABLE_COLUMNS_MAX)
        listing->headings[n++] = heading("orphan");
    listing->table = table_new(cli->out, listing->headings, n);
}

static void listing_end(Listing *listing)
{
    if (listing->begun && (listing->cli->form == OUTPUT_JSON || listing->cli->form == OUTPUT_YAML))
        text_write_end(&listing->writer);
    table_end(&listing->table);
    for (size_t i = 0; listing->headings && i < TABLE_COLUMNS_MAX; i++)
        free((void *)listing->headings[i]);
    free(listing->headings);
}

/* An A-label is shown with what people read: "xn--exmple-cua.org (exämple.org)". */
static char *name_shown(const char *name)
{
    DEFER(xfree) char *for_people = name_for_people(name);

    return strcmp(for_people, name) == 0 ? xstrdup(name) : xasprintf("%s (%s)", name, for_people);
}

static char *cell_text(const Object *object, const FieldMeta *field)
{
    char *text = field_text(object, field);
    size_t cut = CELL_MAX;

    if (strlen(text) <= CELL_MAX)
        return text;
    while (cut && ((unsigned char)text[cut] & 0xc0) == 0x80)
        cut--;
    char *shorter = xasprintf("%.*s...", (int)cut, text);
    free(text);
    return shorter;
}

static void listing_item(Listing *listing, const Object *object)
{
    Cli *cli = listing->cli;
    ObjectRef ref = object_ref(object);

    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML) {
        text_write_item(&listing->writer, object);
        return;
    }
    if (cli->form == OUTPUT_NAME) {
        print_text(cli->out, *ref.name ? ref.name : ref.instance);
        fputc('\n', cli->out);
        return;
    }
    DEFER(xfree) char *name = name_shown(ref.name);
    table_cell(listing->table, name);
    if (listing->with_instance)
        table_cell(listing->table, ref.instance);
    for (size_t i = 0; i < listing->meta->n_fields; i++) {
        DEFER(xfree) char *text = cell_text(object, &listing->meta->fields[i]);
        table_cell(listing->table, text);
    }
    if (listing->addresses)
        table_cell(listing->table, public_addresses_of(listing->addresses, &ref));
    if (orphans_any(listing->orphans)) {
        DEFER(xfree) char *missing = orphans_of(listing->orphans, ref.name);
        table_cell(listing->table, missing);
    }
    table_row(listing->table);
}

Error *objects_each(Cli *cli, Mail__List *list, void (*begin)(void *context), EachObject *each, void *context)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Call call;

    envelope.body_case = MAIL__ENVELOPE__BODY_LIST;
    envelope.list = list;
    Error *err = call_begin(cli, &envelope, false, &call);
    while (!err && !call.ended) {
        DEFER(envelope_free) Envelope *said = NULL;
        err = call_next(&call, &said);
        if (err || !said || said->body_case != MAIL__ENVELOPE__BODY_LISTED)
            continue;
        begin(context);
        for (size_t i = 0; !err && i < said->listed->n_objects; i++) {
            DEFER(object_free) Object *object = NULL;
            err = object_unpack(said->listed->objects[i].data, said->listed->objects[i].len, &object);
            if (!err)
                err = each(context, object);
        }
        if (!err)
            err = cli_flush(cli); /* a reader that has gone ends it here */
    }
    return err;
}

Error *secrets_ask(Cli *cli, Mail__Ref *ref, Envelope **ret_said, Object **ret_object)
{
    Mail__SecretsRead wish = MAIL__SECRETS_READ__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;

    wish.ref = ref;
    envelope.body_case = MAIL__ENVELOPE__BODY_SECRETS_READ;
    envelope.secrets_read = &wish;
    Error *err = call_one(cli, &envelope, false, ret_said);
    if (err)
        return err;
    if (!*ret_said || (*ret_said)->body_case != MAIL__ENVELOPE__BODY_SECRETS_ARE)
        return error_new(ERROR_SYSTEM, "the controller did not say what is stored");
    return object_unpack((*ret_said)->secrets_are->object.data, (*ret_said)->secrets_are->object.len, ret_object);
}

const ProtobufCBinaryData *secret_value_of(const Mail__SecretsAre *said, uint64_t id)
{
    for (size_t i = 0; id && i < said->n_secrets; i++)
        if (said->secrets[i]->id == id)
            return &said->secrets[i]->value;
    return NULL;
}

static void begin_listing(void *context)
{
    listing_begin(context);
}

static Error *take_listing(void *context, const Object *object)
{
    listing_item(context, object);
    return NULL;
}

static Error *paging_of(Cli *cli, Mail__List *list)
{
    const Line *line = cli->line;
    uint64_t limit = 0;

    list->after = (char *)line->given[FLAG_AFTER];
    list->prefix = (char *)line->given[FLAG_FILTER];
    if (!line_has(line, FLAG_LIMIT))
        return NULL;
    Error *err = number_parse(line->given[FLAG_LIMIT], &limit);
    if (!err && (limit == 0 || limit > UINT32_MAX))
        err = error_new(ERROR_INVALID, "write a number of at least 1");
    if (err) {
        cli->exit = 2;
        return error_in(err, "--limit");
    }
    list->has_limit = 1;
    list->limit = (uint32_t)limit;
    return NULL;
}

Error *run_list(Cli *cli, const Line *line, int *ret_exit)
{
    const KindMeta *meta = command_meta(line->command);
    Mail__List list = MAIL__LIST__INIT;
    Listing listing = {.cli = cli, .meta = meta};

    (void)ret_exit;
    list.kind = (char *)line->command->kind;
    if (meta->in_instance)
        list.instance = (char *)cli_instance(cli);
    listing.with_instance = meta->in_instance && !list.instance;
    Error *err = paging_of(cli, &list);
    if (!err && cli->form == OUTPUT_TABLE && strcmp(line->command->kind, "address") == 0)
        listing.orphans = orphans_ask(cli, list.prefix, list.after);
    if (!err && cli->form == OUTPUT_TABLE && strcmp(line->command->kind, "public-mailbox") == 0)
        err = public_addresses_ask(cli, list.instance, list.prefix, &listing.addresses);
    if (!err)
        err = objects_each(cli, &list, begin_listing, take_listing, &listing);
    listing_end(&listing);
    orphans_free(&listing.orphans);
    public_addresses_free(&listing.addresses);
    return err;
}

/* What nobody states comes of itself where the file is applied. */
static Error *take_stated(void *context, const Object *object)
{
    if (!kind_info(object->body_case)->meta->made)
        listing_item(context, object);
    return NULL;
}

Error *run_export(Cli *cli, const Line *line, int *ret_exit)
{
    static const KindMeta none = {0};
    Mail__List list = MAIL__LIST__INIT;
    Listing listing = {.cli = cli, .meta = &none};

    if (line_has(line, FLAG_WITH_SECRETS))
        return run_export_secrets(cli, line, ret_exit);
    if (cli->form == OUTPUT_TABLE)
        cli->form = OUTPUT_YAML;
    list.instance = (char *)cli_instance(cli);
    Error *err = objects_each(cli, &list, begin_listing, take_stated, &listing);
    listing_end(&listing);
    return err;
}

/* ---- show ---- */

typedef struct Showing {
    Cli *cli;
    TextWriter writer;
    size_t n;
} Showing;

static void begin_nothing(void *context)
{
    (void)context;
}

static void object_print(FILE *out, const Object *object)
{
    ObjectRef ref = object_ref(object);
    const KindInfo *info = kind_info(ref.kind);
    DEFER(xfree) char *name = name_shown(ref.name);

    fprintf(out, "%s%s", info->name, *name ? " " : "");
    print_text(out, name);
    if (info->meta->in_instance && *ref.instance) {
        fputs(" of ", out);
        print_text(out, ref.instance);
    }
    fputc('\n', out);
    for (size_t i = 0; i < info->meta->n_fields; i++) {
        const FieldMeta *field = &info->meta->fields[i];
        DEFER(xfree) char *text = field_text(object, field), *shown = escaped(*text ? text : "-");
        DEFER(xfree) char *left = field_title(field);
        fprintf(out, "  %-21s %s\n", left, shown);
    }
}

static Error *take_showing(void *context, const Object *object)
{
    Showing *showing = context;
    Cli *cli = showing->cli;
    bool as_data = cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML;

    if (as_data && !showing->n)
        text_write_begin(&showing->writer, cli->out, cli->form == OUTPUT_JSON ? TEXT_JSON : TEXT_YAML);
    showing->n++;
    if (as_data) {
        text_write_item(&showing->writer, object);
    } else if (cli->form == OUTPUT_NAME) {
        ObjectRef ref = object_ref(object);
        print_text(cli->out, *ref.name ? ref.name : ref.instance);
        fputc('\n', cli->out);
    } else {
        object_print(cli->out, object);
    }
    return NULL;
}

/* A mailbox or a policy that nobody has said anything of is there all the same, with the defaults. */
static bool shown_by_default(const Command *command)
{
    return !command_find(command->noun, "add");
}

Error *run_show(Cli *cli, const Line *line, int *ret_exit)
{
    const KindInfo *info = kind_by_name(line->command->kind);
    Mail__List list = MAIL__LIST__INIT;
    Showing showing = {.cli = cli};
    DEFER(xfree) char *name = NULL;

    (void)ret_exit;
    Error *err = line->key ? name_normalise(info->kind, line->key, &name) : NULL;
    if (err)
        return err;
    list.kind = (char *)info->name;
    list.name = name;
    list.instance = (char *)instance_of(cli, info, name);
    err = objects_each(cli, &list, begin_nothing, take_showing, &showing);
    bool missing = err ? err->code == ERROR_NOT_FOUND && strncmp(err->what, "instance ", 9) != 0 : !showing.n;
    if (missing && shown_by_default(line->command)) {
        DEFER(object_free) Object *object = object_new(info->kind, list.instance, name);
        error_free(&err);
        fputs("note: nothing is stated; these are the defaults\n", stderr);
        err = take_showing(&showing, object);
    } else if (missing && !err) {
        err = error_new(ERROR_NOT_FOUND, "%s %s does not exist", info->name, line->key);
    }
    if (showing.n && (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML))
        text_write_end(&showing.writer);
    return err;
}

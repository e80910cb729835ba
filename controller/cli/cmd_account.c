/* Users and groups: they live in the directory alone, on the node that holds it, and are changed there on the spot. */
#include "accounts.h"
#include "password.h"

#include "base/alloc.h"
#include "model/name.h"
#include "model/shown.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 500, EXIT_LOST = 9 };

static Mail__AccountKind kind_of(const Command *command)
{
    return strcmp(command->noun, "group") == 0 ? MAIL__ACCOUNT_KIND__GROUP : MAIL__ACCOUNT_KIND__USER;
}

static Mail__Directory directory_of(const Cli *cli)
{
    Mail__Directory directory = MAIL__DIRECTORY__INIT;

    directory.user_domain = (char *)cli->line->given[FLAG_USER_DOMAIN];
    directory.instance = (char *)cli_instance(cli);
    return directory;
}

static Error *name_of(const Line *line, char **ret_name)
{
    DEFER(xfree) char *seen = shown(line->key);

    return error_in(text_normalise(MAIL__FIELD_TYPE__ACCOUNT, line->key, ret_name), "%s '%s'", line->command->noun,
                    seen);
}

/* ---- add, set, remove ---- */

static Error *write_send(Cli *cli, const Line *line, char *name, const Password *password, Envelope **ret_answer)
{
    Mail__FieldEdit **fields = xcalloc(line->n_fields + 1, sizeof(Mail__FieldEdit *));
    Mail__DirectoryWrite write = MAIL__DIRECTORY_WRITE__INIT;
    Mail__Directory directory = directory_of(cli);
    Envelope envelope = MAIL__ENVELOPE__INIT;

    for (size_t i = 0; i < line->n_fields; i++)
        fields[i] = &line->fields[i];
    write.has_verb = write.has_kind = true;
    write.verb = line->command->edit;
    write.kind = kind_of(line->command);
    write.name = name;
    write.fields = fields;
    write.n_fields = line->n_fields;
    write.has_password = password->octets != NULL;
    write.has_hashed = write.hashed =
        line->n_secrets && plain_field(line->secrets[0].field) == plain_field("password-hash");
    write.password = (ProtobufCBinaryData){.data = password->octets, .len = password->size};
    write.has_lenient = line_has(line, FLAG_MAY_EXIST) || line_has(line, FLAG_IF_EXISTS);
    write.lenient = true;
    directory.write = &write;
    envelope.body_case = MAIL__ENVELOPE__BODY_DIRECTORY;
    envelope.directory = &directory;
    Error *err = call_one(cli, &envelope, true, ret_answer);
    free(fields);
    return err;
}

/* "user alice added to staff (12 ms)" */
static void written_print(Cli *cli, const Line *line, const char *name, const Envelope *answer, Msec took_ms)
{
    const char *domain =
        answer && answer->body_case == MAIL__ENVELOPE__BODY_ACCOUNTS ? answer->accounts->user_domain : NULL;
    DEFER(xfree) char *words = NULL;

    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML) {
        json_t *document = json_object();
        json_put_number(document, "version", 1);
        json_put_text(document, "user_domain", domain);
        json_put_text(document, line->command->noun, name);
        json_put_number(document, "ms", took_ms);
        print_document(cli->out, cli->form, &document);
        return;
    }
    if (cli->form == OUTPUT_NAME)
        words = xstrdup(name);
    else
        words = xasprintf("%s %s %s%s%s (%s)", line->command->noun, name, line->command->done, domain ? " " : "",
                          domain ? domain : "", age_text(took_ms).text);
    print_text(cli->out, words);
    fputc('\n', cli->out);
}

static Error *with_way_out(const Cli *cli, const Line *line, const char *name, Error *err)
{
    if (!err || cli->exit != EXIT_LOST)
        return err;
    const char *domain = line->given[FLAG_USER_DOMAIN];
    return error_hint(err, "mailctl %s show %s%s%s", line->command->noun, name, domain ? " -u " : "",
                      domain ? domain : "");
}

Error *run_account_change(Cli *cli, const Line *line, int *ret_exit)
{
    const Command *command = line->command;
    bool is_user = kind_of(command) == MAIL__ACCOUNT_KIND__USER;
    DEFER(xfree) char *name = NULL;
    DEFER(password_done) Password password = {0};
    DEFER(envelope_free) Envelope *answer = NULL;

    (void)ret_exit;
    if (command->edit == MAIL__VERB__MODIFY && !line->n_fields && !line->n_secrets)
        return error_hint(cli_usage(cli, "nothing to set"), "mailctl %s", command->example);
    Error *err = name_of(line, &name);
    if (!err && command->loses) {
        DEFER(xfree) char *what = xasprintf("%s %s: %s", command->noun, name, command->loses);
        err = cli_confirm(cli, what);
    }
    if (!err)
        err = password_take(cli, line_secret_from(line), is_user && command->edit == MAIL__VERB__ADD, name, &password);
    Msec since = clock_ms();
    if (!err)
        err = write_send(cli, line, name, &password, &answer);
    if (!err)
        written_print(cli, line, name, answer, clock_ms() - since);
    return with_way_out(cli, line, name, err);
}

/* ---- what was held ---- */

/* "user-domain staff accepted (120 ms)" */
static Error *release(Cli *cli, const Line *line, Mail__Directory *directory)
{
    DEFER(envelope_free) Envelope *answer = NULL;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Msec since = clock_ms();

    envelope.body_case = MAIL__ENVELOPE__BODY_DIRECTORY;
    envelope.directory = directory;
    Error *err = call_one(cli, &envelope, true, &answer);
    if (err)
        return err;
    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML) {
        json_t *document = json_object();
        json_put_number(document, "version", 1);
        json_put_text(document, line->command->noun, line->key);
        json_put_number(document, "ms", clock_ms() - since);
        print_document(cli->out, cli->form, &document);
        return NULL;
    }
    DEFER(xfree)
    char *words = cli->form == OUTPUT_NAME ? xstrdup(line->key)
                                           : xasprintf("%s %s %s (%s)", line->command->noun, line->key,
                                                       line->command->done, age_text(clock_ms() - since).text);
    print_text(cli->out, words);
    fputc('\n', cli->out);
    return NULL;
}

static Error *confirm(Cli *cli, const Line *line)
{
    DEFER(xfree) char *what = xasprintf("%s %s: %s", line->command->noun, line->key, line->command->loses);

    return cli_confirm(cli, what);
}

Error *run_user_domain_accept(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__DirectoryAccept accept = MAIL__DIRECTORY_ACCEPT__INIT;
    Mail__Directory directory = MAIL__DIRECTORY__INIT;

    (void)ret_exit;
    directory.user_domain = (char *)line->key;
    directory.instance = (char *)cli_instance(cli); /* each has a mirror of its own */
    directory.accept = &accept;
    Error *err = confirm(cli, line);
    return err ? err : release(cli, line, &directory);
}

Error *run_mailbox_claim(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__DirectoryClaim claim = MAIL__DIRECTORY_CLAIM__INIT;
    Mail__Directory directory = MAIL__DIRECTORY__INIT;

    (void)ret_exit;
    directory.instance = (char *)cli_instance(cli);
    claim.name = (char *)line->key;
    directory.claim = &claim;
    Error *err = confirm(cli, line);
    return err ? err : release(cli, line, &directory);
}

/* ---- asking ---- */

typedef struct Page {
    EachAccount *each;
    void *context;
    char *last; /* name */
    size_t n;
} Page;

static void page_take(Page *page, const Mail__Accounts *accounts)
{
    for (size_t i = 0; i < accounts->n_accounts; i++) {
        const Mail__Account *account = accounts->accounts[i];
        page->each(page->context, account);
        page->n++;
        free(page->last);
        page->last = xstrdup(account->name ? account->name : "");
    }
}

static Error *page_ask(Cli *cli, Mail__DirectoryRead *read, Page *page, char **ret_user_domain)
{
    Mail__Directory directory = directory_of(cli);
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Call call;

    directory.read = read;
    envelope.body_case = MAIL__ENVELOPE__BODY_DIRECTORY;
    envelope.directory = &directory;
    Error *err = call_begin(cli, &envelope, false, &call);
    while (!err && !call.ended) {
        DEFER(envelope_free) Envelope *said = NULL;
        err = call_next(&call, &said);
        if (err || !said || said->body_case != MAIL__ENVELOPE__BODY_ACCOUNTS)
            continue;
        page_take(page, said->accounts);
        if (ret_user_domain && !*ret_user_domain && said->accounts->user_domain)
            *ret_user_domain = xstrdup(said->accounts->user_domain);
    }
    return err;
}

Error *accounts_each(Cli *cli, Mail__AccountKind kind, const char *name, const char *after, uint64_t limit,
                     EachAccount *each, void *context, char **ret_user_domain)
{
    Page page = {.each = each, .context = context, .last = after ? xstrdup(after) : NULL};
    uint64_t left = limit ? limit : UINT64_MAX;
    Error *err = NULL;

    do {
        Mail__DirectoryRead read = MAIL__DIRECTORY_READ__INIT;
        DEFER(xfree) char *behind = page.last;
        page.last = NULL;
        page.n = 0;
        read.has_kind = read.has_limit = true;
        read.kind = kind;
        read.name = (char *)name;
        read.after = behind;
        read.limit = left < PAGE ? (uint32_t)left : PAGE;
        err = page_ask(cli, &read, &page, ret_user_domain);
        left -= page.n < left ? page.n : left;
        /* Who does not go on behind the name that he was given would go on for ever. */
        if (page.last && behind && strcmp(page.last, behind) == 0)
            break;
    } while (!err && !name && page.n >= PAGE && left);
    free(page.last);
    return err;
}

/* ---- list, show ---- */

typedef struct Listing {
    Cli *cli;
    bool groups;
    Table *table;
    json_t *items;
    size_t n;
} Listing;

static json_t *names_json(char *const *names, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_text(names[i]));
    return list;
}

static json_t *account_json(const Mail__Account *account, bool group)
{
    json_t *item = json_object();

    json_put_text(item, "name", account->name);
    if (group) {
        json_object_set_new(item, "members", names_json(account->members, account->n_members));
    } else {
        json_put_text(item, "full_name", account->full_name);
        json_object_set_new(item, "enabled", json_boolean(account->enabled));
        json_object_set_new(item, "groups", names_json(account->groups, account->n_groups));
    }
    json_put_text(item, "uuid", account->uuid);
    return item;
}

static char *names_text(char *const *names, size_t n)
{
    DEFER(buf_done) Buf text = {0};

    for (size_t i = 0; i < n; i++)
        buf_printf(&text, "%s%s", i ? "," : "", names[i]);
    return xstrdup(buf_text(&text));
}

static const char *state_word(const Mail__Account *account)
{
    return account->enabled ? "enabled" : "locked";
}

static void account_row(Table *table, const Mail__Account *account, bool group)
{
    DEFER(xfree)
    char *names =
        group ? names_text(account->members, account->n_members) : names_text(account->groups, account->n_groups);

    table_cell(table, account->name);
    if (!group) {
        table_cell(table, account->full_name);
        table_cell(table, state_word(account));
    }
    table_cell(table, names);
    table_row(table);
}

static void name_line(FILE *out, const Mail__Account *account)
{
    print_text(out, account->name ? account->name : "");
    fputc('\n', out);
}

static void list_take(void *context, const Mail__Account *account)
{
    Listing *listing = context;

    listing->n++;
    if (listing->items)
        json_array_append_new(listing->items, account_json(account, listing->groups));
    else if (listing->table)
        account_row(listing->table, account, listing->groups);
    else
        name_line(listing->cli->out, account);
}

static void listing_begin(Listing *listing)
{
    static const char *const users[] = {"NAME", "FULL NAME", "STATE", "GROUPS"}, *const groups[] = {"NAME", "MEMBERS"};
    OutputForm form = listing->cli->form;

    if (form == OUTPUT_JSON || form == OUTPUT_YAML)
        listing->items = json_array();
    else if (form == OUTPUT_TABLE)
        listing->table = table_new(listing->cli->out, listing->groups ? groups : users, listing->groups ? 2 : 4);
}

static void listing_end(Listing *listing, const char *user_domain, const Error *err)
{
    table_end(&listing->table);
    if (!listing->items || err) {
        json_decref(listing->items);
        return;
    }
    json_t *document = json_object();
    json_put_number(document, "version", 1);
    json_put_text(document, "user_domain", user_domain);
    json_object_set_new(document, "items", listing->items);
    print_document(listing->cli->out, listing->cli->form, &document);
}

Error *run_account_list(Cli *cli, const Line *line, int *ret_exit)
{
    Listing listing = {.cli = cli, .groups = kind_of(line->command) == MAIL__ACCOUNT_KIND__GROUP};
    DEFER(xfree) char *user_domain = NULL;
    uint64_t limit = 0;

    (void)ret_exit;
    if (line_has(line, FLAG_LIMIT)) {
        Error *err = number_parse(line->given[FLAG_LIMIT], &limit);
        if (err || limit == 0) {
            error_free(&err);
            return cli_usage(cli, "--limit: write a number of at least 1");
        }
    }
    listing_begin(&listing);
    Error *err = accounts_each(cli, kind_of(line->command), NULL, line->given[FLAG_AFTER], limit, list_take, &listing,
                               &user_domain);
    listing_end(&listing, user_domain, err);
    return err;
}

static void fact_print(FILE *out, const char *left, const char *text)
{
    DEFER(xfree) char *shown_text = escaped(text && *text ? text : "-");

    fprintf(out, "  %-21s %s\n", left, shown_text);
}

typedef struct Showing {
    Listing listing;
    Buf text; /* for people, until the user domain is known */
} Showing;

static void show_take(void *context, const Mail__Account *account)
{
    Showing *showing = context;
    char *text = NULL;
    size_t size = 0;

    if (showing->listing.cli->form != OUTPUT_TABLE) {
        list_take(&showing->listing, account);
        return;
    }
    showing->listing.n++;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return;
    if (showing->listing.groups) {
        DEFER(xfree) char *members = names_text(account->members, account->n_members);
        fact_print(out, "members", members);
    } else {
        DEFER(xfree) char *groups = names_text(account->groups, account->n_groups);
        fact_print(out, "full-name", account->full_name);
        fact_print(out, "state", state_word(account));
        fact_print(out, "groups", groups);
    }
    fact_print(out, "uuid", account->uuid);
    fclose(out);
    buf_append(&showing->text, text, size);
    free(text);
}

Error *run_account_show(Cli *cli, const Line *line, int *ret_exit)
{
    Showing showing = {.listing = {.cli = cli, .groups = kind_of(line->command) == MAIL__ACCOUNT_KIND__GROUP}};
    DEFER(xfree) char *user_domain = NULL, *name = NULL;

    (void)ret_exit;
    Error *err = name_of(line, &name);
    if (err)
        return err;
    if (cli->form != OUTPUT_TABLE)
        listing_begin(&showing.listing);
    err = accounts_each(cli, kind_of(line->command), name, NULL, 0, show_take, &showing, &user_domain);
    if (!err && !showing.listing.n)
        err = error_new(ERROR_NOT_FOUND, "%s %s does not exist", line->command->noun, name);
    if (!err && showing.text.size) {
        DEFER(xfree)
        char *head = xasprintf("%s %s of %s", line->command->noun, name, user_domain ? user_domain : "?");
        print_text(cli->out, head);
        fprintf(cli->out, "\n%s", buf_text(&showing.text));
    }
    buf_done(&showing.text);
    listing_end(&showing.listing, user_domain, err);
    return err;
}

/* Users and groups of a file into an internal directory: looked at as a whole first, then written one by one. */
#include "accounts.h"
#include "people_file.h"

#include "base/alloc.h"
#include "model/nearest.h"
#include "model/shown.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_SEEN = 1, MEMBERS_AT_ONCE = 500, WRONG_SHOWN = 50 };

/* Names in order. */
typedef struct Names {
    char **list;
    size_t n, room;
} Names;

typedef struct Import {
    Cli *cli;
    PeopleFile file;
    Names users, groups; /* that the directory has */
    Names members;       /* memberships, see there, of what is to be in which group by the file */
    Names memberships;   /* the same, as the directory has it */
    char *user_domain;
    size_t n_users, n_groups, n_there, n_memberships; /* to be written, or left as they are */
    size_t done;
    Msec said_at;
} Import;

static void names_add(Names *names, char *name)
{
    if (names->n == names->room) {
        names->room = names->room ? names->room * 2 : 256;
        names->list = xrealloc(names->list, names->room * sizeof *names->list);
    }
    names->list[names->n++] = name;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_sort(Names *names)
{
    size_t kept = 0;

    if (names->n)
        qsort(names->list, names->n, sizeof(char *), by_text);
    for (size_t i = 0; i < names->n; i++)
        if (kept && strcmp(names->list[kept - 1], names->list[i]) == 0)
            free(names->list[i]);
        else
            names->list[kept++] = names->list[i];
    names->n = kept;
}

static bool names_have(const Names *names, const char *name)
{
    return names->n && bsearch(&name, names->list, names->n, sizeof(char *), by_text);
}

static void names_done(Names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->list[i]);
    free(names->list);
}

static void import_done(Import *import)
{
    people_file_done(&import->file);
    names_done(&import->users);
    names_done(&import->groups);
    names_done(&import->members);
    names_done(&import->memberships);
    free(import->user_domain);
}

/* ---- the file ---- */

static void wrong_say(void *context, const char *words)
{
    Import *import = context;

    if (import->file.n_wrong == WRONG_SHOWN + 1)
        fputs("...\n", stderr);
    if (import->file.n_wrong > WRONG_SHOWN)
        return;
    print_text(stderr, words);
    fputc('\n', stderr);
}

static void mode_look(const char *path)
{
    struct stat is;

    if (stat(path, &is) != 0 || !(is.st_mode & 0077))
        return;
    DEFER(xfree)
    char *words = xasprintf("warning: %s: others can read it (mode %04o), and passwords may be in it", path,
                            (unsigned)is.st_mode & 07777);
    print_text(stderr, words);
    fputc('\n', stderr);
}

/* ---- what is there ---- */

/* What is in no name stands between them, and sorts before all that is: those of a group are together, in the order of
 * groups. */
enum { BETWEEN = '\1' };

static char *membership(const char *group, const char *user)
{
    return xasprintf("%s%c%s", group, BETWEEN, user);
}

static void take_user(void *context, const Mail__Account *account)
{
    Import *import = context;

    names_add(&import->users, xstrdup(account->name ? account->name : ""));
}

static void take_group(void *context, const Mail__Account *account)
{
    Import *import = context;
    const char *name = account->name ? account->name : "";

    names_add(&import->groups, xstrdup(name));
    for (size_t i = 0; i < account->n_members; i++)
        names_add(&import->memberships, membership(name, account->members[i]));
}

static Error *directory_read(Import *import)
{
    Error *err =
        accounts_each(import->cli, MAIL__ACCOUNT_KIND__USER, NULL, NULL, 0, take_user, import, &import->user_domain);

    if (!err)
        err = accounts_each(import->cli, MAIL__ACCOUNT_KIND__GROUP, NULL, NULL, 0, take_group, import, NULL);
    names_sort(&import->users);
    names_sort(&import->groups);
    names_sort(&import->memberships);
    return err;
}

/* ---- what is to be ---- */

static bool is_there(const Import *import, const FileAccount *account)
{
    return names_have(account->kind == MAIL__ACCOUNT_KIND__USER ? &import->users : &import->groups, account->name);
}

static Error *missing(const Import *import, const Names *in_file, const char *name)
{
    DEFER(xfree) char *seen = shown(name);
    Nearest nearest;

    nearest_init(&nearest, name);
    for (size_t i = 0; i < in_file->n; i++)
        nearest_offer(&nearest, in_file->list[i]);
    for (size_t i = 0; i < import->users.n; i++)
        nearest_offer(&nearest, import->users.list[i]);
    const char *near = nearest_found(&nearest);
    return near ? error_new(ERROR_INVALID, "members: user %s does not exist, did you mean %s?", seen, near)
                : error_new(ERROR_INVALID, "members: user %s does not exist", seen);
}

/* Who is to be in which group, whether a user's line says so or a group's. */
static void memberships_take(Import *import)
{
    for (size_t i = 0; i < import->file.n; i++) {
        const FileAccount *account = &import->file.accounts[i];
        bool user = account->kind == MAIL__ACCOUNT_KIND__USER;
        for (size_t k = 0; k < account->n_others; k++) {
            char *one =
                user ? membership(account->others[k], account->name) : membership(account->name, account->others[k]);
            names_add(&import->members, one);
        }
    }
    names_sort(&import->members);
}

static Error *against_directory(Import *import)
{
    bool may_exist = line_has(import->cli->line, FLAG_MAY_EXIST);
    Names in_file = {0};

    for (size_t i = 0; i < import->file.n; i++)
        if (import->file.accounts[i].kind == MAIL__ACCOUNT_KIND__USER)
            names_add(&in_file, xstrdup(import->file.accounts[i].name));
    names_sort(&in_file);
    for (size_t i = 0; i < import->file.n; i++) {
        const FileAccount *account = &import->file.accounts[i];
        bool group = account->kind == MAIL__ACCOUNT_KIND__GROUP, there = is_there(import, account);
        if (there && !may_exist)
            people_file_wrong(&import->file, account->line, account, error_new(ERROR_EXISTS, "it exists"));
        for (size_t k = 0; group && k < account->n_others; k++)
            if (!names_have(&in_file, account->others[k]) && !names_have(&import->users, account->others[k]))
                people_file_wrong(&import->file, account->line, account, missing(import, &in_file, account->others[k]));
        import->n_there += there;
        import->n_users += !there && !group;
    }
    names_done(&in_file);
    if (!import->file.n_wrong)
        return NULL;
    Error *err =
        error_new(import->n_there && !may_exist ? ERROR_EXISTS : ERROR_INVALID, "%s: %zu %s wrong, nothing was written",
                  import->file.path, import->file.n_wrong, import->file.n_wrong == 1 ? "line is" : "lines are");
    return import->n_there && !may_exist ? error_hint(err, "--may-exist leaves who is there already as he is") : err;
}

/* ---- writing ---- */

static void progress(Import *import, size_t of)
{
    bool terminal = isatty(STDERR_FILENO);
    Msec now = clock_ms();

    import->done++;
    if (import->cli->form != OUTPUT_TABLE || now < import->said_at + (terminal ? 100 : 10000))
        return;
    import->said_at = now;
    fprintf(stderr, "%s%zu/%zu users and groups%s", terminal ? "\r" : "", import->done, of, terminal ? "" : "\n");
    fflush(stderr);
}

static Error *write_send(Import *import, Mail__DirectoryWrite *write)
{
    Mail__Directory directory = MAIL__DIRECTORY__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    DEFER(envelope_free) Envelope *answer = NULL;

    directory.user_domain = import->user_domain;
    directory.write = write;
    write->has_verb = write->has_kind = write->has_lenient = true;
    envelope.body_case = MAIL__ENVELOPE__BODY_DIRECTORY;
    envelope.directory = &directory;
    return call_one(import->cli, &envelope, true, &answer);
}

static Mail__FieldEdit edit_of(const char *field, Mail__EditOp op, const char *value)
{
    Mail__FieldEdit edit = MAIL__FIELD_EDIT__INIT;

    edit.field = (char *)field;
    edit.has_op = true;
    edit.op = op;
    edit.value = (char *)value;
    return edit;
}

static Error *user_write(Import *import, const FileAccount *account)
{
    Mail__DirectoryWrite write = MAIL__DIRECTORY_WRITE__INIT;
    Mail__FieldEdit full_name = edit_of("full-name", MAIL__EDIT_OP__SET, account->full_name);
    Mail__FieldEdit locked = edit_of("locked", MAIL__EDIT_OP__SET, "yes");
    Mail__FieldEdit *fields[2];

    write.verb = MAIL__VERB__ADD;
    write.kind = MAIL__ACCOUNT_KIND__USER;
    write.name = account->name;
    write.fields = fields;
    if (account->full_name)
        fields[write.n_fields++] = &full_name;
    if (account->locked)
        fields[write.n_fields++] = &locked;
    write.has_password = account->password_size != 0;
    write.password.data = (uint8_t *)(uintptr_t)account->password;
    write.password.len = account->password_size;
    write.has_hashed = write.hashed = account->hashed;
    return write_send(import, &write);
}

/* members: names with commas between them. */
static Error *group_write(Import *import, const char *group, bool add, const char *members)
{
    Mail__DirectoryWrite write = MAIL__DIRECTORY_WRITE__INIT;
    Mail__FieldEdit edit = edit_of("members", add ? MAIL__EDIT_OP__SET : MAIL__EDIT_OP__APPEND, members);
    Mail__FieldEdit *fields[] = {&edit};

    write.verb = add ? MAIL__VERB__ADD : MAIL__VERB__MODIFY;
    write.kind = MAIL__ACCOUNT_KIND__GROUP;
    write.name = (char *)(uintptr_t)group;
    write.fields = fields;
    write.n_fields = *members ? 1 : 0;
    return write_send(import, &write);
}

/* ---- groups: those of the file, and those that users name ---- */

typedef Error *EachGroup(Import *import, const char *group, bool add, const Names *members, size_t line);

/* Members that are not in it yet; 'from' is the first membership of the group, and moves on behind its last one. */
static void members_of(const Import *import, const char *group, size_t *from, Names *ret_new)
{
    size_t len = strlen(group);

    for (; *from < import->members.n; ++*from) {
        char *one = import->members.list[*from];
        if (strncmp(one, group, len) != 0 || one[len] != BETWEEN)
            return;
        if (!names_have(&import->memberships, one))
            names_add(ret_new, one + len + 1);
    }
}

static size_t line_of(const Import *import, const char *group)
{
    for (size_t i = 0; i < import->file.n; i++) {
        const FileAccount *account = &import->file.accounts[i];
        if (account->kind == MAIL__ACCOUNT_KIND__GROUP && strcmp(account->name, group) == 0)
            return account->line;
        for (size_t k = 0; account->kind == MAIL__ACCOUNT_KIND__USER && k < account->n_others; k++)
            if (strcmp(account->others[k], group) == 0)
                return account->line;
    }
    return 0;
}

/* Each that is to be added or gets members, in the order of names. */
static Error *groups_each(Import *import, EachGroup *each)
{
    Names all = {0};
    Error *err = NULL;
    size_t from = 0;

    for (size_t i = 0; i < import->file.n; i++)
        if (import->file.accounts[i].kind == MAIL__ACCOUNT_KIND__GROUP)
            names_add(&all, xstrdup(import->file.accounts[i].name));
    for (size_t i = 0; i < import->members.n; i++)
        names_add(&all,
                  xstrndup(import->members.list[i], strcspn(import->members.list[i], (const char[]){BETWEEN, 0})));
    names_sort(&all);
    for (size_t i = 0; !err && i < all.n; i++) {
        Names members = {0};
        bool add = !names_have(&import->groups, all.list[i]);
        while (from < import->members.n && strncmp(import->members.list[from], all.list[i], strlen(all.list[i])) < 0)
            from++;
        members_of(import, all.list[i], &from, &members);
        if (add || members.n)
            err = each(import, all.list[i], add, &members, line_of(import, all.list[i]));
        free(members.list);
    }
    names_done(&all);
    return err;
}

static Error *group_count(Import *import, const char *group, bool add, const Names *members, size_t line)
{
    (void)group;
    (void)line;
    import->n_groups += add;
    import->n_memberships += members->n;
    return NULL;
}

static Error *group_plan(Import *import, const char *group, bool add, const Names *members, size_t line)
{
    DEFER(buf_done) Buf text = {0};

    (void)line;
    buf_printf(&text, "%c group %s", add ? '+' : '~', group);
    for (size_t i = 0; i < members->n && i < 10; i++)
        buf_printf(&text, "%s%s", i ? "," : add ? " members=" : " members+=", members->list[i]);
    if (members->n > 10)
        buf_printf(&text, " and %zu more", members->n - 10);
    print_text(import->cli->out, buf_text(&text));
    fputc('\n', import->cli->out);
    return NULL;
}

static Error *group_do(Import *import, const char *group, bool add, const Names *members, size_t line)
{
    Error *err = NULL;

    for (size_t i = 0; !err && (i < members->n || (add && !i)); i += MEMBERS_AT_ONCE) {
        DEFER(buf_done) Buf text = {0};
        for (size_t k = i; k < members->n && k < i + MEMBERS_AT_ONCE; k++)
            buf_printf(&text, "%s%s", k > i ? "," : "", members->list[k]);
        err = group_write(import, group, add && !i, buf_text(&text));
    }
    progress(import, import->n_users + import->n_groups);
    return error_in(err, "%s:%zu: group %s", import->file.path, line, group);
}

/* ---- all of it ---- */

static Error *users_do(Import *import)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < import->file.n; i++) {
        const FileAccount *account = &import->file.accounts[i];
        if (account->kind != MAIL__ACCOUNT_KIND__USER || names_have(&import->users, account->name))
            continue;
        err = error_in(user_write(import, account), "%s:%zu: user %s", import->file.path, account->line, account->name);
        progress(import, import->n_users + import->n_groups);
    }
    return err;
}

static void plan_print(Import *import)
{
    for (size_t i = 0; i < import->file.n; i++) {
        const FileAccount *account = &import->file.accounts[i];
        if (account->kind != MAIL__ACCOUNT_KIND__USER || names_have(&import->users, account->name))
            continue;
        DEFER(xfree)
        char *words = xasprintf("+ user %s%s%s%s%s%s", account->name, account->full_name ? " full-name='" : "",
                                account->full_name ? account->full_name : "", account->full_name ? "'" : "",
                                !account->password_size ? ""
                                : account->hashed       ? " password-hash=(hidden)"
                                                        : " password=(hidden)",
                                account->locked ? " locked=yes" : "");
        print_text(import->cli->out, words);
        fputc('\n', import->cli->out);
    }
}

static void sum_print(Import *import, Msec took_ms)
{
    const char *domain = import->user_domain ? import->user_domain : "?";

    if (import->cli->form == OUTPUT_JSON || import->cli->form == OUTPUT_YAML) {
        json_t *document = json_object();
        json_put_number(document, "version", 1);
        json_put_text(document, "user_domain", import->user_domain);
        json_put_number(document, "users", import->n_users);
        json_put_number(document, "groups", import->n_groups);
        json_put_number(document, "memberships", import->n_memberships);
        json_put_number(document, "there", import->n_there);
        json_put_number(document, "left_out", import->file.left_out);
        json_put_number(document, "ms", took_ms);
        print_document(import->cli->out, import->cli->form, &document);
        return;
    }
    DEFER(xfree)
    char *words = xasprintf(
        "%zu users, %zu groups and %zu memberships added to %s; %zu were there, %zu other entries left out (%s)",
        import->n_users, import->n_groups, import->n_memberships, domain, import->n_there, import->file.left_out,
        age_text(took_ms).text);
    print_text(import->cli->out, words);
    fputc('\n', import->cli->out);
}

static Error *write_all(Import *import)
{
    Msec since = clock_ms();
    Error *err = users_do(import);

    import->said_at = since;
    if (!err)
        err = groups_each(import, group_do);
    if (import->said_at > since && isatty(STDERR_FILENO))
        fputc('\n', stderr);
    if (!err)
        sum_print(import, clock_ms() - since);
    return error_hint(err, "%zu of %zu were written before; --may-exist goes on from there",
                      import->done ? import->done - 1 : 0, import->n_users + import->n_groups);
}

Error *run_user_import(Cli *cli, const Line *line, int *ret_exit)
{
    DEFER(import_done) Import import = {.cli = cli, .file = {.path = line->key, .wrong = wrong_say}};

    import.file.context = &import;
    import.said_at = clock_ms();
    Error *err = people_file_read(&import.file);
    if (err)
        return err;
    mode_look(line->key);
    err = directory_read(&import);
    if (!err)
        err = against_directory(&import);
    if (err)
        return err;
    memberships_take(&import);
    err = groups_each(&import, group_count);
    if (err || !line_has(line, FLAG_DRY_RUN))
        return err ? err : write_all(&import);
    *ret_exit = import.n_users || import.n_groups || import.n_memberships ? EXIT_SEEN : 0;
    plan_print(&import);
    return groups_each(&import, group_plan);
}

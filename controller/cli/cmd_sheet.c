/* destination recovery-sheet: what opens the repositories of a destination when there is no controller any more.
 *
 * Text for paper or a safe: values stand as they are, in commands that a shell takes as they stand. */
#include "call.h"
#include "objects.h"

#include "base/alloc.h"
#include "model/secret_field.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Sheet {
    FILE *out;
    const char *name; /* of the destination */
    const Mail__Destination *destination;
    const Mail__SecretsAre *said;
    char **instances;
    size_t n_instances;
} Sheet;

static void sheet_done(Sheet *sheet)
{
    for (size_t i = 0; i < sheet->n_instances; i++)
        free(sheet->instances[i]);
    free(sheet->instances);
}

/* ---- asking ---- */

static Error *instance_take(void *context, const Object *object)
{
    Sheet *sheet = context;

    sheet->instances = xrealloc(sheet->instances, (sheet->n_instances + 1) * sizeof *sheet->instances);
    sheet->instances[sheet->n_instances++] = xstrdup(object->name);
    return NULL;
}

static void listed(void *context)
{
    (void)context;
}

static Error *instances_ask(Cli *cli, Sheet *sheet)
{
    Mail__List list = MAIL__LIST__INIT;

    list.kind = (char *)(uintptr_t) "instance";
    return objects_each(cli, &list, listed, instance_take, sheet);
}

static Error *destination_ask(Cli *cli, const char *name, Envelope **ret_said, Object **ret_object)
{
    Mail__Ref ref = MAIL__REF__INIT;

    ref.kind = (char *)(uintptr_t) "destination";
    ref.name = (char *)(uintptr_t)name;
    Error *err = secrets_ask(cli, &ref, ret_said, ret_object);
    if (!err && (*ret_object)->body_case != MAIL__OBJECT__BODY_DESTINATION)
        err = error_new(ERROR_SYSTEM, "the controller speaks of something else");
    return err;
}

/* Without a NUL at its end: never more than 'len' octets are looked at. */
static const ProtobufCBinaryData *value_of(const Sheet *sheet, uint64_t id)
{
    return secret_value_of(sheet->said, id);
}

/* ---- writing ---- */

/* As a shell takes it: 'it'\''s'. */
static void quoted(FILE *out, const char *text, size_t size)
{
    fputc('\'', out);
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\'')
            fputs("'\\''", out);
        else
            fputc(text[i], out);
    }
    fputc('\'', out);
}

static void quoted_text(FILE *out, const char *text)
{
    quoted(out, text, strlen(text));
}

/* printf adds nothing and understands nothing in what it is given. */
static void file_print(const Sheet *sheet, const char *kind, const void *content, size_t size)
{
    FILE *out = sheet->out;
    bool ended = size && ((const char *)content)[size - 1] == '\n';

    fprintf(out, "printf '%%s%s' ", ended ? "" : "\\n");
    quoted(out, content, size);
    fprintf(out, " > %s.%s\n", sheet->name, kind);
}

static void head_print(const Sheet *sheet)
{
    char when[32] = "";
    time_t now = time(NULL);
    struct tm utc;

    strftime(when, sizeof when, "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &utc));
    fprintf(
        sheet->out,
        "# Recovery sheet of the destination %s, %s\n"
        "#\n"
        "# Who has this sheet reads every message in these backups: keep it on paper or in a safe, and not on the\n"
        "# machines that are backed up.  Make a new one when the destination changes.\n"
        "#\n"
        "# It opens the repositories without a controller, on any machine with restic (0.14 or newer) and a shell.\n"
        "# What follows may be pasted as it stands, in an empty folder that nobody else reads; stay in it.\n\n"
        "umask 077\n",
        sheet->name, when);
}

static void password_print(const Sheet *sheet)
{
    const ProtobufCBinaryData *password = value_of(sheet, sheet->destination->password);

    if (!password) {
        fputs("# The password is not stored any more: set it again, and make a new sheet.\n", sheet->out);
        return;
    }
    file_print(sheet, "password", password->data, password->len);
    fprintf(sheet->out, "export RESTIC_PASSWORD_FILE=%s.password\n", sheet->name);
}

/* Google's login is a file to restic; the line holds what is in it. */
static void variable_print(const Sheet *sheet, const char *name, size_t name_len, const char *value, size_t size)
{
    static const char google[] = "GOOGLE_APPLICATION_CREDENTIALS";

    if (name_len == sizeof google - 1 && memcmp(name, google, name_len) == 0) {
        file_print(sheet, "google.json", value, size);
        fprintf(sheet->out, "export %s=%s.google.json\n", google, sheet->name);
        return;
    }
    fprintf(sheet->out, "export %.*s=", (int)name_len, name);
    quoted(sheet->out, value, size);
    fputc('\n', sheet->out);
}

/* A line NAME=VALUE each. */
static void env_print(const Sheet *sheet)
{
    const ProtobufCBinaryData *env = value_of(sheet, sheet->destination->env);
    const char *at = env ? (const char *)env->data : NULL, *end = env ? at + env->len : NULL;

    while (at && at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((line_end ? line_end : end) - at);
        const char *equals = memchr(at, '=', len);
        if (equals)
            variable_print(sheet, at, (size_t)(equals - at), equals + 1, len - (size_t)(equals - at) - 1);
        at += len + 1;
    }
}

/* [USER@]HOST:PATH or //[USER@]HOST[:PORT]/PATH behind "sftp:", as the model found it good. */
static void ssh_print(const Sheet *sheet)
{
    const char *rest = sheet->destination->repository + strlen("sftp:");
    bool url = strncmp(rest, "//", 2) == 0;
    const char *at = url ? rest + 2 : rest, *sign = strchr(at, '@');
    const char *host = sign ? sign + 1 : at;
    bool brackets = *host == '[';

    host += brackets;
    size_t len = strcspn(host, brackets ? "]" : ":/");
    const char *behind = host + len + brackets;
    fprintf(
        sheet->out,
        "restic() { command restic -o sftp.command=\"ssh -s -o IdentitiesOnly=yes -o UserKnownHostsFile=%s.known_hosts "
        "-i %s.ssh_key",
        sheet->name, sheet->name);
    if (url && *behind == ':')
        fprintf(sheet->out, " -p %.*s", (int)strspn(behind + 1, "0123456789"), behind + 1);
    if (sign)
        fprintf(sheet->out, " -l %.*s", (int)(sign - at), at);
    fprintf(sheet->out, " -- %.*s sftp\" \"$@\"; }\n", (int)len, host);
}

static void login_print(const Sheet *sheet)
{
    const ProtobufCBinaryData *key = value_of(sheet, sheet->destination->ssh_key);
    DEFER(buf_done) Buf hosts = {0};

    env_print(sheet);
    if (key)
        file_print(sheet, "ssh_key", key->data, key->len);
    for (size_t i = 0; i < sheet->destination->n_known_hosts; i++)
        buf_printf(&hosts, "%s\n", sheet->destination->known_hosts[i]);
    if (hosts.size)
        file_print(sheet, "known_hosts", hosts.data, hosts.size);
    if (key && strncmp(sheet->destination->repository, "sftp:", strlen("sftp:")) == 0)
        ssh_print(sheet);
}

static void repositories_print(const Sheet *sheet)
{
    const char *repository = sheet->destination->repository;
    bool rest = strncmp(repository, "rest:", strlen("rest:")) == 0;

    fputs("\n# Each instance has a repository of its own:\n", sheet->out);
    for (size_t i = 0; i < sheet->n_instances; i++) {
        DEFER(xfree) char *url = xasprintf("%s/%s%s", repository, sheet->instances[i], rest ? "/" : "");
        fprintf(sheet->out, "\nexport RESTIC_REPOSITORY=");
        quoted_text(sheet->out, url);
        fprintf(sheet->out, "   # %s\nrestic snapshots\n", sheet->instances[i]);
    }
    if (!sheet->n_instances)
        fprintf(sheet->out, "# (no instance is stated; they lie below %s)\n", repository);
}

/* Sealed, so that what a repository's password opens is mail, and not the cluster. */
static void controller_print(const Sheet *sheet)
{
    const char *key = sheet->said->controller_key;

    if (!key)
        return;
    fputs("\n# What opens the controller's own store, which lies sealed in each snapshot:\n", sheet->out);
    file_print(sheet, "controller_key", key, strlen(key));
}

static void words_print(const Sheet *sheet)
{
    fputs(
        "\n# In a snapshot: /mail/USER/Maildir and /public are the mail as Dovecot keeps it, /state what the instance\n"
        "# was: its objects, its directory as LDIF, what the filter has learned.  All of one user, as files:\n"
        "#     restic restore latest --target ./restored --include /mail/alice\n"
        "# To run mail again: install Mailnode, and bring the controller back as it was when the snapshot was made:\n",
        sheet->out);
    fprintf(sheet->out,
            "#     restic dump latest /state/controller > controller.sealed\n"
            "#     mailctl controller restore controller.sealed password=@%s.controller_key\n"
            "# Or make a new one, and state the destination there with this address and password:\n"
            "#     mailctl destination add %s repository=%s password=@%s.password\n",
            sheet->name, sheet->name, sheet->destination->repository, sheet->name);
}

Error *run_recovery_sheet(Cli *cli, const Line *line, int *ret_exit)
{
    DEFER(sheet_done) Sheet sheet = {.out = cli->out, .name = line->key};
    DEFER(envelope_free) Envelope *said = NULL;
    DEFER(object_free) Object *object = NULL;

    (void)ret_exit;
    if (cli->form != OUTPUT_TABLE)
        return cli_usage(cli, "a recovery sheet is text");
    Error *err = cli_confirm(cli, line->command->loses);
    if (!err)
        err = instances_ask(cli, &sheet);
    if (!err)
        err = destination_ask(cli, line->key, &said, &object);
    if (err)
        return err;
    if (!object || !said)
        return error_new(ERROR_DAMAGED, "the controller answered something else");
    sheet.name = object->name;
    sheet.destination = object->destination;
    sheet.said = said->secrets_are;
    head_print(&sheet);
    password_print(&sheet);
    login_print(&sheet);
    repositories_print(&sheet);
    controller_print(&sheet);
    words_print(&sheet);
    return NULL;
}

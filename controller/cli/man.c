/* The manual page, as it follows from the table of commands and from desired.proto.  Source: mdoc(7). */
#include "cli.h"

#include "base/alloc.h"
#include "model/value.h"

#include <string.h>

/* One line of text: no character of it is roff's. */
static void roff(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
}

/* Each sentence begins a line, as mdoc wants it. */
static void line_of(FILE *out, const char *text)
{
    for (const char *end = NULL; (end = strstr(text, ". ")) != NULL; text = end + 1 + strspn(end + 1, " ")) {
        DEFER(xfree) char *one = xstrndup(text, (size_t)(end + 1 - text));
        roff(out, one);
        fputc('\n', out);
    }
    roff(out, text);
    fputc('\n', out);
}

static void sentence(FILE *out, const char *text)
{
    size_t len = strlen(text);
    DEFER(xfree) char *whole = xasprintf("%s%s", text, len && text[len - 1] == '.' ? "" : ".");

    if (whole[0] >= 'a' && whole[0] <= 'z' && strncmp(whole, "no: ", 4) != 0)
        whole[0] = (char)(whole[0] - 'a' + 'A');
    line_of(out, whole);
}

static void item(FILE *out, const char *head)
{
    fputs(".It Cm \"", out);
    roff(out, head);
    fputs("\"\n", out);
}

static const char head[] =
    ".\\\" Made by 'mailctl man' from the table of commands and from desired.proto: change those.\n"
    ".Dd November 1, 2026\n"
    ".Dt MAILCTL 1\n"
    ".Os Mailnode\n"
    ".Sh NAME\n"
    ".Nm mailctl ,\n"
    ".Nm mailctl-remote\n"
    ".Nd state and watch a cluster of mail nodes\n"
    ".Sh SYNOPSIS\n"
    ".Nm\n"
    ".Op Ar noun\n"
    ".Ar verb\n"
    ".Op Ar key\n"
    ".Op Ar field Ns = Ns Ar value ...\n"
    ".Op Ar flags\n"
    ".Nm mailctl-remote\n"
    ".Fl \\-identity Ar file\n"
    ".Ar ...\n"
    ".Sh DESCRIPTION\n"
    ".Nm\n"
    "tells the controller what shall be, and reports what was observed.\n"
    "A change waits until it is in force on every node that it concerns; when it is not,\n"
    "it says so and ends with 7.\n"
    "Without words it is\n"
    ".Cm status .\n"
    ".Pp\n"
    "Values:\n"
    ".Ar field Ns =\n"
    "clears to the default,\n"
    ".Ar field Ns += Ns Ar value\n"
    "and\n"
    ".Ar field Ns \\-= Ns Ar value\n"
    "edit a list,\n"
    ".Ar field Ns =@ Ns Ar file\n"
    "and\n"
    ".Ar field Ns =\\-\n"
    "read the value from a file or from stdin.\n"
    "A key that begins with a hyphen goes behind\n"
    ".Fl \\- .\n"
    ".Pp\n"
    "Objects of an instance need to be told which:\n"
    ".Fl i ,\n"
    "a key that holds a mail domain, or there is only one instance.\n"
    ".Pp\n"
    ".Nm mailctl-remote\n"
    "does the same from another machine, with a key pair that an\n"
    ".Cm admin\n"
    "entry names.\n"
    "Its identity file is JSON, mode 0600, with the members\n"
    ".Cm secret_key ,\n"
    ".Cm public_key ,\n"
    ".Cm controller_key ,\n"
    ".Cm endpoints\n"
    "and\n"
    ".Cm node .\n";

static const char tail[] = ".Sh ENVIRONMENT\n"
                           "A flag is stronger than a variable, a variable than the file of settings.\n"
                           ".Bl -tag -width Ds\n"
                           ".It Ev MAILCTL_INSTANCE , MAILCTL_OUTPUT , MAILCTL_SOCKET , MAILCTL_IDENTITY\n"
                           "As\n"
                           ".Fl i ,\n"
                           ".Fl o ,\n"
                           ".Fl \\-socket\n"
                           "and\n"
                           ".Fl \\-identity .\n"
                           ".It Ev MAILNODE_ROOT\n"
                           "The folder below which everything lies, normally\n"
                           ".Pa / .\n"
                           ".El\n"
                           ".Sh FILES\n"
                           ".Bl -tag -width Ds\n"
                           ".It Pa ~/.config/mailctl.yaml\n"
                           "Settings:\n"
                           ".Cm instance ,\n"
                           ".Cm output ,\n"
                           ".Cm socket ,\n"
                           ".Cm identity .\n"
                           ".It Pa /run/mailnode/controller/mailctl.sock\n"
                           "Where the controller listens; who you are decides what you may do.\n"
                           ".El\n"
                           ".Sh EXIT STATUS\n"
                           ".Bl -tag -width Ds -compact\n"
                           ".It 0\n"
                           "Done and observed.\n"
                           ".It 1\n"
                           "Worked, and there is something to see: differences, findings, nodes that are not ready.\n"
                           ".It 2\n"
                           "Wrong usage; nothing was sent.\n"
                           ".It 3\n"
                           "Invalid input; nothing changed.\n"
                           ".It 4\n"
                           "Not found; nothing changed.\n"
                           ".It 5\n"
                           "Refused by a daemon's own checker; rolled back.\n"
                           ".It 6\n"
                           "Exists, conflict or denied; nothing changed.\n"
                           ".It 7\n"
                           "Stored, not in force everywhere yet.\n"
                           ".It 8\n"
                           "The controller was not reached; nothing changed.\n"
                           ".It 9\n"
                           "Lost after sending; the outcome is unknown.\n"
                           ".It 10\n"
                           "The machine's fault or ours: system, damage, versions that do not fit.\n"
                           ".It 11\n"
                           "Unavailable; nothing changed, try later.\n"
                           ".It 130\n"
                           "Interrupted; a task goes on.\n"
                           ".El\n"
                           ".Sh EXAMPLES\n"
                           ".Bd -literal\n"
                           "mailctl node add mx1 > mx1.token\n"
                           "mailctl user\\-domain add staff kind=internal node=mx1\n"
                           "mailctl instance add main node=mx1 hostname=mx1.example.org \\e\n"
                           "    user\\-domain=staff mail\\-domain=example.org\n"
                           "mailctl address add info@example.org to=alice,bob\n"
                           "mailctl export > site.yaml\n"
                           "mailctl apply \\-f site.yaml \\-\\-dry\\-run\n"
                           "mailctl status \\-o json\n"
                           ".Ed\n"
                           ".Sh SEE ALSO\n"
                           ".Xr mail-agent 8 ,\n"
                           ".Xr mail-controller 8 ,\n"
                           ".Xr mail-engine 8\n";

static void flags_of(FILE *out, const Command *command)
{
    const char *between = "Flags: ";

    for (size_t i = FLAG_MESSAGE; i < N_FLAGS; i++) {
        if (!command_takes(command, (FlagId)i))
            continue;
        fprintf(out, "%s\\-\\-", between);
        roff(out, flags[i].name);
        between = ", ";
    }
    if (command_takes(command, FLAG_INSTANCE))
        fprintf(out, "%s\\-i", between);
    if (*between == ',' || command_takes(command, FLAG_INSTANCE))
        fputs(".\n", out);
}

static void commands_section(FILE *out)
{
    const char *noun = "";

    fputs(".Sh COMMANDS\n", out);
    for (const Command *command = commands; command->verb; command++) {
        const char *own = command->noun ? command->noun : "The whole state";
        if (command->hidden)
            continue;
        if (strcmp(noun, own) != 0) {
            fputs(*noun ? ".El\n" : "", out);
            fprintf(out, ".Ss %s\n.Bl -tag -width Ds\n", own);
            noun = own;
        }
        DEFER(xfree) char *synopsis = command_synopsis(command);
        item(out, synopsis);
        sentence(out, command->words);
        flags_of(out, command);
    }
    fputs(".El\n", out);
}

static void fields_section(FILE *out)
{
    fputs(".Sh FIELDS\n"
          ".Nm\n"
          ".Cm explain Ar kind.field\n"
          "has type, default and limits of each.\n",
          out);
    for (size_t i = 0; i < n_kinds; i++) {
        const KindInfo *info = kind_info(kinds[i]);
        fprintf(out, ".Ss Fields of %s\n", info->name);
        sentence(out, info->meta->words);
        fputs(".Bl -tag -width Ds\n", out);
        for (size_t f = 0; f < info->meta->n_fields; f++) {
            DEFER(xfree) char *name = field_title(&info->meta->fields[f]);
            item(out, name);
            sentence(out, info->meta->fields[f].words);
        }
        fputs(".El\n", out);
    }
}

static void plain_item(void *context, const char *name, const FieldMeta *meta)
{
    const PlainField *plain = meta ? NULL : plain_field(name);
    FILE *out = context;

    item(out, name);
    sentence(out, plain ? plain->words : "");
}

/* Of what is no object: users and groups. */
static void plain_fields_section(FILE *out)
{
    for (const Command *command = commands; command->verb; command++) {
        if (command->kind || !command->fields || command->edit != MAIL__VERB__ADD || command->run != run_account_change)
            continue;
        fprintf(out, ".Ss Fields of %s\n", command->noun);
        sentence(out, command->words);
        fputs(".Bl -tag -width Ds\n", out);
        command_each_field(command, out, plain_item);
        fputs(".El\n", out);
    }
}

static void flags_section(FILE *out)
{
    fputs(".Sh FLAGS\n.Bl -tag -width Ds\n", out);
    for (size_t i = 0; i < N_FLAGS; i++) {
        fputs(".It", out);
        if (flags[i].letter)
            fprintf(out, " Fl %c ,", flags[i].letter);
        fputs(" Fl \\-", out);
        roff(out, flags[i].name);
        if (flags[i].value)
            fprintf(out, " Ar %s", flags[i].value);
        fputc('\n', out);
        sentence(out, flags[i].words);
    }
    fputs(".El\n", out);
}

Error *run_man(Cli *cli, const Line *line, int *ret_exit)
{
    (void)line;
    (void)ret_exit;
    fputs(head, cli->out);
    commands_section(cli->out);
    fields_section(cli->out);
    plain_fields_section(cli->out);
    flags_section(cli->out);
    fputs(tail, cli->out);
    return NULL;
}

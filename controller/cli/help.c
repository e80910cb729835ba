#include "help.h"

#include "cli.h"

#include "base/alloc.h"

#include <string.h>

static void everything(FILE *out)
{
    fputs("mailctl NOUN VERB KEY [FIELD=VALUE...] [--flags]\n\n"
          "  mailctl status\n"
          "  mailctl address add info@example.org to=alice,bob\n"
          "  mailctl mailbox set alice quota=5G\n"
          "  mailctl apply -f site.yaml --dry-run\n\n",
          out);
    const char *noun = NULL;
    for (const Command *command = commands; command->verb; command++) {
        if (command->hidden)
            continue;
        if (!command->noun) {
            if (noun)
                fputc('\n', out);
            noun = NULL;
            fprintf(out, "%-13s %s\n", command->verb, command->words);
        } else if (noun && strcmp(noun, command->noun) == 0) {
            fprintf(out, " %s", command->verb);
        } else {
            fprintf(out, "%s%-13s %s", noun ? "\n" : "", command->noun, command->verb);
            noun = command->noun;
        }
    }
    fputs("\nmailctl help NOUN: its verbs; NOUN VERB --help: one verb; explain NOUN.FIELD: one field.\n", out);
}

static void field_print(void *context, const char *name, const FieldMeta *meta)
{
    FILE *out = context;
    DEFER(buf_done) Buf left = {0};

    for (const char *c = name; *c; c++)
        buf_append(&left, *c == '_' ? "-" : c, 1);
    buf_append_text(&left, "=");
    const PlainField *plain = meta ? NULL : plain_field(name);
    const char *words = meta ? meta->words : plain ? plain->words : "";
    fprintf(out, "  %-22s %s\n", buf_text(&left), words);
}

static void one(FILE *out, const Command *command)
{
    DEFER(xfree) char *synopsis = command_synopsis(command);

    fprintf(out, "mailctl %s\n  %s\n\n  mailctl %s\n", synopsis, command->words, command->example);
    if (command->fields) {
        fputc('\n', out);
        command_each_field(command, out, field_print);
    }
    fputc('\n', out);
    for (size_t i = 0; i < N_FLAGS; i++) {
        if (!command_takes(command, (FlagId)i) || i == FLAG_SOCKET || i == FLAG_IDENTITY || i == FLAG_VERSION)
            continue;
        DEFER(xfree)
        char *left = xasprintf("%s%c%s --%s %s", flags[i].letter ? "-" : " ", flags[i].letter ? flags[i].letter : ' ',
                               flags[i].letter ? "," : " ", flags[i].name, flags[i].value ? flags[i].value : "");
        fprintf(out, "  %-24s %s\n", left, flags[i].words);
    }
}

static void of_noun(FILE *out, const char *noun)
{
    for (const Command *command = commands; command->verb; command++)
        if (command->noun && strcmp(command->noun, noun) == 0)
            fprintf(out, "  mailctl %s\n", command->example);
    fputc('\n', out);
    for (const Command *command = commands; command->verb; command++)
        if (command->noun && strcmp(command->noun, noun) == 0) {
            DEFER(xfree) char *synopsis = command_synopsis(command);
            fprintf(out, "%s\n    %s\n", synopsis, command->words);
        }
    fprintf(out, "\nmailctl %s VERB --help has its fields and flags.\n", noun);
}

void help_print(FILE *out, const char *noun, const char *verb)
{
    const Command *command = noun ? command_find(NULL, noun) : NULL;

    if (!command && noun && verb)
        command = command_find(noun, verb);
    if (command && !command->hidden)
        one(out, command);
    else if (noun && command_noun_known(noun))
        of_noun(out, noun);
    else
        everything(out);
}

Error *run_help(Cli *cli, const Line *line, int *ret_exit)
{
    (void)ret_exit;
    if (line->key && !command_noun_known(line->key) && !command_find(NULL, line->key)) {
        const char *near = command_nearest(NULL, line->key);
        Error *err = cli_usage(cli, "unknown command '%s'", line->key);
        return near ? error_hint(err, "did you mean %s?", near) : err;
    }
    help_print(cli->out, line->key, NULL);
    return NULL;
}

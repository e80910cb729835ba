#include "cli.h"

#include "help.h"

#include "base/alloc.h"
#include "base/path.h"
#include "base/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, EXIT_SYSTEM = 10, EXIT_READER_GONE = 128 + SIGPIPE };

Error *cli_usage(Cli *cli, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    DEFER(xfree) char *what = xvasprintf(format, args);
    va_end(args);
    cli->exit = EXIT_USAGE;
    return error_new(ERROR_INVALID, "%s", what);
}

const char *cli_instance(const Cli *cli)
{
    return line_has(cli->line, FLAG_INSTANCE) ? cli->line->given[FLAG_INSTANCE]
                                              : setting_get(&cli->settings, SETTING_INSTANCE);
}

Error *cli_confirm(Cli *cli, const char *what)
{
    static const char refused[] = "not confirmed, nothing was changed";
    char answer[16] = "";

    if (line_has(cli->line, FLAG_YES))
        return NULL;
    if (!isatty(STDIN_FILENO))
        return error_hint(cli_usage(cli, "without a terminal it needs --yes (%s)", what), "the same with --yes");
    cli_interrupted_says(refused); /* not what was begun before: that has ended */
    print_text(stderr, what);
    fputs("\nGo on? [y/N] ", stderr);
    fflush(stderr);
    bool yes = fgets(answer, sizeof answer, stdin) && (*answer == 'y' || *answer == 'Y');
    signal(SIGINT, SIG_DFL);
    return yes ? NULL : cli_usage(cli, "%s", refused);
}

Error *cli_flush(Cli *cli)
{
    errno = 0;
    if (fflush(cli->out) == 0 && !ferror(cli->out))
        return NULL;
    if (errno == EPIPE)
        _exit(EXIT_READER_GONE); /* as SIGPIPE would, which is ignored for the socket's sake */
    cli->exit = EXIT_SYSTEM;
    return error_system("stdout");
}

static char interrupted_words[256];

static void on_interrupt(int signal_number)
{
    ssize_t written = write(STDERR_FILENO, interrupted_words, strlen(interrupted_words));

    (void)written;
    _exit(128 + signal_number);
}

void cli_interrupted_says(const char *words)
{
    DEFER(xfree) char *shown = escaped(words);

    snprintf(interrupted_words, sizeof interrupted_words, "\n%s\n", shown);
    signal(SIGINT, on_interrupt);
}

/* ---- failures ---- */

/* "address add: address info@example.org: ..." says its noun twice. */
static const char *without_noun(const Cli *cli, const char *what)
{
    const Command *command = cli->line ? cli->line->command : NULL;
    DEFER(xfree) char *title = command ? command_title(command) : xstrdup("");
    size_t len = strlen(title);

    if (!command || !command->noun || strncmp(what, title, len) != 0 || strncmp(what + len, ": ", 2) != 0)
        return NULL;
    const char *rest = what + len + 2;
    size_t noun = strlen(command->noun);
    return strncmp(rest, command->noun, noun) == 0 && rest[noun] == ' ' ? rest + noun + 1 : NULL;
}

/* A checker's or restic's own words stand below, line by line, always indented; anybody else's line ends are escaped. */
static void what_print(const Cli *cli, const Error *err)
{
    bool lines = err->code == ERROR_REFUSED || has_words_below(err->what);
    const char *rest = without_noun(cli, err->what);
    DEFER(xfree) char *what = xstrdup(err->what);

    fprintf(stderr, "%s: ", cli->program->name);
    if (rest && cli->line) {
        free(what);
        DEFER(xfree) char *title = command_title(cli->line->command);
        what = xasprintf("%s: %s", title, rest);
    }
    if (lines) {
        print_lines(stderr, what);
    } else {
        print_text(stderr, what);
        fputc('\n', stderr);
    }
    if (err->hint) {
        fputs("hint: ", stderr);
        print_text(stderr, err->hint);
        fputc('\n', stderr);
    }
}

static const char *code_name(const Error *err, int code)
{
    switch (code) {
    case 2:
        return "usage";
    case 8:
        return "unreached";
    case 9:
        return "lost";
    default:
        return error_code_name(err->code);
    }
}

int cli_fail(const Cli *cli, Error **err)
{
    int code = cli->exit ? cli->exit : exit_code((*err)->code);

    what_print(cli, *err);
    if (cli->form == OUTPUT_JSON) {
        json_t *error = json_object();
        json_put_text(error, "code", code_name(*err, code));
        json_put_text(error, "what", (*err)->what);
        json_put_text(error, "hint", (*err)->hint);
        json_put_number(error, "exit", (uint64_t)code);
        json_t *line = json_pack("{s:o}", "error", error);
        print_json_line(stderr, &line);
    }
    error_free(err);
    return code;
}

/* ---- one run ---- */

static Error *run(Cli *cli, int *ret_exit)
{
    const Line *line = cli->line;

    if (line_has(line, FLAG_VERSION)) {
        fprintf(cli->out, "%s %s\n", cli->program->name, MAILNODE_RELEASE);
        return NULL;
    }
    if (line_has(line, FLAG_HELP)) {
        help_print(cli->out, line->n_words > 0 ? line->words[0] : NULL, line->n_words > 1 ? line->words[1] : NULL);
        return NULL;
    }
    DEFER(xfree) char *title = command_title(line->command);
    Error *err = line->command->run(cli, line, ret_exit);
    if (cli->opened)
        cli->transport.close(cli->transport.self);
    return error_in(err, "%s", title);
}

/* The form is wanted before anything can go wrong, so that errors have it. */
static Error *settle(Cli *cli, int argc, char **argv, Line **ret_line)
{
    const char *form = line_output(argc, argv);
    bool usage = false;

    Error *err = form ? output_form(form, &cli->form) : NULL;
    error_free(&err); /* said again below, when the settings are there */
    err = path_root_check(cli->root);
    if (!err)
        err = settings_load(cli->root, &cli->settings);
    if (err) {
        cli->exit = EXIT_USAGE;
        return err;
    }
    if (form)
        setting_put(&cli->settings, SETTING_OUTPUT, form, "--output");
    err = output_form(setting_get(&cli->settings, SETTING_OUTPUT), &cli->form);
    usage = err != NULL;
    if (!err)
        err = line_parse(argc, argv, ret_line, &usage);
    if (usage && err)
        cli->exit = EXIT_USAGE;
    return err;
}

static void flags_to_settings(Cli *cli)
{
    static const struct {
        FlagId flag;
        SettingId setting;
        const char *from;
    } pairs[] = {{FLAG_SOCKET, SETTING_SOCKET, "--socket"},
                 {FLAG_INSTANCE, SETTING_INSTANCE, "--instance"},
                 {FLAG_IDENTITY, SETTING_IDENTITY, "--identity"}};

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (line_has(cli->line, pairs[i].flag))
            setting_put(&cli->settings, pairs[i].setting, cli->line->given[pairs[i].flag], pairs[i].from);
}

int cli_main(int argc, char **argv, const CliProgram *program)
{
    const char *root = getenv("MAILNODE_ROOT");
    Cli cli = {.program = program, .root = root && *root ? root : "/", .out = stdout};
    DEFER(line_free) Line *line = NULL;
    int code = 0;

    proc_start(program->name);
    signal(SIGPIPE, SIG_IGN);
    Error *err = settle(&cli, argc - 1, argv + 1, &line);
    if (!err) {
        cli.line = line;
        flags_to_settings(&cli);
        err = run(&cli, &code);
    }
    Error *unwritten = cli_flush(&cli);
    if (err)
        error_free(&unwritten);
    else
        err = unwritten;
    if (err)
        code = cli_fail(&cli, &err);
    settings_done(&cli.settings);
    return code;
}

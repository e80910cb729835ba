#include "line.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/utf8.h"
#include "model/amount.h"
#include "model/nearest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void line_free(Line **line)
{
    if (!*line)
        return;
    for (size_t i = 0; i < (*line)->n_fields; i++) {
        free((*line)->fields[i].field);
        free((*line)->fields[i].value);
    }
    free((*line)->fields);
    for (size_t i = 0; i < (*line)->n_secrets; i++)
        free((*line)->secrets[i].field);
    free((*line)->joined);
    free((void *)(*line)->all);
    free(*line);
    *line = NULL;
}

bool line_has(const Line *line, FlagId flag)
{
    return line->given[flag] != NULL;
}

const char *line_secret_from(const Line *line)
{
    return line->n_secrets ? line->secrets[0].from : NULL;
}

Error *number_parse(const char *text, uint64_t *ret_number)
{
    char *end = NULL;

    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno)
        return error_new(ERROR_INVALID, "'%s' is no number", text);
    *ret_number = number;
    return NULL;
}

Error *span_parse(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}};
    DEFER(xfree) char *digits = xstrndup(text, strspn(text, "0123456789"));
    const char *unit = text + strlen(digits);
    uint64_t number = 0;

    for (size_t i = 0; i < sizeof units / sizeof *units && *digits && strlen(digits) < 10; i++)
        if (strcmp(units[i].unit, unit) == 0) {
            Error *err = number_parse(digits, &number);
            *ret_ms = number * units[i].ms;
            return err;
        }
    return error_hint(error_new(ERROR_INVALID, "'%s' is no span of time", text), "write 500ms, 30s, 5m or 2h");
}

/* In the local time of whoever asks. */
Error *moment_parse(const char *text, bool day_end, uint64_t *ret_s)
{
    static const char *const forms[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M",
                                        "%Y-%m-%d"};
    enum { N = sizeof forms / sizeof *forms };
    uint64_t ago = 0, now = (uint64_t)time(NULL);

    for (size_t i = 0; i < N; i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *end = strptime(text, forms[i], &tm);
        if (!end || *end)
            continue;
        if (i == N - 1 && day_end)
            tm.tm_hour = 23, tm.tm_min = tm.tm_sec = 59;
        time_t when = mktime(&tm);
        *ret_s = when > 0 ? (uint64_t)when : 0;
        return NULL;
    }
    Error *err = amount_read(MAIL__FIELD_TYPE__SPAN, text, &ago);
    if (!err) {
        *ret_s = ago < now ? now - ago : 0;
        return NULL;
    }
    error_free(&err);
    return error_new(ERROR_INVALID, "'%s': write 2026-11-17, '2026-11-17 14:30' or 2h, so long ago", text);
}

Error *range_parse(const char *text, uint64_t *ret_from, uint64_t *ret_to)
{
    const char *dots = strstr(text, "..");
    uint64_t from = 0, to = 0;
    Error *err = NULL;

    if (dots) {
        DEFER(xfree) char *first = xstrndup(text, (size_t)(dots - text));
        err = number_parse(first, &from);
        if (!err && dots[2])
            err = number_parse(dots + 2, &to);
    }
    if (!dots || err) {
        error_free(&err);
        return error_hint(error_new(ERROR_INVALID, "'%s' is no range of revisions", text), "write 41..43, or 41..");
    }
    *ret_from = from;
    *ret_to = to;
    return NULL;
}

/* ---- flags ---- */

static bool flag_by_name(const char *name, size_t len, FlagId *ret_flag)
{
    for (size_t i = 0; i < N_FLAGS; i++)
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0) {
            *ret_flag = (FlagId)i;
            return true;
        }
    return false;
}

static bool flag_by_letter(char letter, FlagId *ret_flag)
{
    for (size_t i = 0; i < N_FLAGS; i++)
        if (flags[i].letter == letter) {
            *ret_flag = (FlagId)i;
            return true;
        }
    return false;
}

static Error *flag_unknown(const char *word)
{
    Nearest nearest;

    nearest_init(&nearest, word + strspn(word, "-"));
    for (size_t i = 0; i < N_FLAGS; i++)
        nearest_offer(&nearest, flags[i].name);
    /* Without what stands behind '=': it may be a secret. */
    Error *err = error_new(ERROR_INVALID, "unknown flag %.*s", (int)strcspn(word, "="), word);
    if (nearest_found(&nearest))
        return error_hint(err, "did you mean --%s?", nearest_found(&nearest));
    return error_hint(err, "a key that begins with - goes behind --");
}

/* argv[*at] is a flag: takes it, and its value, which may be the next word. */
static Error *flag_take(Line *line, int argc, char **argv, int *at)
{
    const char *word = argv[*at], *value = NULL;
    bool is_long = word[1] == '-';
    size_t len = is_long ? strcspn(word + 2, "=") : 1;
    FlagId flag = N_FLAGS;

    if (is_long ? !flag_by_name(word + 2, len, &flag) : !flag_by_letter(word[1], &flag))
        return flag_unknown(word);
    if (is_long && word[2 + len] == '=')
        value = word + 2 + len + 1;
    else if (!is_long && word[2])
        value = word + 2;
    if (!flags[flag].value) {
        if (value)
            return error_new(ERROR_INVALID, "--%s takes no value", flags[flag].name);
        line->given[flag] = "";
        return NULL;
    }
    if (!value && *at + 1 < argc)
        value = argv[++*at];
    if (!value)
        return error_new(ERROR_INVALID, "--%s: %s is missing", flags[flag].name, flags[flag].value);
    if (line->given[flag])
        return error_new(ERROR_INVALID, "--%s is there twice", flags[flag].name);
    line->given[flag] = value;
    return NULL;
}

static Error *words_take(Line *line, int argc, char **argv, size_t *ret_n)
{
    bool only_words = false;
    size_t n = 0;

    line->all = xcalloc((size_t)argc + 1, sizeof *line->all);
    for (int i = 0; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1]) {
            Error *err = flag_take(line, argc, argv, &i);
            if (err)
                return err;
        } else {
            line->all[n++] = argv[i];
        }
    }
    *ret_n = n;
    return NULL;
}

const char *line_output(int argc, char **argv)
{
    const char *found = NULL;

    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        bool apart = strcmp(argv[i], "-o") == 0 || strcmp(argv[i], "--output") == 0;
        if (apart && i + 1 < argc)
            found = argv[++i];
        else if (strncmp(argv[i], "--output=", 9) == 0)
            found = argv[i] + 9;
        else if (strncmp(argv[i], "-o", 2) == 0 && !apart)
            found = argv[i] + 2;
    }
    return found;
}

/* ---- fields ---- */

static Error *value_read(int fd, const char *name, char **ret_value)
{
    DEFER(buf_done) Buf content = {0};
    ssize_t got;

    buf_init(&content, LINE_VALUE_MAX + 1);
    for (;;) {
        uint8_t *room = buf_reserve(&content, 4096);
        if (!room)
            return error_new(ERROR_INVALID, "%s: over %d octets", name, LINE_VALUE_MAX - 4096);
        got = read(fd, room, 4096);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        content.size += (size_t)got;
    }
    if (got < 0)
        return error_system("%s", name);
    if (content.size && content.data[content.size - 1] == '\n')
        content.size--;
    if (memchr(content.data ? content.data : (uint8_t *)"", '\0', content.size) ||
        !utf8_valid((const char *)content.data, content.size))
        return error_new(ERROR_INVALID, "%s: not UTF-8", name);
    *ret_value = xstrdup(buf_text(&content));
    return NULL;
}

/* "@FILE" and "-" name where the value is; anything else is the value. */
static Error *value_of(const char *text, char **ret_value)
{
    if (strcmp(text, "-") == 0)
        return value_read(STDIN_FILENO, "stdin", ret_value);
    if (*text != '@') {
        *ret_value = xstrdup(text);
        return NULL;
    }
    int fd = open(text + 1, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return error_new(ERROR_NOT_FOUND, "%s does not exist", text + 1);
    if (fd < 0)
        return error_system("%s", text + 1);
    Error *err = value_read(fd, text + 1, ret_value);
    close(fd);
    return err;
}

static Error *field_unknown(const Command *command, const char *field)
{
    const char *near = command_field_nearest(command, field);
    Error *err = error_new(ERROR_INVALID, "unknown field '%s'", field);

    if (near)
        return error_hint(err, "did you mean %s=?", near);
    return command->kind ? error_hint(err, "mailctl explain %s", command->kind) : err;
}

/* Others of the machine see the words of a command, and the shell keeps them: a secret that came so is not taken, and not
 * said again.  Where it is, is enough here: the command reads it. */
static Error *secret_take(Line *line, const char *field, bool edits, const char *text)
{
    bool from = strcmp(text, "-") == 0 || (*text == '@' && text[1]);

    for (size_t i = 0; !edits && from && i < line->n_secrets; i++) {
        if (line->n_secrets == LINE_SECRETS_MAX || strcmp(line->secrets[i].field, field) == 0)
            return error_new(ERROR_INVALID, "%s is there twice", field);
        if (!command_meta(line->command)) /* of a person there is one or the other */
            return error_new(ERROR_INVALID, "%s: %s is there, too", field, line->secrets[i].field);
        if (strcmp(text, "-") == 0 && strcmp(line->secrets[i].from, "-") == 0)
            return error_new(ERROR_INVALID, "%s and %s: only one can come from stdin", line->secrets[i].field, field);
    }
    if (!edits && from) {
        line->secrets[line->n_secrets++] = (LineSecret){.from = text, .field = xstrdup(field)};
        return NULL;
    }
    Error *err = *text ? error_new(ERROR_INVALID, "%s: not on the command line, where others can see it", field)
                       : error_new(ERROR_INVALID, "%s: it cannot be empty", field);
    return error_hint(err, "%s=@FILE, or %s=- for stdin or to be asked", field, field);
}

static Error *field_take(Line *line, const char *word, bool *ret_usage)
{
    const char *equals = strchr(word, '=');
    if (!equals || equals == word)
        return error_hint(error_new(ERROR_INVALID, "stray word '%s'", word),
                          line->command->fields ? "fields are written FIELD=VALUE" : "mailctl help");

    bool append = equals[-1] == '+', take = equals[-1] == '-';
    DEFER(xfree) char *field = xstrndup(word, (size_t)(equals - word) - (append || take));
    if (!line->command->fields)
        return error_new(ERROR_INVALID, "it takes no fields, and '%s=' is there", field);
    if (!*field || !command_has_field(line->command, field))
        return field_unknown(line->command, field);
    bool clears = command_meta(line->command) && !append && !take && !equals[1]; /* of an object: not set any more */
    if (command_field_secret(line->command, field) && !clears)
        return secret_take(line, field, append || take, equals + 1);
    if ((append || take) && !equals[1])
        return error_new(ERROR_INVALID, "%s%c=: a value is missing", field, equals[-1]);

    *ret_usage = false; /* from here on it is the value that is wrong */
    DEFER(xfree) char *value = NULL;
    Error *err = NULL;
    if (command_field_as_is(line->command, field))
        value = xstrdup(equals + 1);
    else
        err = value_of(equals + 1, &value);
    if (err)
        return error_in(err, "%s", field);
    *ret_usage = true;

    line->fields = xrealloc(line->fields, (line->n_fields + 1) * sizeof *line->fields);
    Mail__FieldEdit *edit = &line->fields[line->n_fields++];
    mail__field_edit__init(edit);
    edit->has_op = 1;
    edit->op = append ? MAIL__EDIT_OP__APPEND : take ? MAIL__EDIT_OP__TAKE : MAIL__EDIT_OP__SET;
    if (edit->op == MAIL__EDIT_OP__SET && (!value || !*value))
        edit->op = MAIL__EDIT_OP__CLEAR;
    edit->field = field;
    field = NULL;
    if (edit->op != MAIL__EDIT_OP__CLEAR) {
        edit->value = value;
        value = NULL;
    }
    return NULL;
}

/* ---- the whole line ---- */

static Error *verb_missing(const char *noun)
{
    DEFER(buf_done) Buf verbs = {0};

    for (const Command *command = commands; command->verb; command++)
        if (command->noun && strcmp(command->noun, noun) == 0)
            buf_printf(&verbs, "%s%s", verbs.size ? ", " : "", command->verb);
    return error_hint(error_new(ERROR_INVALID, "%s: a verb is missing", noun), "%s", buf_text(&verbs));
}

/* Where the key may be left out: is it a field?  A Message-ID may have a '=', too. */
static bool is_field(const Command *command, const char *word)
{
    const char *equals = strchr(word, '=');
    bool edits = equals && equals > word && (equals[-1] == '+' || equals[-1] == '-');
    DEFER(xfree) char *name = equals ? xstrndup(word, (size_t)(equals - word) - edits) : NULL;

    return name && command->key_optional && command->fields && command_has_field(command, name);
}

/* Finds the command; *ret_used words named it. */
static Error *command_of(Line *line, size_t n, size_t *ret_used)
{
    const char *noun = n > 0 ? line->all[0] : "status", *verb = n > 1 ? line->all[1] : NULL;
    const char *near = NULL;

    line->command = command_find(NULL, noun);
    *ret_used = n > 0 ? 1 : 0;
    if (line->command)
        return NULL;
    if (!command_noun_known(noun)) {
        near = command_nearest(NULL, noun);
        Error *err = error_new(ERROR_INVALID, "unknown command '%s'", noun);
        return near ? error_hint(err, "did you mean %s?", near) : error_hint(err, "mailctl help");
    }
    if (!verb)
        return verb_missing(noun);
    *ret_used = 2;
    line->command = command_find(noun, verb);
    if (line->command)
        return NULL;
    near = command_nearest(noun, verb);
    Error *err = error_new(ERROR_INVALID, "%s: unknown verb '%s'", noun, verb);
    return near ? error_hint(err, "did you mean %s %s?", noun, near) : error_hint(err, "mailctl help %s", noun);
}

static Error *rest_of(Line *line, bool *ret_usage)
{
    const Command *command = line->command;
    size_t at = 0;

    for (size_t i = 0; i < N_FLAGS; i++)
        if (line->given[i] && !command_takes(command, (FlagId)i))
            return error_new(ERROR_INVALID, "it takes no --%s", flags[i].name);
    if (command->run == run_complete)
        return NULL;
    if (command->key && at < line->n_words && !is_field(command, line->words[at]))
        line->key = line->words[at++];
    /* "relay add recipient example.com": type and subject are one name. */
    if (line->key && command->noun && strcmp(command->noun, "relay") == 0 && at < line->n_words &&
        !strchr(line->words[at], '=') && !strchr(line->key, '/')) {
        line->joined = xasprintf("%s/%s", line->key, line->words[at++]);
        line->key = line->joined;
    }
    if (command->key && !command->key_optional && (!line->key || !*line->key))
        return error_hint(error_new(ERROR_INVALID, "%s is missing", command->key), "mailctl %s", command->example);
    while (at < line->n_words) {
        Error *err = field_take(line, line->words[at++], ret_usage);
        if (err)
            return err;
    }
    return NULL;
}

Error *line_parse(int argc, char **argv, Line **ret_line, bool *ret_usage)
{
    DEFER(line_free) Line *line = xcalloc(1, sizeof *line);
    size_t n = 0, used = 0;

    *ret_usage = false;
    for (int i = 0; i < argc; i++)
        if (!utf8_valid(argv[i], strlen(argv[i])))
            return error_new(ERROR_INVALID, "'%s' is not UTF-8", argv[i]);
    *ret_usage = true;
    Error *err = words_take(line, argc, argv, &n);
    if (!err)
        err = command_of(line, n, &used);
    if (err && (!line_has(line, FLAG_HELP) && !line_has(line, FLAG_VERSION)))
        return err;
    if (err || line_has(line, FLAG_HELP) || line_has(line, FLAG_VERSION)) {
        error_free(&err);
        line->words = line->all;
        line->n_words = n;
        *ret_line = line;
        line = NULL;
        return NULL;
    }
    line->words = line->all + used;
    line->n_words = n - used;
    err = rest_of(line, ret_usage);
    if (err) {
        DEFER(xfree) char *title = command_title(line->command);
        return error_in(err, "%s", title);
    }
    *ret_line = line;
    line = NULL;
    return NULL;
}

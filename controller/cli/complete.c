/* completion: the scripts for shells, and what they ask us at every TAB.
 *
 * Keys come live from the controller, within LIVE_MS or not at all.
 */
#include "accounts.h"
#include "objects.h"

#include "base/alloc.h"
#include "model/value.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { LIVE_MS = 200, LIVE_MAX = 200 };

/* bash cuts words at = : @, and puts what we say behind the last cut. */
static const char bash_script[] = "_mailctl() {\n"
                                  "    local line=${COMP_LINE:0:COMP_POINT} words word cut IFS\n"
                                  "    read -ra words <<<\"$line\"\n"
                                  "    [[ $line == *[[:space:]] ]] && words+=(\"\")\n"
                                  "    word=${words[-1]}\n"
                                  "    IFS=$'\\n'\n"
                                  "    COMPREPLY=($(\"${words[0]}\" complete -- \"${words[@]:1}\" 2>/dev/null))\n"
                                  "    cut=${word%\"${word##*[=:@]}\"}\n"
                                  "    COMPREPLY=(\"${COMPREPLY[@]#\"$cut\"}\")\n"
                                  "    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n"
                                  "    return 0\n"
                                  "}\n"
                                  "complete -F _mailctl mailctl mailctl-remote\n";
static const char zsh_script[] =
    "#compdef mailctl mailctl-remote\n"
    "_mailctl() {\n"
    "    local -a found\n"
    "    found=(\"${(@f)$($words[1] complete -- \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
    "    compadd -S '' -- ${(M)found:#*=}\n"
    "    compadd -- ${found:#*=}\n"
    "}\n"
    "compdef _mailctl mailctl mailctl-remote\n";
static const char fish_script[] = "function __mailctl\n"
                                  "    set -l words (commandline -opc)\n"
                                  "    $words[1] complete -- $words[2..] (commandline -ct) 2>/dev/null\n"
                                  "end\n"
                                  "complete -c mailctl -f -a '(__mailctl)'\n"
                                  "complete -c mailctl-remote -f -a '(__mailctl)'\n";

Error *run_completion(Cli *cli, const Line *line, int *ret_exit)
{
    static const struct {
        const char *shell, *script;
    } scripts[] = {{"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};

    (void)ret_exit;
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
        if (strcmp(scripts[i].shell, line->key) == 0) {
            fputs(scripts[i].script, cli->out);
            return NULL;
        }
    return error_hint(cli_usage(cli, "unknown shell '%s'", line->key), "bash, zsh or fish");
}

/* ---- what may follow ---- */

typedef struct Wanted {
    Cli *cli;
    const char *prefix;         /* what stands there already */
    const char *before;         /* goes before each answer: "to=alice," */
    const char *said[LIVE_MAX]; /* so far, without doubles; literals and names from tables only */
    size_t n_said;
} Wanted;

static void offer(Wanted *wanted, const char *word, const char *behind)
{
    if (strncmp(word, wanted->prefix, strlen(wanted->prefix)) != 0)
        return;
    print_text(wanted->cli->out, wanted->before);
    print_text(wanted->cli->out, word);
    fprintf(wanted->cli->out, "%s\n", behind);
}

static void offer_once(Wanted *wanted, const char *word)
{
    for (size_t i = 0; i < wanted->n_said; i++)
        if (strcmp(wanted->said[i], word) == 0)
            return;
    if (wanted->n_said < LIVE_MAX)
        wanted->said[wanted->n_said++] = word;
    offer(wanted, word, "");
}

static void nothing_more(int signal_number)
{
    (void)signal_number;
    _exit(0);
}

static void begin_nothing(void *context)
{
    (void)context;
}

static Error *offer_name(void *context, const Object *object)
{
    offer(context, object_ref(object).name, "");
    return NULL;
}

/* A controller that does not answer in time ends the program: the shell then has what was said. */
static void live_begin(const Wanted *wanted)
{
    const struct itimerval limit = {.it_value = {.tv_usec = LIVE_MS * 1000}};

    fflush(wanted->cli->out);
    signal(SIGALRM, nothing_more);
    setitimer(ITIMER_REAL, &limit, NULL);
}

/* Names of objects. */
static void offer_live(Wanted *wanted, const char *kind)
{
    Mail__List list = MAIL__LIST__INIT;

    live_begin(wanted);
    list.kind = (char *)kind;
    list.prefix = (char *)wanted->prefix;
    list.has_limit = 1;
    list.limit = LIVE_MAX;
    Error *err = objects_each(wanted->cli, &list, begin_nothing, offer_name, wanted);
    error_free(&err); /* no names, then */
    wanted->cli->exit = 0;
}

static void offer_account(void *context, const Mail__Account *account)
{
    offer(context, account->name ? account->name : "", "");
}

/* Names in order: those that begin so are behind the beginning itself. */
static void offer_accounts(Wanted *wanted, Mail__AccountKind kind)
{
    live_begin(wanted);
    Error *err = accounts_each(wanted->cli, kind, NULL, *wanted->prefix ? wanted->prefix : NULL, LIVE_MAX,
                               offer_account, wanted, NULL);
    error_free(&err);
    wanted->cli->exit = 0;
}

static void offer_field(void *context, const char *name, const FieldMeta *meta)
{
    char *shown = xstrdup(name);

    (void)meta;
    for (char *c = shown; *c; c++)
        *c = (char)(*c == '_' ? '-' : *c);
    offer(context, shown, "=");
    free(shown);
}

/* "locked=", "members=alice,b": of fields that are no object's. */
static void offer_plain_values(Wanted *wanted, const Command *command, const char *name, const char *word,
                               const char *from)
{
    const PlainField *plain = command_has_field(command, name) ? plain_field(name) : NULL;
    const char *comma = strrchr(from, ',');

    if (!plain)
        return;
    if (plain->list && comma)
        from = comma + 1;
    DEFER(xfree) char *before = xstrndup(word, (size_t)(from - word));
    DEFER(xfree) char *values = xstrdup(plain->values ? plain->values : "");
    wanted->prefix = from;
    wanted->before = before;
    for (char *value = strtok(values, ","); value; value = strtok(NULL, ","))
        offer(wanted, value, "");
    if (plain->list)
        offer_accounts(wanted, MAIL__ACCOUNT_KIND__USER);
    wanted->before = "";
}

/* "to=alice,b": the words of the field's type, or names of what it refers to. */
static void offer_values(Wanted *wanted, const Command *command, const char *word)
{
    const KindInfo *info = command->kind ? kind_by_name(command->kind) : NULL;
    size_t name_len = strcspn(word, "=");
    const char *from = word + name_len + 1, *comma = strrchr(from, ',');
    DEFER(xfree) char *name = xstrndup(word, name_len);

    name[strcspn(name, "+")] = '\0';
    if (name_len && word[name_len - 1] == '-')
        name[name_len - 1] = '\0';
    const FieldMeta *field = info ? meta_field(info->meta, name) : NULL;
    if (!field) {
        offer_plain_values(wanted, command, name, word, from);
        return;
    }
    if (field->list && comma)
        from = comma + 1;
    DEFER(xfree) char *before = xstrndup(word, (size_t)(from - word));
    wanted->prefix = from;
    wanted->before = before;
    for (size_t i = 0;; i++) {
        DEFER(xfree) char *value = value_word(info->descriptor, field, i);
        if (!value)
            break;
        offer(wanted, value, "");
    }
    if (field->reference)
        offer_live(wanted, field->reference);
    wanted->before = "";
}

static void offer_flags(Wanted *wanted, const Command *command)
{
    for (size_t i = 0; i < N_FLAGS; i++) {
        if (!command_takes(command, (FlagId)i) || (i == FLAG_IDENTITY && !wanted->cli->program->remote))
            continue;
        DEFER(xfree) char *flag = xasprintf("--%s", flags[i].name);
        offer(wanted, flag, "");
    }
}

static void offer_flag_value(Wanted *wanted, const char *flag)
{
    static const char *const forms[] = {"table", "json", "yaml", "name"};

    if (strcmp(flag, "-i") == 0 || strcmp(flag, "--instance") == 0)
        offer_live(wanted, "instance");
    else if (strcmp(flag, "-u") == 0 || strcmp(flag, "--user-domain") == 0)
        offer_live(wanted, "user-domain");
    else if (strcmp(flag, "--node") == 0)
        offer_live(wanted, "node");
    else if (strcmp(flag, "-o") == 0 || strcmp(flag, "--output") == 0)
        for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
            offer(wanted, forms[i], "");
}

static void offer_key(Wanted *wanted, const Command *command)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    bool all_verbs = command->run == run_help;

    if (command->run == run_completion)
        for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
            offer(wanted, shells[i], "");
    if (command->run == run_explain || command->run == run_history)
        for (size_t i = 0; i < n_kinds; i++)
            offer(wanted, kind_info(kinds[i])->name, "");
    for (const Command *other = commands; all_verbs && other->verb; other++)
        if (other->noun)
            offer_once(wanted, other->noun);
    bool is_new = command->run == run_add || command->run == run_instance_add ||
                  (command->run == run_node_add && command->fields);
    if (command->kind && !is_new)
        offer_live(wanted, command->kind);
    if (command->run == run_account_show || (command->run == run_account_change && command->edit != MAIL__VERB__ADD))
        offer_accounts(wanted,
                       strcmp(command->noun, "group") == 0 ? MAIL__ACCOUNT_KIND__GROUP : MAIL__ACCOUNT_KIND__USER);
}

static void offer_commands(Wanted *wanted, const char *noun)
{
    for (const Command *command = commands; command->verb; command++) {
        if (command->hidden || (noun && (!command->noun || strcmp(command->noun, noun) != 0)))
            continue;
        offer_once(wanted, !noun && command->noun ? command->noun : command->verb);
    }
}

/* Does this word want a value behind it? */
static bool wants_value(const char *word)
{
    for (size_t i = 0; i < N_FLAGS; i++)
        if (flags[i].value && ((word[0] == '-' && word[1] == flags[i].letter && flags[i].letter && !word[2]) ||
                               (strncmp(word, "--", 2) == 0 && strcmp(word + 2, flags[i].name) == 0)))
            return true;
    return false;
}

static void answer(Wanted *wanted, const char *const *words, size_t n, const char *last)
{
    const Command *command = n > 0 ? command_find(NULL, words[0]) : NULL;
    size_t at = 1;

    if (!command && n > 1) {
        command = command_find(words[0], words[1]);
        at = 2;
    }
    if (!command && n < 2) {
        offer_commands(wanted, n ? words[0] : NULL);
        return;
    }
    if (!command)
        return;
    if (*last == '-')
        offer_flags(wanted, command);
    else if (command->key && n == at && !(command->key_optional && command->fields))
        offer_key(wanted, command);
    else if (strchr(last, '='))
        offer_values(wanted, command, last);
    else
        command_each_field(command, wanted, offer_field);
}

Error *run_complete(Cli *cli, const Line *line, int *ret_exit)
{
    const char **words = xcalloc(line->n_words + 1, sizeof *words);
    const char *last = line->n_words ? line->words[line->n_words - 1] : "";
    const char *previous = line->n_words > 1 ? line->words[line->n_words - 2] : "";
    Wanted wanted = {.cli = cli, .prefix = last, .before = ""};
    size_t n = 0;

    (void)ret_exit;
    cli->form = OUTPUT_TABLE;
    for (size_t i = 0; i + 1 < line->n_words; i++) {
        if (wants_value(line->words[i]))
            i++;
        else if (line->words[i][0] != '-')
            words[n++] = line->words[i];
    }
    if (wants_value(previous))
        offer_flag_value(&wanted, previous);
    else
        answer(&wanted, words, n, last);
    free(words);
    return NULL;
}

#include "commands.h"

#include "line.h"

#include "base/alloc.h"
#include "model/object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Cuts an example into words; quotes hold spaces together, and what is behind > is the shell's. */
static int words_of(char *text, char **words)
{
    int n = 0;

    for (char *at = text; *at;) {
        bool quoted = false;
        at += strspn(at, " ");
        if (!*at || *at == '>')
            break;
        char *to = at;
        words[n++] = at;
        for (; *at && (quoted || *at != ' '); at++) {
            if (*at == '\'')
                quoted = !quoted;
            else
                *to++ = *at;
        }
        if (*at)
            at++;
        *to = '\0';
    }
    return n;
}

/* Help shows them: each must be what it says. */
static void examples_are_understood(void **state)
{
    (void)state;
    for (const Command *command = commands; command->verb; command++) {
        DEFER(xfree) char *text = xstrdup(command->example);
        DEFER(line_free) Line *line = NULL;
        char *words[16];
        bool usage = false;
        Error *err = line_parse(words_of(text, words), words, &line, &usage);
        if (err)
            fail_msg("%s: %s", command->example, err->what);
        if (line->command != command)
            fail_msg("%s is an example of something else", command->example);
    }
}

static void every_row_is_whole(void **state)
{
    (void)state;
    for (const Command *command = commands; command->verb; command++) {
        DEFER(xfree) char *title = command_title(command);
        if (!command->words || !command->run)
            fail_msg("%s: no words, or nothing to run", title);
        if (command->edit == MAIL__VERB__REMOVE && command->loses && !command_takes(command, FLAG_YES))
            fail_msg("%s: it asks, and takes no --yes", title);
        if (command->kind && !command_meta(command))
            fail_msg("%s: kind %s does not exist", title, command->kind);
        for (const Command *other = command + 1; other->verb; other++)
            if (command->noun && other->noun && strcmp(command->noun, other->noun) == 0 && other[-1].noun &&
                strcmp(other[-1].noun, command->noun) != 0)
                fail_msg("%s: its noun is in two places", title);
        if (command_find(command->noun, command->verb) != command)
            fail_msg("%s is there twice", title);
    }
}

static void flags_are_named_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FLAGS; i++) {
        if (!flags[i].name || !flags[i].words)
            fail_msg("flag %zu has no name or no words", i);
        for (size_t j = i + 1; j < N_FLAGS && flags[i].name && flags[j].name; j++)
            if (strcmp(flags[i].name, flags[j].name) == 0 || (flags[i].letter && flags[i].letter == flags[j].letter))
                fail_msg("--%s and --%s are alike", flags[i].name, flags[j].name);
    }
}

static void field_has_words(void *context, const char *name, const FieldMeta *meta)
{
    const PlainField *plain = meta ? NULL : plain_field(name);

    if (!meta && (!plain || !plain->words))
        fail_msg("%s: nothing is known of %s=", (const char *)context, name);
}

/* What is no object's has its words in a table of its own. */
static void every_field_has_words(void **state)
{
    (void)state;
    for (const Command *command = commands; command->verb; command++) {
        DEFER(xfree) char *title = command_title(command);
        command_each_field(command, title, field_has_words);
    }
    assert_true(command_field_secret(command_find("user", "add"), "password"));
    assert_false(command_field_secret(command_find("user", "add"), "full-name"));
    assert_false(command_field_secret(command_find("admin", "add"), "key"));
}

static void fields_of_commands(void **state)
{
    static const struct {
        const char *noun, *verb, *field;
        bool there;
    } cases[] = {
        {"address", "add", "to", true},
        {"address", "add", "dormant", false}, /* the controller's own */
        {"mailbox", "set", "spam-retention", true},
        {"mailbox", "set", "spam_retention", true},
        {"instance", "add", "mail-domain", true},
        {"instance", "set", "mail-domain", false},
        {"instance", "move", "node", true},
        {"instance", "move", "hostname", false},
        {"address", "remove", "to", false},
        {"settings", "set", "junk-folder", true},
        {"user", "add", "full-name", true},
        {"user", "add", "full_name", true},
        {"user", "add", "members", false},
        {"group", "set", "members", true},
        {"user", "show", "password", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (command_has_field(command_find(cases[i].noun, cases[i].verb), cases[i].field) != cases[i].there)
            fail_msg("%s %s %s=", cases[i].noun, cases[i].verb, cases[i].field);
    assert_string_equal(command_field_nearest(command_find("mailbox", "set"), "spam-retentoin"), "spam-retention");
    assert_string_equal(command_nearest(NULL, "adress"), "address");
    assert_string_equal(command_nearest("address", "lsit"), "list");
    assert_null(command_nearest(NULL, "queue")); /* not built yet: no hint leads there */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_are_understood), cmocka_unit_test(every_row_is_whole),
        cmocka_unit_test(flags_are_named_once),    cmocka_unit_test(every_field_has_words),
        cmocka_unit_test(fields_of_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

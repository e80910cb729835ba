#include "line.h"

#include "../../expect.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WORDS_MAX = 12 };

static int count(char *const *words)
{
    int n = 0;

    while (words[n])
        n++;
    return n;
}

static void grammar(void **state)
{
    static const struct {
        const char *words[WORDS_MAX];
        bool usage;
        const char *what, *hint; /* the hint NULL: none */
    } cases[] = {
        {{"adress", "list"}, true, "unknown command 'adress'", "did you mean address?"},
        {{"flter", "show"}, true, "unknown command 'flter'", "did you mean filter?"},
        {{"frobnicate", "show"}, true, "unknown command 'frobnicate'", "mailctl help"},
        {{"address"}, true, "address: a verb is missing", "add, set, list, show, remove"},
        {{"address", "lst"}, true, "address: unknown verb 'lst'", "did you mean address list?"},
        {{"address", "zzzzzz"}, true, "address: unknown verb 'zzzzzz'", "mailctl help address"},
        {{"address", "add"},
         true,
         "address add: LOCAL@DOMAIN is missing",
         "mailctl address add info@example.org to=alice,bob"},
        {{"address", "add", ""},
         true,
         "address add: LOCAL@DOMAIN is missing",
         "mailctl address add info@example.org to=alice,bob"},
        {{"address", "add", "a@b.c", "ot=x"}, true, "address add: unknown field 'ot'", "did you mean to=?"},
        {{"address", "add", "a@b.c", "colour=x"},
         true,
         "address add: unknown field 'colour'",
         "mailctl explain address"},
        {{"address", "add", "a@b.c", "stray"},
         true,
         "address add: stray word 'stray'",
         "fields are written FIELD=VALUE"},
        {{"address", "show", "a@b.c", "to=x"}, true, "address show: it takes no fields, and 'to=' is there", NULL},
        {{"address", "add", "a@b.c", "to+="}, true, "address add: to+=: a value is missing", NULL},
        {{"address", "add", "a@b.c", "--prune"}, true, "address add: it takes no --prune", NULL},
        {{"address", "list", "--limt", "3"}, true, "unknown flag --limt", "did you mean --limit?"},
        {{"address", "list", "--limit"}, true, "--limit: N is missing", NULL},
        {{"address", "list", "--limit", "1", "--limit=2"}, true, "--limit is there twice", NULL},
        {{"status", "--verbose=yes"}, true, "--verbose takes no value", NULL},
        {{"address", "show", "-x@example.org"},
         true,
         "unknown flag -x@example.org",
         "a key that begins with - goes behind --"},
        {{"address", "show", "a\xff"}, false, "'a\xff' is not UTF-8", NULL},
        {{"address", "add", "a@b.c", "to=@/does/not/exist"},
         false,
         "address add: to: /does/not/exist does not exist",
         NULL},
        {{"address", "add", "a@b.c", "to=@/"}, false, "address add: to: /: Is a directory", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(line_free) Line *line = NULL;
        DEFER(error_free) Error *err = NULL;
        bool usage = false;
        err = line_parse(count((char **)cases[i].words), (char **)cases[i].words, &line, &usage);
        const char *what = err ? err->what : "(understood)", *hint = err && err->hint ? err->hint : "(none)";
        const char *wanted_hint = cases[i].hint ? cases[i].hint : "(none)";
        if (strcmp(what, cases[i].what) != 0 || usage != cases[i].usage)
            fail_msg("%zu: '%s' (usage %d), wanted '%s'", i, what, usage, cases[i].what);
        if (strcmp(hint, wanted_hint) != 0)
            fail_msg("%zu: hint '%s', wanted '%s'", i, hint, wanted_hint);
    }
}

/* Whatever is wrong with the line: what was typed as a password is not said again, nor kept. */
static void secrets_do_not_stand_on_the_line(void **state)
{
    static const struct {
        const char *words[WORDS_MAX], *what;
    } cases[] = {
        {{"user", "add", "alice", "password=tiger7"},
         "user add: password: not on the command line, where others can see it"},
        {{"user", "set", "alice", "full-name=A", "password=tiger7"},
         "user set: password: not on the command line, where others can see it"},
        {{"user", "set", "alice", "password+=tiger7"},
         "user set: password: not on the command line, where others can see it"},
        {{"user", "set", "alice", "password-=@tiger7"},
         "user set: password: not on the command line, where others can see it"},
        {{"user", "set", "alice", "password=@"},
         "user set: password: not on the command line, where others can see it"},
        {{"user", "set", "alice", "password="}, "user set: password: it cannot be empty"},
        {{"user", "set", "alice", "password=-", "password=@f"}, "user set: password is there twice"},
        {{"user", "set", "alice", "--password=tiger7"}, "unknown flag --password"},
        {{"user", "set", "alice", "pasword=tiger7"}, "user set: unknown field 'pasword'"},
        {{"user", "show", "alice", "password=tiger7"}, "user show: it takes no fields, and 'password=' is there"},
        {{"group", "add", "sales", "password=tiger7"}, "group add: unknown field 'password'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(line_free) Line *line = NULL;
        bool usage = false;
        DEFER(error_free)
        Error *err = line_parse(count((char **)cases[i].words), (char **)cases[i].words, &line, &usage);
        if (!err || !usage || strcmp(err->what, cases[i].what) != 0)
            fail_msg("%zu: '%s', wanted '%s'", i, err ? err->what : "(understood)", cases[i].what);
        if (strstr(err->what, "tiger7") || (err->hint && strstr(err->hint, "tiger7")))
            fail_msg("%zu: it says the secret", i);
    }
}

static Line *parsed(char *const *words)
{
    Line *line = NULL;
    bool usage = false;
    Error *err = line_parse(count(words), (char **)words, &line, &usage);

    if (err)
        fail_msg("%s", err->what);
    return line;
}

static void fields_and_their_edits(void **state)
{
    static const struct {
        const char *word, *field;
        Mail__EditOp op;
        const char *value;
    } cases[] = {
        {"to=alice,bob", "to", MAIL__EDIT_OP__SET, "alice,bob"},
        {"to+=bob", "to", MAIL__EDIT_OP__APPEND, "bob"},
        {"to-=bob", "to", MAIL__EDIT_OP__TAKE, "bob"},
        {"to=", "to", MAIL__EDIT_OP__CLEAR, NULL},
        {"description=a=b", "description", MAIL__EDIT_OP__SET, "a=b"},
        {"description=-d", "description", MAIL__EDIT_OP__SET, "-d"},
        {"description=--help", "description", MAIL__EDIT_OP__SET, "--help"},
        {"description= x ", "description", MAIL__EDIT_OP__SET, " x "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *words[] = {(char *)"address", (char *)"set", (char *)"a=b@example.org", (char *)cases[i].word, NULL};
        DEFER(line_free) Line *line = parsed(words);
        if (line->n_fields != 1 || strcmp(line->key, "a=b@example.org") != 0)
            fail_msg("%s: key '%s', %zu fields", cases[i].word, line->key, line->n_fields);
        const Mail__FieldEdit *edit = &line->fields[0];
        if (strcmp(edit->field, cases[i].field) != 0 || edit->op != cases[i].op || !edit->value != !cases[i].value ||
            (edit->value && strcmp(edit->value, cases[i].value) != 0))
            fail_msg("%s: field '%s', op %d, value '%s'", cases[i].word, edit->field, edit->op,
                     edit->value ? edit->value : "(none)");
    }
}

static void where_a_secret_is(void **state)
{
    static const char *const words[] = {"-", "@/does/not/exist", "@-"};

    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        DEFER(xfree) char *field = xasprintf("password=%s", words[i]);
        char *line_words[] = {(char *)"user", (char *)"set", (char *)"alice", field, (char *)"locked=no", NULL};
        DEFER(line_free) Line *line = parsed(line_words);
        assert_string_equal(line_secret_from(line), words[i]); /* read by the command alone */
        assert_int_equal(line->n_fields, 1);
    }
}

static void flags_anywhere(void **state)
{
    char *words[] = {(char *)"-o",
                     (char *)"json",
                     (char *)"address",
                     (char *)"--dry-run",
                     (char *)"add",
                     (char *)"-imain",
                     (char *)"--message=x y",
                     (char *)"--",
                     (char *)"-x@example.org",
                     (char *)"to=alice",
                     NULL};
    DEFER(line_free) Line *line = parsed(words);

    (void)state;
    assert_string_equal(line->given[FLAG_OUTPUT], "json");
    assert_string_equal(line->given[FLAG_INSTANCE], "main");
    assert_string_equal(line->given[FLAG_MESSAGE], "x y");
    assert_true(line_has(line, FLAG_DRY_RUN) && !line_has(line, FLAG_YES));
    assert_string_equal(line->key, "-x@example.org");
    assert_string_equal(line_output(count(words), words), "json");
    assert_null(line_output(2, (char *[]){(char *)"--", (char *)"-ojson"}));
    assert_string_equal(line_output(1, (char *[]){(char *)"--output=yaml"}), "yaml");
}

static void no_words_are_status(void **state)
{
    char *none[] = {NULL}, *help[] = {(char *)"address", (char *)"--help", NULL};
    DEFER(line_free) Line *line = parsed(none);
    DEFER(line_free) Line *helped = parsed(help);

    (void)state;
    assert_ptr_equal(line->command, command_find(NULL, "status"));
    assert_null(helped->command);
    assert_string_equal(helped->words[0], "address");
}

static void values_from_files(void **state)
{
    static const struct {
        const char *content;
        size_t size;
        const char *value, *error;
    } cases[] = {
        {"alice\n", 6, "alice", NULL},   {"alice\n\n", 7, "alice\n", NULL}, {"alice", 5, "alice", NULL},
        {"a\xff", 2, NULL, "not UTF-8"}, {"a\0b", 3, NULL, "not UTF-8"},
    };
    char path[] = "/tmp/unit-line-XXXXXX", word[64];
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    snprintf(word, sizeof word, "description=@%s", path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *words[] = {(char *)"node", (char *)"set", (char *)"mx1", word};
        DEFER(line_free) Line *line = NULL;
        DEFER(error_free) Error *err = NULL;
        bool usage = false;
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, cases[i].content, cases[i].size, 0), cases[i].size);
        err = line_parse(4, words, &line, &usage);
        if (!err != !cases[i].error || (err && !strstr(err->what, cases[i].error)))
            fail_msg("%zu: %s", i, err ? err->what : "no error");
        if (!err && cases[i].value && strcmp(line->fields[0].value, cases[i].value) != 0)
            fail_msg("%zu: '%s'", i, line->fields[0].value);
    }
    close(fd);
    unlink(path);
}

/* Where the key may be left out the first word is a field when it is named like one; a Message-ID may hold a '=', too. */
static void a_key_that_may_be_left_out(void **state)
{
    static const struct {
        const char *word, *key, *field, *value;
    } cases[] = {
        {"from=@example.org", NULL, "from", "@example.org"}, /* no file */
        {"to=-", NULL, "to", "-"},                           /* nor stdin */
        {"since=2h", NULL, "since", "2h"},
        {"from+=a@b", NULL, "from", "a@b"},
        {"bounce+a=b@list.test", "bounce+a=b@list.test", NULL, NULL},
        {"=x@y", "=x@y", NULL, NULL},
        {"alice@example.org", "alice@example.org", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *words[] = {(char *)"trace", (char *)cases[i].word};
        DEFER(line_free) Line *line = NULL;
        bool usage = false;
        assert_null(line_parse(2, words, &line, &usage));
        if (!line->key != !cases[i].key || (line->key && strcmp(line->key, cases[i].key) != 0))
            fail_msg("%s: key '%s'", cases[i].word, line->key ? line->key : "(none)");
        assert_int_equal(line->n_fields, cases[i].field ? 1 : 0);
        if (cases[i].field) {
            assert_string_equal(line->fields[0].field, cases[i].field);
            assert_string_equal(line->fields[0].value, cases[i].value);
        }
    }
}

static void moments(void **state)
{
    static const struct {
        const char *text;
        bool day_end;
        uint64_t s; /* in UTC; 0: none */
    } cases[] = {
        {"2026-11-17", false, 1794873600},
        {"2026-11-17", true, 1794873600 + 24 * 3600 - 1},
        {"2026-11-17 14:30", true, 1794925800},
        {"2026-11-17T14:30", false, 1794925800},
        {"2026-11-17 14:30:05", false, 1794925805},
        {"2026-13-01", false, 0},
        {"2026-11-17 25:00", false, 0},
        {"2026-11-17x", false, 0},
        {"yesterday", false, 0},
        {"", false, 0},
        {"-2h", false, 0},
        {"99999999999999999999d", false, 0},
    };
    uint64_t when = 0, now = (uint64_t)time(NULL);

    (void)state;
    setenv("TZ", "UTC", 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(error_free) Error *err = moment_parse(cases[i].text, cases[i].day_end, &when);
        if (!err != !!cases[i].s || (!err && when != cases[i].s))
            fail_msg("'%s': %s, %llu", cases[i].text, err ? err->what : "no error", (unsigned long long)when);
    }
    assert_null(moment_parse("2h", false, &when));
    assert_in_range(when, now - 2 * 3600, now - 2 * 3600 + 60);
}

static void numbers_and_spans(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms; /* 0 with an error */
        const char *error;
    } spans[] = {{"300ms", 300, NULL},
                 {"30s", 30000, NULL},
                 {"5m", 300000, NULL},
                 {"2h", 7200000, NULL},
                 {"0s", 0, NULL},
                 {"30", 0, "'30' is no span of time"},
                 {"", 0, "'' is no span of time"},
                 {"s", 0, "'s' is no span of time"},
                 {"-1s", 0, "'-1s' is no span of time"},
                 {"1.5s", 0, "'1.5s' is no span of time"},
                 {"99999999999h", 0, "'99999999999h' is no span of time"}};
    uint64_t from = 0, to = 0;

    (void)state;
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        uint64_t ms = 0;
        DEFER(error_free) Error *err = span_parse(spans[i].text, &ms);
        if (ms != spans[i].ms || !err != !spans[i].error || (err && strcmp(err->what, spans[i].error) != 0))
            fail_msg("%s: %s", spans[i].text, err ? err->what : "no error");
    }
    assert_null(range_parse("41..43", &from, &to));
    assert_true(from == 41 && to == 43);
    assert_null(range_parse("41..", &from, &to));
    assert_true(from == 41 && to == 0);
    for (size_t i = 0; i < 5; i++) {
        const char *wrong[] = {"41", "a..b", "..43", "41...43", "41..-1"};
        DEFER(error_free) Error *err = range_parse(wrong[i], &from, &to);
        if (!err)
            fail_msg("%s is a range", wrong[i]);
    }
    for (size_t i = 0; i < 6; i++) {
        const char *wrong[] = {"", " 1", "+1", "-1", "1x", "18446744073709551616"};
        DEFER(error_free) Error *err = number_parse(wrong[i], &from);
        if (!err)
            fail_msg("%s is a number", wrong[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grammar),
        cmocka_unit_test(a_key_that_may_be_left_out),
        cmocka_unit_test(moments),
        cmocka_unit_test(fields_and_their_edits),
        cmocka_unit_test(flags_anywhere),
        cmocka_unit_test(no_words_are_status),
        cmocka_unit_test(values_from_files),
        cmocka_unit_test(numbers_and_spans),
        cmocka_unit_test(secrets_do_not_stand_on_the_line),
        cmocka_unit_test(where_a_secret_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "print.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void what_terminals_get(void **state)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"info@example.org", "info@example.org"},
        {"ex\xc3\xa4mple.org", "ex\xc3\xa4mple.org"},
        {"say \"hi\" \\o/", "say \"hi\" \\o/"},
        {"a\x1b[31mb", "a\\x1b[31mb"},
        {"a\nb\tc\rd", "a\\x0ab\\x09c\\x0dd"},
        {"a\x7f", "a\\x7f"},
        {"\xc2\x9b"
         "31m",
         "\\xc2\\x9b31m"}, /* CSI as one character */
        {"a\xe2\x80\xae"
         "b",
         "a\\xe2\\x80\\xaeb"}, /* right to left override */
        {"a\xe2\x81\xa6"
         "b",
         "a\\xe2\\x81\\xa6b"}, /* isolate */
        {"a\xe2\x80\xa8"
         "b",
         "a\\xe2\\x80\\xa8b"}, /* line separator */
        {"\xef\xbb\xbf"
         "a",
         "\\xef\\xbb\\xbfa"},         /* BOM */
        {"a\xff\xc3", "a\\xff\\xc3"}, /* no UTF-8 */
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(xfree) char *shown = escaped(cases[i].text);
        if (strcmp(shown, cases[i].shown) != 0)
            fail_msg("%zu: '%s', wanted '%s'", i, shown, cases[i].shown);
    }
}

typedef struct Memory {
    FILE *file;
    char *text;
    size_t size;
} Memory;

static FILE *memory(Memory *memory)
{
    memory->file = open_memstream(&memory->text, &memory->size);
    assert_non_null(memory->file);
    return memory->file;
}

static void memory_is(Memory *memory, const char *wanted)
{
    fclose(memory->file);
    assert_string_equal(memory->text, wanted);
    free(memory->text);
}

static void tables_are_aligned(void **state)
{
    static const char *const headings[] = {"NAME", "TO"};
    static const char *const rows[][2] = {{"\xc3\xa4", "x"}, {"info", "a\nb"}, {"longer name", ""}};
    Memory out;
    Table *table = table_new(memory(&out), headings, 2);

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        table_cell(table, rows[i][0]);
        table_cell(table, rows[i][1]);
        table_row(table);
    }
    table_end(&table);
    memory_is(&out, "NAME         TO\n"
                    "\xc3\xa4            x\n"
                    "info         a\\x0ab\n"
                    "longer name  -\n");

    table = table_new(memory(&out), headings, 2);
    table_end(&table);
    memory_is(&out, "");
}

static void words_stand_below(void **state)
{
    static const struct {
        const char *text, *line, *lines; /* lines NULL: none below */
    } cases[] = {
        {"vault: full", "vault: full", NULL},
        {"a\nb", "a\nb", NULL}, /* not indented: nobody of ours made it */
        {"vault: locked\n    by \x1b[1mPID 7\n    since 3", "vault: locked",
         "vault: locked\n    by \\x1b[1mPID 7\n    since 3\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(xfree) char *line = without_words(cases[i].text);
        Memory out;
        assert_string_equal(line, cases[i].line);
        assert_int_equal(has_words_below(cases[i].text), cases[i].lines != NULL);
        if (!cases[i].lines)
            continue;
        print_lines(memory(&out), cases[i].text);
        memory_is(&out, cases[i].lines);
    }
}

/* Beyond TABLE_SETTLE rows stream, and a wider cell pushes its row. */
static void long_tables_stream(void **state)
{
    static const char *const headings[] = {"N", "X"};
    Memory out;
    Table *table = table_new(memory(&out), headings, 2);
    size_t lines = 0;

    (void)state;
    for (size_t i = 0; i < TABLE_SETTLE + 2; i++) {
        table_cell(table, i == TABLE_SETTLE + 1 ? "wide" : "n");
        table_row(table);
    }
    table_end(&table);
    fclose(out.file);
    for (const char *c = out.text; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, TABLE_SETTLE + 3);
    assert_non_null(strstr(out.text, "\nn  -\nwide  -\n"));
    free(out.text);
}

static void ages(void **state)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } cases[] = {{0, "0 ms"},          {999, "999 ms"},  {1000, "1.0 s"},     {59999, "59.9 s"}, {60000, "1 min"},
                 {7199999, "119 min"}, {7200000, "2 h"}, {172799999, "47 h"}, {172800000, "2 d"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(age_text(cases[i].ms).text, cases[i].text);
    assert_string_equal(time_text(0).text, "-");
}

static void documents(void **state)
{
    static const char source[] =
        "{\"version\":1,\"none\":[],\"nodes\":[{\"node\":\"a: \\\"b\\\"\",\"x\":{\"y\":true}},2]}";
    json_t *json = json_loads(source, 0, NULL);
    Memory out;

    (void)state;
    print_document(memory(&out), OUTPUT_YAML, &json);
    memory_is(&out, "version: 1\n"
                    "none: []\n"
                    "nodes:\n"
                    "  - node: \"a: \\\"b\\\"\"\n"
                    "    x:\n"
                    "      y: true\n"
                    "  - 2\n");
    json = json_object();
    json_put_text(json, "a", "\xff");
    json_put_text(json, "b", NULL);
    json_put_number(json, "c", 3);
    print_json_line(memory(&out), &json);
    memory_is(&out, "{\"a\":\"\\\\xff\",\"c\":3}\n");
    assert_null(json);
}

/* CSI as one character, a turn of direction, a tag: valid JSON, and nothing that a terminal obeys. */
static void hostile_octets_in_documents(void **state)
{
    static const char text[] = "\xc2\x9b\x32J\xe2\x80\xae\xf3\xa0\x81\x81\xc3\xa4\x7f";
    json_t *json = json_object();
    Memory out;

    (void)state;
    json_put_text(json, "d", text);
    print_json_line(memory(&out), &json);
    memory_is(&out, "{\"d\":\"\\u009b2J\\u202e\\udb40\\udc41\xc3\xa4\\u007f\"}\n");
    json = json_object();
    json_put_text(json, "d", text);
    print_document(memory(&out), OUTPUT_YAML, &json);
    memory_is(&out, "d: \"\\u009b2J\\u202e\\U000e0041\xc3\xa4\\u007f\"\n");
}

static void forms(void **state)
{
    OutputForm form = OUTPUT_TABLE;
    DEFER(error_free) Error *err = NULL;

    (void)state;
    assert_null(output_form("yaml", &form));
    assert_int_equal(form, OUTPUT_YAML);
    err = output_form("xml", &form);
    assert_string_equal(err->what, "--output: 'xml' is no form");
    assert_string_equal(err->hint, "table, json, yaml or name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_terminals_get),
        cmocka_unit_test(words_stand_below),
        cmocka_unit_test(tables_are_aligned),
        cmocka_unit_test(long_tables_stream),
        cmocka_unit_test(ages),
        cmocka_unit_test(documents),
        cmocka_unit_test(hostile_octets_in_documents),
        cmocka_unit_test(forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

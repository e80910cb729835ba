#include "csv.h"

#include "base/buf.h"
#include "expect.h"

/* Rows as "line:cell|cell", wrong ones as "line!", with ';' behind each. */
static const struct {
    const char *text, *rows;
} cases[] = {
    {"", ""},
    {"\n\r\n\n", ""},
    {"a,b\nc,d\n", "1:a|b;2:c|d;"},
    {"a,b\r\nc,d", "1:a|b;2:c|d;"},
    {"\xef\xbb\xbf"
     "a,b\n",
     "1:a|b;"},
    {"a;b,c\nd;e\n", "1:a|b,c;2:d|e;"},
    {",\n", "1:|;"},
    {"\"a\",\"\"\n", "1:a|;"},
    {"\"a \"\"b\"\", c\",d\n", "1:a \"b\", c|d;"},
    {"\"a\nb\"\nc\n", "1:a\nb;3:c;"},
    {"a\n\nb", "1:a;3:b;"},
    {"\"\"\"\"", "1:\";"},
    {"a\"b\nc\n", "1!;2:c;"},
    {"\"a\"b\nc\n", "1!;2:c;"},
    {"a\n\"b\nc\n", "1:a;2!;3:c;"},
    {"a\rb,c\n", "1:a\rb|c;"},
    {"a\r", "1:a;"},
    {"1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33\nb\n", "1!;2:b;"},
};

static void rows_of(const char *text, Buf *out)
{
    DEFER(xfree) char *copy = xstrdup(text);
    CsvRow row;
    Csv csv;

    csv_init(&csv, copy, strlen(copy));
    for (;;) {
        DEFER(error_free) Error *err = csv_next(&csv, &row);
        if (!err && !row.n)
            return;
        buf_printf(out, err ? "%zu!;" : "%zu:", row.line);
        for (size_t i = 0; !err && i < row.n; i++)
            buf_printf(out, "%s%s", row.cells[i], i + 1 < row.n ? "|" : ";");
    }
}

static void rows_and_cells(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_done) Buf got = {0};
        rows_of(cases[i].text, &got);
        assert_string_equal(buf_text(&got), cases[i].rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_and_cells),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

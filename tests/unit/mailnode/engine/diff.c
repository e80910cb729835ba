#include "engine/diff.h"

#include "expect.h"

static const struct {
    const char *was, *is, *diff;
} cases[] = {
    {"a\nb\nc\n", "a\nb\nc\n", ""},
    {"a\nb\nc\n", "a\nx\nc\n", "- b\n+ x"},
    {"a\nb\nc\n", "a\nc\n", "- b"},
    {"a\nc\n", "a\nb\nc\n", "+ b"},
    {"a\nb\nc\nd\n", "x\nb\nc\ny\n", "- a\n+ x\n- d\n+ y"},
    {"", "a\n", "+ a"},
    {"a\n", "", "- a"},
    {"a\nb\n", "a\nb", ""},
    {"", "\x1b[31mred\x7f\xff\xc2\x9b \xc3\xa4\t.\n", "+ ?[31mred??? \xc3\xa4\t."},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_done) Buf was = {0}, is = {0}, diff = {0};
        buf_append_text(&was, cases[i].was);
        buf_append_text(&is, cases[i].is);
        diff_lines(&was, &is, &diff);
        assert_string_equal(buf_text(&diff), cases[i].diff);
    }
}

static size_t lines_in(const char *text)
{
    size_t n = *text != '\0';

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* Small and too large for the table: as many lines as a person reads, and how many more there are. */
static void test_many(void **state)
{
    (void)state;
    for (int n = 100; n <= 1000; n += 900) {
        DEFER(buf_done) Buf was = {0}, is = {0}, diff = {0};
        DEFER(xfree) char *rest = xasprintf("... and %d more lines", 2 * n - (DIFF_LINES_MAX - 1));
        for (int i = 0; i < n; i++) {
            buf_printf(&was, "was %d\n", i);
            buf_printf(&is, "is %d\n", i);
        }
        diff_lines(&was, &is, &diff);
        assert_int_equal(lines_in(buf_text(&diff)), DIFF_LINES_MAX);
        assert_non_null(strstr(buf_text(&diff), rest));
    }
}

static void test_long_line(void **state)
{
    DEFER(buf_done) Buf was = {0}, is = {0}, diff = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        buf_append_text(&is, "\xc3\xa4");
    diff_lines(&was, &is, &diff);
    assert_int_equal(diff.size, 2 + 200 + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_long_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

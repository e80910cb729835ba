#include "tasks/findings.h"

#include "expect.h"

#include <stdio.h>

static void text_is_cut_and_made_valid(void **state)
{
    static char many[FINDING_TEXT_MAX + 100];
    static const struct {
        const char *given, *kept;
    } rows[] = {
        {"plain", "plain"},
        {"Gr\xc3\xbc\xc3\x9f", "Gr\xc3\xbc\xc3\x9f"},
        {"half \xc3", "half ?"},
        {"\xff\xfe", "??"},
    };
    Findings findings = {0};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        findings_add(&findings, MAIL__FACT_STATE__BAD, "where", "%s", rows[i].given);
        assert_string_equal(findings.list[i]->text, rows[i].kept);
    }
    for (size_t i = 0; i + 2 < sizeof many; i += 2) {
        many[i] = '\xc3';
        many[i + 1] = '\xbc';
    }
    findings_add(&findings, MAIL__FACT_STATE__BAD, many, "%s", many);
    const Mail__Finding *last = findings.list[findings.n - 1];
    assert_int_equal(strlen(last->text), FINDING_TEXT_MAX + 4);
    assert_string_equal(last->text + FINDING_TEXT_MAX, " ...");
    assert_int_equal(strlen(last->where), FINDING_WHERE_MAX + 4);
    findings_done(&findings);
}

static void what_has_no_place_is_counted(void **state)
{
    Findings findings = {0};
    (void)state;
    for (int i = 0; i < FINDINGS_MAX + 5; i++)
        findings_add(&findings, i % 2 ? MAIL__FACT_STATE__GOOD : MAIL__FACT_STATE__BAD, "where", "%d", i);
    assert_int_equal(findings.n, FINDINGS_MAX);
    assert_int_equal(findings.n_beyond, 5);
    assert_int_equal(findings_bad(&findings), FINDINGS_MAX / 2 + 1 + 5);
    findings_repaired(&findings, FINDINGS_MAX - 1);
    assert_true(findings.list[FINDINGS_MAX - 1]->repaired);
    assert_false(findings.list[0]->repaired);
    findings_done(&findings);
}

static void lines_are_read_back(void **state)
{
    static const char *const texts[] = {"plain", "two\nlines", "a\ttab", "back\\slash", "\\n", "", "end\\"};
    Findings findings = {0}, back = {0};
    DEFER(buf_done) Buf lines = {0};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        findings_add(&findings, (Mail__FactState)(i % 4), texts[i], "%s", texts[i]);
    findings_write(&findings, &lines);
    findings_read(&back, buf_text(&lines));
    assert_int_equal(back.n, findings.n);
    for (size_t i = 0; i < back.n; i++) {
        assert_int_equal(back.list[i]->severity, findings.list[i]->severity);
        assert_string_equal(back.list[i]->where, findings.list[i]->where);
        assert_string_equal(back.list[i]->text, findings.list[i]->text);
    }
    findings_done(&findings);
    findings_done(&back);
}

static void what_is_no_line_is_left_out(void **state)
{
    Findings findings = {0};
    (void)state;
    findings_read(&findings, "\n2\n2\tonly where\n7\ta\tb\n-1\ta\tb\n22\ta\tb\nx\ta\tb\n2\tright\tone\n2\t");
    assert_int_equal(findings.n, 1);
    assert_string_equal(findings.list[0]->where, "right");
    findings_done(&findings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_cut_and_made_valid),
        cmocka_unit_test(what_has_no_place_is_counted),
        cmocka_unit_test(lines_are_read_back),
        cmocka_unit_test(what_is_no_line_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "ldif_read.h"

#include "base/buf.h"
#include "expect.h"

/* Entries as "line[dn]name=value,name=value;", wrong ones as "line!words;". */
static const struct {
    const char *text, *entries;
} cases[] = {
    {"", ""},
    {"\n\n# only a comment\n\n", ""},
    {"version: 1\n\ndn: a\nx: 1\n", "3[a]x=1;"},
    {"version: 1\ndn: a\nx: 1\n", "2[a]x=1;"},
    {"dn: a\nx: 1\nx: 2\n\n\ndn: b\ny:3", "1[a]x=1,x=2;6[b]y=3;"},
    {"dn: a\r\nx: 1\r\n\r\ndn: b\r\n", "1[a]x=1;4[b];"},
    {"dn: a\nx: one\n  two\n three\n", "1[a]x=one twothree;"},
    {"dn: a\n# a comment\n  that goes on\nx: 1\n", "1[a]x=1;"},
    {"dn:: YQ==\nx:: YQBi\n", "1[a]x=a;"},
    {"dn: a\nx:: YW\n JjZA==\n", "1[a]x=abcd;"},
    {"dn: a\nx;lang-de: 1\n", "1[a]x=1;"},
    {"dn: a\nx:\ny: \n", "1[a]x=,y=;"},
    {"dn: a\nchangetype: add\nx: 1\n", "1[a]x=1;"},
    {"dn: a\nchangetype: modify\nreplace: x\nx: 1\n-\n\ndn: b\n", "2!add;7[b];"},
    {"dn: a\nx:< file:///etc/shadow\n\ndn: b\n", "2!not fetched;4[b];"},
    {"dn: a\nx:: Y\n", "2!not base64;"},
    {"dn: a\nx:: YR==\n", "2!not base64;"},
    {"dn: a\nx:: YQ=\n", "2!not base64;"},
    {"x: 1\n", "1!begins with 'dn:';"},
    {"dn: a\nx 1\n", "2!no 'name: value';"},
    {"dn: a\n: 1\n", "2!no 'name: value';"},
    {" dn: a\n", "1!no name;"},
    {"dn: a\nx y: 1\n", "2!no name;"},
    {"version: 2\ndn: a\n", "1!only 1;"},
    {"dn: a\nx: 1\n\n y: 2\n\ndn: b\n", "1[a]x=1;4!no name;6[b];"},
};

static void entries_of(const char *text, Buf *out, const char *wanted)
{
    DEFER(xfree) char *copy = xstrdup(text);
    DEFER(ldif_entry_done) LdifEntry entry = {0};
    bool more = true;
    Ldif ldif;

    ldif_init(&ldif, copy, strlen(copy));
    while (more) {
        DEFER(error_free) Error *err = ldif_next(&ldif, &entry, &more);
        const char *words = err ? strstr(wanted, "!") : NULL;
        if (err && words && more) {
            DEFER(xfree) char *some = xstrndup(words + 1, strcspn(words + 1, ";"));
            buf_printf(out, "%zu!%s;", entry.line, strstr(err->what, some) ? some : err->what);
        } else if (more) {
            buf_printf(out, "%zu[%s]", entry.line, err ? err->what : entry.dn);
            for (size_t i = 0; i < entry.n; i++)
                buf_printf(out, "%s%s=%s", i ? "," : "", entry.values[i].name, entry.values[i].value);
            buf_append_text(out, ";");
        }
    }
}

static void entries_and_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_done) Buf got = {0};
        entries_of(cases[i].text, &got, cases[i].entries);
        assert_string_equal(buf_text(&got), cases[i].entries);
    }
}

static void values_by_name(void **state)
{
    char text[] = "dn: a\nObjectClass: top\nx:: AGE=\nobjectclass: person\n";
    DEFER(ldif_entry_done) LdifEntry entry = {0};
    bool more = false;
    Ldif ldif;

    (void)state;
    ldif_init(&ldif, text, strlen(text));
    ok(ldif_next(&ldif, &entry, &more));
    assert_true(more);
    const LdifValue *one = ldif_value(&entry, "objectClass", NULL), *two = ldif_value(&entry, "objectClass", one);
    assert_string_equal(one->value, "top");
    assert_string_equal(two->value, "person");
    assert_int_equal(two->line, 4);
    assert_null(ldif_value(&entry, "objectClass", two));
    assert_int_equal(ldif_value(&entry, "x", NULL)->size, 2);
    assert_null(ldif_value(&entry, "y", NULL));
    ok(ldif_next(&ldif, &entry, &more));
    assert_false(more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_and_values),
        cmocka_unit_test(values_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

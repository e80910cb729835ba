#include "model/mutf7.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* RFC 3501 5.1.3 has the first; Python's imap-tools and Dovecot 2.3 agree with the others. */
static const struct {
    const char *text, *on_disk;
} cases[] = {
    {"~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"},
    {"Sales", "Sales"},
    {"R&D", "R&-D"},
    {"&", "&-"},
    {"&\xc3\xa4&", "&-&AOQ-&-"},
    {"\xc3\xa4", "&AOQ-"},
    {"\xc3\xa4\xc3\xb6", "&AOQA9g-"},
    {"\xc3\xa4\xc3\xb6\xc3\xbc", "&AOQA9gD8-"},
    {"a\xc3\xa4z", "a&AOQ-z"},
    {"\xf0\x9f\x93\xac", "&2D3c7A-"},
    {"\xf0\x9f\x93\xac!", "&2D3c7A-!"},
    {"", ""},
};

static void each_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(xfree) char *made = mutf7_of(cases[i].text);
        if (strcmp(made, cases[i].on_disk) != 0)
            fail_msg("'%s': '%s', not '%s'", cases[i].text, made, cases[i].on_disk);
    }
}

static void back_again(void **state)
{
    static const char *const no_names[] = {
        "&",   "&AOQ",   "&AOQ-&AOQ-", "a&b",  "&AGE-", "&2D0-", "&3Ow-",        "&3OzYPQ-",   "&AOQ", "&AOR-",
        "&A-", "&AO Q-", "\xc3\xa4",   "\xff", "a\tb",  "&AAA-", "&AOQA9gD8AA-", "&AOQ--&AOQ", "&&-",  "\x7f",
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(xfree) char *read = mutf7_read(cases[i].on_disk);
        if (!read || strcmp(read, cases[i].text) != 0)
            fail_msg("'%s': '%s', not '%s'", cases[i].on_disk, read ? read : "(none)", cases[i].text);
    }
    for (size_t i = 0; i < sizeof no_names / sizeof *no_names; i++) {
        DEFER(xfree) char *read = mutf7_read(no_names[i]);
        if (read)
            fail_msg("'%s' was read as '%s'", no_names[i], read);
    }
    DEFER(xfree) char *tab = mutf7_read("a&AAk-b");
    assert_string_equal(tab, "a\tb");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_form), cmocka_unit_test(back_again)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

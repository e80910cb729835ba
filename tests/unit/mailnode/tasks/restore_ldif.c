#include "tasks/restore_ldif.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ENTRY "dn: dc=staff,dc=mailnode\nobjectClass: organization\n"

static const struct {
    const char *text;
    int entries; /* -1: refused */
} cases[] = {
    {"", 0},
    {ENTRY, 1},
    {ENTRY "o: staff\n\n" ENTRY "\n", 2},
    {"\n\n" ENTRY, 1},
    {"# of slapcat\n" ENTRY "# more\no: x\n", 1},
    {ENTRY "userPassword:: e0FSR09OMn0kYXJnb24yaWQk\n dj0xOSRtPTcxNjg=\n", 1},
    {ENTRY "description:\n", 1},
    {ENTRY "description;lang-de: < file:///etc/passwd\n", 1}, /* a value that begins so: the space says it */
    {"DN: dc=staff\no: x\n", 1},
    /* others' files */
    {"include: file:///etc/ldap/x.ldif\n", -1},
    {ENTRY "\ninclude: file:///etc/ldap/x.ldif\n", -1},
    {ENTRY "jpegPhoto:< file:///etc/shadow\n", -1},
    {ENTRY "jpegPhoto:\n < file:///etc/shadow\n", -1}, /* unfolded it is the same */
    {ENTRY "jpegPhoto::< file:///etc/shadow\n", -1},
    {ENTRY "jpeg\n Photo:< file:///etc/shadow\n", -1},
    {"dn:< file:///etc/shadow\n", -1},
    {"dn\n :< file:///etc/shadow\n", -1},
    /* no LDIF of slapcat's */
    {"o: x\n", -1},
    {ENTRY "dn: dc=other\n", -1},
    {" goes on\n", -1},
    {ENTRY "\n goes on\n", -1},
    {ENTRY "# words\n goes on\n", -1},
    {ENTRY "o: cut", -1},
    {ENTRY "no colon\n", -1},
    {ENTRY ": x\n", -1},
    {ENTRY "o=x\n", -1},
    {ENTRY "o: x\r\n\r\n", -1},
};

static Error *admit(const char *text, size_t size, uint64_t *entries)
{
    FILE *file = size ? fmemopen((void *)(uintptr_t)text, size, "r") : fopen("/dev/null", "r");

    assert_non_null(file);
    Error *err = ldif_admit(file, entries);
    fclose(file);
    return err;
}

static void takes_what_slapcat_writes_and_no_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t entries = 0;
        Error *err = admit(cases[i].text, strlen(cases[i].text), &entries);
        if (cases[i].entries < 0 ? !err || err->code != ERROR_DAMAGED : err || entries != (uint64_t)cases[i].entries)
            fail_msg("row %zu: %s", i, err ? err->what : "taken");
        error_free(&err);
    }
}

static void takes_no_nul_and_no_endless_line(void **state)
{
    static const char begins[] = "dn: ";
    static const char nul[] = ENTRY "o: a\0b\n";
    char line[4096];
    uint64_t entries;

    (void)state;
    Error *err = admit(nul, sizeof nul - 1, &entries);
    assert_non_null(err);
    error_free(&err);
    memset(line, 'a', sizeof line);
    for (size_t i = 0; i < strlen(begins); i++)
        line[i] = begins[i];
    line[sizeof line - 1] = '\n';
    err = admit(line, sizeof line, &entries);
    assert_non_null(err);
    error_free(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_slapcat_writes_and_no_more),
        cmocka_unit_test(takes_no_nul_and_no_endless_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "render/dovecotconf.h"

#include "expect.h"

#define HEAD "# Written by mail-engine; what is changed here is lost.\n"

static FileSet *files;
static DovecotConf cf;

static int begin(void **state)
{
    (void)state;
    files = fileset_new();
    cf = dovecotconf_in(files, "dovecot/dovecot.conf", NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fileset_free(&files);
    return 0;
}

static void is(const char *row, const char *text)
{
    const char *got = buf_text(cf.text);

    ok(fileset_refused(files));
    assert_memory_equal(got, HEAD, strlen(HEAD));
    if (strcmp(got + strlen(HEAD), text) != 0)
        fail_msg("'%s' became:\n%swanted:\n%s", row, got + strlen(HEAD), text);
    buf_clear(cf.text);
    buf_append_text(cf.text, HEAD);
}

/* What doveconf makes of them: golden/test_readback. */
static void values(void **state)
{
    static const struct {
        const char *value, *written;
    } rows[] = {
        {"", "a =\n"},
        {"imap pop3", "a = imap pop3\n"},
        {"*, ::", "a = *, ::\n"},
        {"file:~/sieve;active=~/x", "a = file:~/sieve;active=~/x\n"},
        {" ", "a = \" \"\n"},
        {" x", "a = \" x\"\n"},
        {"x ", "a = \"x \"\n"},
        {"\"x\"", "a = \"\\\"x\\\"\"\n"},
        {"it's", "a = \"it's\"\n"},
        {"x\\", "a = \"x\\\\\"\n"},
        {"\\n", "a = \"\\\\n\"\n"},
        {"# x", "a = \"# x\"\n"},
        {"x#y", "a = \"x#y\"\n"},
        {"$base_dir", "a = \"$base_dir\"\n"},
        {"${x}", "a = \"${x}\"\n"},
        {"</etc/shadow", "a = \"</etc/shadow\"\n"},
        {"}", "a = \"}\"\n"},
        {"{", "a = \"{\"\n"},
        {"!include x", "a = \"!include x\"\n"},
        {"Entwürfe", "a = \"Entwürfe\"\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dovecotconf_set(&cf, "a", rows[i].value);
        is(rows[i].value, rows[i].written);
    }
}

static void refusals(void **state)
{
    static const struct {
        const char *value, *words;
    } rows[] = {
        {"x\ny = 1", "dovecot/dovecot.conf: a cannot be 'x\\x0ay = 1': no control characters, only UTF-8"},
        {"x\r", "a cannot be 'x\\x0d'"},
        {"x\ty", "a cannot be 'x\\x09y'"},
        {"\x7f", "a cannot be '\\x7f'"},
        {"\xff", "a cannot be '\\xff'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        end(NULL);
        begin(NULL);
        dovecotconf_set(&cf, "a", rows[i].value);
        fails(fileset_refused(files), ERROR_INVALID, rows[i].words);
        assert_string_equal(buf_text(cf.text), HEAD);
    }
}

static void paths_have_no_quotes(void **state)
{
    (void)state;
    dovecotconf_file(&cf, "ssl_cert", "/tls/cert.pem");
    is("path", "ssl_cert = </tls/cert.pem\n");
    dovecotconf_file(&cf, "ssl_cert", "/tls/a\"b.pem");
    fails(fileset_refused(files), ERROR_INVALID, "ssl_cert cannot be '/tls/a\\x22b.pem'");
}

static void expansion(void **state)
{
    (void)state;
    dovecotconf_expanded(&cf, "mail_home", "/50%/mail", "/%Ln");
    is("%", "mail_home = /50%%/mail/%Ln\n");
}

static void sections(void **state)
{
    (void)state;
    dovecotconf_section(&cf, "service", "imap-login");
    dovecotconf_number(&cf, "service_count", 0);
    dovecotconf_section(&cf, "inet_listener", "imaps");
    dovecotconf_yes(&cf, "ssl", true);
    dovecotconf_end(&cf);
    dovecotconf_end(&cf);
    dovecotconf_section(&cf, "passdb", NULL);
    dovecotconf_yes(&cf, "deny", false);
    dovecotconf_end(&cf);
    dovecotconf_include(&cf, "override-site.conf");
    is("sections", "\nservice imap-login {\n  service_count = 0\n  inet_listener imaps {\n    ssl = yes\n  }\n}\n"
                   "\npassdb {\n  deny = no\n}\n"
                   "\n!include override-site.conf\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values, begin, end),
        cmocka_unit_test_setup_teardown(refusals, begin, end),
        cmocka_unit_test_setup_teardown(paths_have_no_quotes, begin, end),
        cmocka_unit_test_setup_teardown(expansion, begin, end),
        cmocka_unit_test_setup_teardown(sections, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

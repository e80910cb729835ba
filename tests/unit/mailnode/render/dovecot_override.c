#include "render/dovecot.h"

#include "expect.h"

#define KEPT(name) "'" name "' cannot be overridden"

static const struct {
    const char *text, *error; /* NULL: taken as it is */
} rows[] = {
    {"", NULL},
    {"# only a note", NULL},
    {"mail_max_userip_connections = 5\r\n", NULL},
    {"protocol imap {\n  mail_max_userip_connections = 5\n}\n", NULL},
    {"namespace inbox {\n  mailbox Archive {\n    special_use = \\Archive\n  }\n}", NULL},
    {"namespace shared {\n  prefix = Shared/\n  location = maildir:/x\n}", NULL},
    {"login_greeting = \"a } and # no comment\"", NULL},
    {"login_greeting = 'it \\' } #'", NULL},
    {"plugin {\n sieve_vacation_min_period = 1d # } listen\n}", NULL},
    {"login_greeting = a \\\n listen = b", NULL}, /* one value */
    {"mailbox_list_index = yes # listen = x", NULL},
    {"plugin {\n sieve_redirect_envelope_from = \"}\"\n}", NULL},

    {"listen = *", ":1: " KEPT("listen")},
    {"\n\n  listen=*", ":3: " KEPT("listen")},
    {"list\\\nen = *", ":1: " KEPT("listen")},
    {"protocol imap {\n  ssl = no\n}", ":2: " KEPT("ssl")},
    {"passdb {\n}", ":1: " KEPT("passdb")},
    {"service auth {\n inet_listener x {\n port = 1\n }\n}", ":2: " KEPT("inet_listener")},
    {"service/imap-login/inet_listener/imap/port = 1", ":1: " KEPT("inet_listener")},
    {"plugin/quota = x", KEPT("quota")},
    {"local 127.0.0.1 {\n disable_plaintext_auth = no\n}", ":2: " KEPT("disable_plaintext_auth")},
    {"login_trusted_networks = 10.0.0.0/8", KEPT("login_trusted_networks")},
    {"namespace inbox {\n  separator = .\n}", ":2: " KEPT("separator")},
    {"namespace \"inbox\" {\n  prefix = INBOX/\n}", ":2: " KEPT("prefix")},
    {"namespace inbox {\n  mailbox X {\n  }\n  location = x\n}", ":4: " KEPT("location")},
    {"login_greeting = 'x\nlisten = y", ":2: " KEPT("listen")}, /* a quote ends with its line */
    {"login_greeting = \"x\\\"\nlisten = y", ":2: " KEPT("listen")},
    {"login_greeting = a\\\r\r\nlisten = b", ":2: " KEPT("listen")}, /* no backslash at the end */
    {"!include /etc/x", ":1: an override includes nothing"},
    {"  !include_try /etc/x", ":1: an override includes nothing"},
    {"}", ":1: '}' without a section"},
    {"plugin {\n}\n}\nplugin {", ":3: '}' without a section"},
    {"plugin {\n a = b\n", "a section has no '}'"},
    {"a = b\nc = d \\\n", ":2: the last line goes on"},
    {"whatever", ":1: write NAME = VALUE, or NAME {"},
    {"plugin x", ":1: write NAME = VALUE, or NAME {"},
};

static void what_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DEFER(fileset_free) FileSet *files = fileset_new();
        DEFER(xfree) char *text = xstrdup(rows[i].text);
        OverrideFile file = {(char[]){"override/dovecot.d/site.conf"}, (char[]){"site.conf"}, text};
        DovecotConf cf = dovecotconf_in(files, "dovecot/dovecot.conf", NULL);
        File got;

        dovecot_override(&cf, &file, files);
        Error *err = fileset_refused(files);
        if (!rows[i].error != !err)
            fail_msg("row %zu: %s: %s", i, rows[i].text, err ? err->what : "taken");
        if (err) {
            assert_non_null(strstr(err->what, "override/dovecot.d/site.conf:"));
            fails(err, ERROR_INVALID, rows[i].error);
            continue;
        }
        assert_non_null(fileset_find(files, "dovecot/override-site.conf", &got));
        assert_int_equal(got.text->size, strlen(rows[i].text));
        assert_memory_equal(got.text->data, rows[i].text, got.text->size);
        assert_non_null(strstr(buf_text(cf.text), "\n!include override-site.conf\n"));
    }
}

static void too_deep(void **state)
{
    DEFER(fileset_free) FileSet *files = fileset_new();
    DEFER(buf_done) Buf text = {0};
    DovecotConf cf = dovecotconf_in(files, "dovecot/dovecot.conf", NULL);

    (void)state;
    for (int i = 0; i < 1000; i++)
        buf_append_text(&text, "a {\n");
    OverrideFile file = {(char[]){"override/dovecot.d/x.conf"}, (char[]){"x.conf"}, xstrdup(buf_text(&text))};
    dovecot_override(&cf, &file, files);
    fails(fileset_refused(files), ERROR_INVALID, "x.conf:17: too many sections in each other");
    free(file.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken),
        cmocka_unit_test(too_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

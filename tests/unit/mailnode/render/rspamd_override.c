#include "render/rspamd_override.h"

#include "expect.h"

#include <string.h>

static void lay(const char *file, const char *text, FileSet *out)
{
    DEFER(xfree) char *name = xasprintf("override/rspamd.d/%s", file);
    DEFER(xfree) char *file_copy = xstrdup(file), *text_copy = xstrdup(text);
    OverrideFile one = {name, file_copy, text_copy};
    Overrides overrides = {.files = {[OVERRIDE_RSPAMD] = &one}, .n = {[OVERRIDE_RSPAMD] = 1}};

    rspamd_override(&overrides, out);
}

static void test_allowed(void **state)
{
    static const char *const cases[][2] = {
        {"options.inc", "disable_hyperscan = true;\ndns { timeout = 2s; }\nhs_cache_dir = \"/var/cache/hs\";"},
        {"options.inc", "  # local_addrs = [127.0.0.1];\n"},
        {"worker-proxy.inc", "count = 8;\n"},
        {"worker-controller.inc", ""},
        {"logging.inc", "debug_modules = [\"proxy\"];\nlog_type_x = 1;"},
        {"multimap.conf", "BLOCK { type = \"from\"; map = [\"/etc/x\"]; }\n"}, /* 'type' is ours in logging.inc only */
        {"rbl.conf", "enabled = false;"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        DEFER(fileset_free) FileSet *set = fileset_new();
        DEFER(xfree) char *path = xasprintf("rspamd/override.d/%s", cases[i][0]);
        File file;
        lay(cases[i][0], cases[i][1], set);
        ok(fileset_refused(set));
        assert_non_null(fileset_find(set, path, &file));
        assert_string_equal(file.group, "_rspamd");
        assert_string_equal(buf_text((Buf *)file.text), cases[i][1]);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *file, *text, *error;
    } cases[] = {
        {"actions.conf", "", "override/rspamd.d/actions.conf: this file belongs to mailnode"},
        {"antivirus.conf", "", "override/rspamd.d/antivirus.conf: this file belongs to mailnode"},
        {"milter_headers.conf", "", "override/rspamd.d/milter_headers.conf: this file belongs to mailnode"},
        {"worker-normal.inc", "", "override/rspamd.d/worker-normal.inc: this file belongs to mailnode"},
        {"mailnode_antivirus.conf", "",
         "override/rspamd.d/mailnode_antivirus.conf: Rspamd reads no override of this name"},
        {"option.inc", "", "override/rspamd.d/option.inc: Rspamd reads no override of this name"},
        {"rspamd.conf", "", "override/rspamd.d/rspamd.conf: Rspamd reads no override of this name"},
        {"options.inc", "\n\n a = 1; local_addrs = [];",
         "override/rspamd.d/options.inc, line 3: local_addrs belongs to mailnode"},
        {"options.inc", "\"tempdir\"=\"/tmp\"", "override/rspamd.d/options.inc, line 1: tempdir belongs to mailnode"},
        {"options.inc", "a = \"#\"; max_message = 1",
         "override/rspamd.d/options.inc, line 1: max_message belongs to mailnode"},
        {"options.inc", "xtempdir = 1; tempdir{}",
         "override/rspamd.d/options.inc, line 1: tempdir belongs to mailnode"},
        {"logging.inc", "type = \"file\";", "override/rspamd.d/logging.inc, line 1: type belongs to mailnode"},
        {"worker-proxy.inc", "upstream \"x\" {",
         "override/rspamd.d/worker-proxy.inc, line 1: upstream belongs to mailnode"},
        {"worker-controller.inc", "password = 1",
         "override/rspamd.d/worker-controller.inc, line 1: password belongs to mailnode"},
        {"rbl.conf", "bind_socket = 1", "override/rspamd.d/rbl.conf, line 1: bind_socket belongs to mailnode"},
        {"rbl.conf", "# x\n\t.include \"/x\"",
         "override/rspamd.d/rbl.conf, line 2: an override includes no other files"},
        {"rbl.conf", "x { .include(try=true) \"/x\" }",
         "override/rspamd.d/rbl.conf, line 1: an override includes no other files"},
        {"rbl.conf", ".load(key=x) \"/x\"", "override/rspamd.d/rbl.conf, line 1: an override includes no other files"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        DEFER(fileset_free) FileSet *set = fileset_new();
        lay(cases[i].file, cases[i].text, set);
        fails(fileset_refused(set), ERROR_INVALID, cases[i].error);
        assert_int_equal(fileset_count(set), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "render/ucl.h"

#include "expect.h"

#include "base/path.h"

#include <stdio.h>
#include <string.h>

static const char *text_of(const FileSet *set)
{
    File file;

    assert_non_null(fileset_find(set, "rspamd/x.conf", &file));
    return buf_text((Buf *)file.text);
}

static void test_written(void **state)
{
    DEFER(fileset_free) FileSet *set = fileset_new();
    Ucl ucl = ucl_in(set, "rspamd/x.conf", "_rspamd");
    (void)state;

    ucl_comment(&ucl, "words");
    ucl_include(&ucl, UCL_STOCK, "$CONFDIR/common.conf");
    ucl_blank(&ucl);
    ucl_open(&ucl, "worker", "proxy");
    ucl_text(&ucl, "bind_socket", "%s/milter.sock mode=0660", "/node");
    ucl_number(&ucl, "max_message", UINT64_MAX);
    ucl_ten_thousandths(&ucl, "reject", 149999);
    ucl_ten_thousandths(&ucl, "least", 99);
    ucl_seconds(&ucl, "timeout", 90);
    ucl_open(&ucl, "inner", NULL);
    ucl_yes_no(&ucl, "on", true);
    ucl_yes_no(&ucl, "off", false);
    ucl_null(&ucl, "greylist");
    ucl_close(&ucl);
    ucl_list(&ucl, "none", NULL, 0);
    ucl_list(&ucl, "two", (const char *const[]){"a", "b"}, 2);
    ucl_include(&ucl, UCL_OVERRIDE, "$LOCAL_CONFDIR/override.d/x.inc");
    ucl_close(&ucl);
    ucl_include(&ucl, UCL_OURS, "$LOCAL_CONFDIR/local.d/x.inc");
    ok(fileset_refused(set));
    assert_string_equal(text_of(set), "# words\n"
                                      ".include \"$CONFDIR/common.conf\"\n"
                                      "\n"
                                      "worker \"proxy\" {\n"
                                      "    bind_socket = \"/node/milter.sock mode=0660\";\n"
                                      "    max_message = 18446744073709551615;\n"
                                      "    reject = 14.9999;\n"
                                      "    least = 0.0099;\n"
                                      "    timeout = 90s;\n"
                                      "    inner {\n"
                                      "        on = true;\n"
                                      "        off = false;\n"
                                      "        greylist = null;\n"
                                      "    }\n"
                                      "    none = [];\n"
                                      "    two = [\"a\", \"b\"];\n"
                                      "    .include(try=true,priority=10) \"$LOCAL_CONFDIR/override.d/x.inc\"\n"
                                      "}\n"
                                      ".include(priority=5) \"$LOCAL_CONFDIR/local.d/x.inc\"\n");
}

static void test_refused(void **state)
{
    static const struct {
        const char *value, *error;
    } cases[] = {
        {"a\nb", "rspamd/x.conf: key: the value holds a control character"},
        {"a\tb", "rspamd/x.conf: key: the value holds a control character"},
        {"\x7f", "rspamd/x.conf: key: the value holds a control character"},
        {"\xc3(", "rspamd/x.conf: key: the value is not UTF-8"},
        {"\xed\xa0\x80", "rspamd/x.conf: key: the value is not UTF-8"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        DEFER(fileset_free) FileSet *set = fileset_new();
        Ucl ucl = ucl_in(set, "rspamd/x.conf", NULL);
        ucl_text(&ucl, "key", "%s", cases[i].value);
        fails(fileset_refused(set), ERROR_INVALID, cases[i].error);
        assert_string_equal(text_of(set), "key = \"\";\n");
    }
}

/* ---- read back by the real tool ---------------------------------------------------- */

/* As JSON, which rspamadm writes; the values stand in it between the quotes. */
static const char *const hostile[][2] = {
    {"a\"b", "a\\\"b"},
    {"a\\n\\", "a\\\\n\\\\"},
    {"${CONFDIR} $CONFDIR $DBDIR $$", "${CONFDIR} $CONFDIR $DBDIR $$"},
    {"{= env.HOME =} {% if x %} {# c #} {{ y }}", "{= env.HOME =} {% if x %} {# c #} {{ y }}"},
    {"a # b ; c /* d */ // e", "a # b ; c /* d */ // e"},
    {"'}]){[", "'}]){["},
    {".include \\\"/etc/passwd\\\"", ".include \\\\\\\"/etc/passwd\\\\\\\""},
    {" <<EOD ", " <<EOD "},
    {"\xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80", "\xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80"},
    {"yes", "yes"},
    {"10k", "10k"},
    {"null", "null"},
    {"", ""},
};

enum { N_HOSTILE = sizeof hostile / sizeof hostile[0] };

static void dump(const FileSet *set, Buf *out)
{
    char folder[] = "/tmp/unit-ucl.XXXXXX", chunk[4096];
    assert_non_null(mkdtemp(folder));
    DEFER(xfree) char *path = xasprintf("%s/x.conf", folder);
    DEFER(xfree) char *command = xasprintf("rspamadm configdump -c %s -C test 2>/dev/null", path);
    const char *text = text_of(set);

    ok(file_write(path, text, strlen(text), 0644, (gid_t)-1));
    FILE *tool = popen(command, "r");
    assert_non_null(tool);
    for (size_t got; (got = fread(chunk, 1, sizeof chunk, tool));)
        buf_append(out, chunk, got);
    pclose(tool);
    folder_remove(folder);
}

static void test_reads_back(void **state)
{
    DEFER(fileset_free) FileSet *set = fileset_new();
    DEFER(buf_done) Buf out = {0};
    const char *values[N_HOSTILE];
    Ucl ucl = ucl_in(set, "rspamd/x.conf", NULL);
    (void)state;

    ucl_open(&ucl, "test", NULL);
    for (size_t i = 0; i < N_HOSTILE; i++) {
        DEFER(xfree) char *key = xasprintf("k%02zu", i);
        ucl_text(&ucl, key, "%s", hostile[i][0]);
        values[i] = hostile[i][0];
    }
    ucl_list(&ucl, "all", values, N_HOSTILE);
    ucl_close(&ucl);
    ok(fileset_refused(set));
    dump(set, &out);
    const char *said = strchr(buf_text(&out), '{');
    assert_non_null(said);
    for (size_t i = 0; i < N_HOSTILE; i++) {
        DEFER(xfree) char *want = xasprintf("\"k%02zu\":\"%s\",", i, hostile[i][1]);
        if (!strstr(said, want))
            fail_msg("%s is not in %s", want, said);
    }
    for (size_t i = 1; i < N_HOSTILE; i++) {
        DEFER(xfree) char *want = xasprintf("\"%s\",\"%s\"", hostile[i - 1][1], hostile[i][1]);
        if (!strstr(said, want))
            fail_msg("%s is not in %s", want, said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

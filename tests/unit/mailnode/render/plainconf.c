#include "render/plainconf.h"

#include "expect.h"

#include "base/loop.h"
#include "base/path.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char *text_of(const FileSet *set)
{
    File file;

    assert_non_null(fileset_find(set, "x/x.conf", &file));
    return buf_text((Buf *)file.text);
}

static void test_written(void **state)
{
    static const struct {
        PlainGrammar grammar;
        const char *text;
    } cases[] = {
        {PLAIN_REDIS, "# words\ndir \"/node/a b\"\nappendonly yes\nport 18446744073709551615\n"},
        {PLAIN_CLAMD, "# words\ndir \"/node/a b\"\nappendonly yes\nport 18446744073709551615\n"},
        {PLAIN_UNBOUND, "# words\n    dir: \"/node/a b\"\n    appendonly: yes\n    port: 18446744073709551615\n"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        DEFER(fileset_free) FileSet *set = fileset_new();
        PlainConf conf = plainconf_in(set, "x/x.conf", NULL, cases[i].grammar);
        plainconf_comment(&conf, "words");
        plainconf_text(&conf, "dir", "%s/a b", "/node");
        plainconf_word(&conf, "appendonly", "yes");
        plainconf_number(&conf, "port", UINT64_MAX);
        ok(fileset_refused(set));
        assert_string_equal(text_of(set), cases[i].text);
    }
}

static void test_unbound(void **state)
{
    DEFER(fileset_free) FileSet *set = fileset_new();
    PlainConf conf = plainconf_in(set, "x/x.conf", NULL, PLAIN_UNBOUND);
    (void)state;

    plainconf_section(&conf, "server");
    plainconf_text_word(&conf, "access-control", "127.0.0.0/8", "allow");
    assert_string_equal(text_of(set), "server:\n    access-control: \"127.0.0.0/8\" allow\n");
}

static char long_value[512];

static void test_refused(void **state)
{
    static const struct {
        PlainGrammar grammar;
        const char *value, *error;
    } cases[] = {
        {PLAIN_CLAMD, "", "x/x.conf: key: the value is empty"},
        {PLAIN_CLAMD, "a\nUser root", "x/x.conf: key: the value holds a control character"},
        {PLAIN_CLAMD, "a\x7f", "x/x.conf: key: the value holds a control character"},
        {PLAIN_CLAMD, long_value, "x/x.conf: key: the value is too long for its line"},
        {PLAIN_CLAMD, long_value + 1, NULL},
        {PLAIN_CLAMD, "a\"b\\c\"", NULL},
        {PLAIN_UNBOUND, "", "x/x.conf: key: the value is empty"},
        {PLAIN_UNBOUND, "a\rb", "x/x.conf: key: the value holds a control character"},
        {PLAIN_UNBOUND, "a\"b", "x/x.conf: key: the value holds a quote or backslash"},
        {PLAIN_UNBOUND, "a\\", "x/x.conf: key: the value holds a quote or backslash"},
        {PLAIN_UNBOUND, long_value, NULL},
        {PLAIN_REDIS, "", NULL},
        {PLAIN_REDIS, "a\nb\"\\", NULL},
    };
    (void)state;

    memset(long_value, 'a', 505); /* with name, blank and quotes one octet over the 510 */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        DEFER(fileset_free) FileSet *set = fileset_new();
        PlainConf conf = plainconf_in(set, "x/x.conf", NULL, cases[i].grammar);
        plainconf_text(&conf, "key", "%s", cases[i].value);
        if (cases[i].error) {
            fails(fileset_refused(set), ERROR_INVALID, cases[i].error);
            assert_non_null(strstr(text_of(set), "\"\"\n"));
        } else {
            ok(fileset_refused(set));
        }
    }
}

/* ---- read back by the real tools --------------------------------------------------- */

static char folder[] = "/tmp/unit-plain.XXXXXX";

static int setup(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return folder_remove(folder);
}

static void save(const FileSet *set, const char *name)
{
    DEFER(xfree) char *path = xasprintf("%s/%s", folder, name);
    const char *text = text_of(set);

    ok(file_write(path, text, strlen(text), 0644, (gid_t)-1));
}

static void said(const char *command, Buf *out)
{
    char chunk[4096];
    FILE *tool = popen(command, "r");

    assert_non_null(tool);
    for (size_t got; (got = fread(chunk, 1, sizeof chunk, tool));)
        buf_append(out, chunk, got);
    pclose(tool);
}

static void test_clamd_reads_back(void **state)
{
    static const char *const cases[][2] = {
        {"LocalSocket", "/a \"b\" c"},
        {"LogFile", "/a\\n\\"},
        {"PidFile", "/$x # y"},
        {"VirusEvent", "\""},
        {"TemporaryDirectory", " a "},
        {"User", "\xc3\xa9"},
        {"LocalSocketGroup", long_value + 20},
    };
    DEFER(fileset_free) FileSet *set = fileset_new();
    DEFER(buf_done) Buf out = {0};
    DEFER(xfree) char *command = xasprintf("clamconf -c %s -n 2>&1", folder);
    PlainConf conf = plainconf_in(set, "x/x.conf", NULL, PLAIN_CLAMD);
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        plainconf_text(&conf, cases[i][0], "%s", cases[i][1]);
    save(set, "clamd.conf");
    said(command, &out);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        DEFER(xfree) char *want = xasprintf("\n%s = \"%s\"\n", cases[i][0], cases[i][1]);
        if (!strstr(buf_text(&out), want))
            fail_msg("'%s' is not in\n%s", want, buf_text(&out));
    }
}

static void test_unbound_reads_back(void **state)
{
    static const char *const values[] = {"/a 'b' c", "a: b",     "/$x # y {}",
                                         " a ",      "\xc3\xa9", "include: \x27/etc/passwd\x27"};
    (void)state;

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        DEFER(fileset_free) FileSet *set = fileset_new();
        DEFER(buf_done) Buf out = {0};
        DEFER(xfree) char *command = xasprintf("unbound-checkconf -o identity %s/unbound.conf 2>&1", folder);
        DEFER(xfree) char *want = xasprintf("%s\n", values[i]);
        PlainConf conf = plainconf_in(set, "x/x.conf", NULL, PLAIN_UNBOUND);
        plainconf_section(&conf, "server");
        plainconf_text(&conf, "identity", "%s", values[i]);
        save(set, "unbound.conf");
        said(command, &out);
        assert_string_equal(buf_text(&out), want);
    }
}

/* It has no tool that reads its file: where its socket is tells. */
static void test_redis_reads_back(void **state)
{
    DEFER(fileset_free) FileSet *set = fileset_new();
    DEFER(xfree) char *path = xasprintf("%s/a \"b\\c' \n\x01$x#\xc3\xa9.sock", folder);
    DEFER(xfree) char *file = xasprintf("%s/redis.conf", folder);
    PlainConf conf = plainconf_in(set, "x/x.conf", NULL, PLAIN_REDIS);
    struct stat st;
    (void)state;

    plainconf_number(&conf, "port", 0);
    plainconf_text(&conf, "save", "%s", "");
    plainconf_text(&conf, "unixsocket", "%s", path);
    save(set, "redis.conf");
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout))
            _exit(126);
        execl("/usr/bin/redis-server", "redis-server", file, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    Msec late = clock_ms() + 5000;
    while (stat(path, &st) != 0 && clock_ms() < late && waitpid(pid, NULL, WNOHANG) == 0)
        usleep(2000);
    bool there = stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_unbound),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_clamd_reads_back),
        cmocka_unit_test(test_unbound_reads_back),
        cmocka_unit_test(test_redis_reads_back),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

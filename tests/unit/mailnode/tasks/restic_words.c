/* What restic 0.14 and 0.18 said when these things were done to them, and what a hostile repository may have them say. */
#include "tasks/restic_words.h"

#include "expect.h"

#define TAIL(digit) digit "456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"
#define ID(digit) "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde" digit

static void test_troubles(void **state)
{
    static const struct {
        int exit;
        ResticTrouble is;
        const char *words;
    } cases[] = {
        {0, RESTIC_FINE, "whatever"},
        {1, RESTIC_WRONG_PASSWORD, "Fatal: wrong password or no key found\n"},
        {12, RESTIC_WRONG_PASSWORD, ""},
        {1, RESTIC_LOCKED,
         "unable to create lock in backend: repository is already locked by PID 1 on vm by root (UID 0, GID 0)\n"},
        {11, RESTIC_LOCKED, ""},
        {1, RESTIC_MISSING,
         "Fatal: unable to open config file: stat /r/config: no such file or directory\nIs there a repository at the "
         "following location?\n/r\n"},
        {10, RESTIC_MISSING, "Fatal: repository does not exist"},
        {1, RESTIC_MISSING,
         "Fatal: unable to open config file: unexpected HTTP response (404): 404 Not Found\nIs there a repository at "
         "the following location?\n"},
        /* all of these end so, too: no reason to make one */
        {1, RESTIC_LOGIN,
         "Fatal: unable to open config file: unexpected HTTP response (401): 401 Unauthorized\nIs there a repository "
         "at the following location?\n"},
        {10, RESTIC_LOGIN, "unexpected HTTP response (401): 401 Unauthorized"},
        {1, RESTIC_LOGIN,
         "Fatal: unable to open config file: Stat: The request signature we calculated does not match\nIs there a "
         "repository at the following location?\n"},
        {1, RESTIC_UNREACHABLE,
         "Fatal: unable to open config file: Head \"http://127.0.0.1:1/config\": dial tcp: connect: connection "
         "refused\nIs there a repository at the following location?\n"},
        {10, RESTIC_UNREACHABLE, "dial tcp: lookup nas: no such host"},
        {1, RESTIC_UNREACHABLE,
         "Fatal: unable to open config file: unexpected HTTP response (503): 503\nIs there a repository"},
        {1, RESTIC_DAMAGED,
         "Fatal: unable to open config file: ciphertext verification failed\nIs there a repository at"},
        {1, RESTIC_OTHER,
         "Fatal: unable to open config file: permission denied\nIs there a repository at the following location?"},
        {1, RESTIC_LOGIN, "subprocess ssh: Host key verification failed.\nFatal: unable to open repository"},
        {1, RESTIC_LOGIN,
         "subprocess ssh: root@h: Permission denied (publickey).\nFatal: unable to start the sftp session, error: EOF"},
        {1, RESTIC_UNREACHABLE,
         "subprocess ssh: ssh: connect to host h port 22: Connection refused\nFatal: unable to start the sftp session"},
        {1, RESTIC_FULL, "Fatal: unable to save snapshot: write /r/tmp: no space left on device"},
        {1, RESTIC_FULL, "Save(<data/1>) returned error, retrying after 1s: 507 Insufficient Storage"},
        {1, RESTIC_DAMAGED, "Fatal: repository contains errors"},
        {1, RESTIC_OTHER, "Fatal: no such file"},
        {3, RESTIC_OTHER, "Warning: at least one source file could not be read"},
        {-9, RESTIC_OTHER, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (restic_trouble_of(cases[i].exit, cases[i].words) != cases[i].is)
            fail_msg("%d, '%s': %s", cases[i].exit, cases[i].words,
                     restic_trouble_name(restic_trouble_of(cases[i].exit, cases[i].words)));
}

static void test_literal(void **state)
{
    static const char *const cases[][2] = {
        {"/mail/a/Maildir/.A", "/mail/a/Maildir/.A"},
        {"/.st*ar", "/.st\\*ar"},
        {"/.[abc]?", "/.\\[abc\\]\\?"},
        {"/back\\slash", "/back\\\\slash"},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(xfree) char *pattern = restic_literal(cases[i][0]);
        assert_string_equal(pattern, cases[i][1]);
    }
}

static void test_times(void **state)
{
    static const struct {
        const char *text;
        uint64_t seconds; /* 0: none */
    } cases[] = {
        {"2026-11-28T22:19:08.672212306Z", 1795904348},
        {"2026-11-28T23:19:08.6+01:00", 1795904348},
        {"2026-11-28T16:49:08-05:30", 1795904348},
        {"1970-01-01T00:00:01Z", 1},
        {"1970-01-01T00:00:01+01:00", 0},
        {"2026-11-28 22:19:08Z", 0},
        {"2026-13-28T22:19:08Z", 0},
        {"2026-11-28T22:19:08", 0},
        {"2026-11-28T22:19:08+1:00", 0},
        {"2026-11-28T22:19:08Zx", 0},
        {"", 0},
        {"2026", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t seconds = 0;
        bool is = restic_time_read(cases[i].text, &seconds);
        if (is != (cases[i].seconds != 0) || (is && seconds != cases[i].seconds))
            fail_msg("'%s': %llu", cases[i].text, (unsigned long long)seconds);
    }
}

static ResticSnapshots snapshots_of(const char *text)
{
    ResticSnapshots read = {0};

    ok(restic_snapshots_read(text, strlen(text), &read));
    return read;
}

static const char three[] =
    "[{\"time\":\"2026-11-26T01:00:00Z\",\"hostname\":\"main\",\"tags\":[\"mailnode\",\"plan=nightly\"],\"id\":\"" ID("0") "\"},{\"time\":\"2026-11-28T01:00:00+01:00\",\"paths\":[\"/w/mail\"],\"id\":\"" ID(
        "1") "\"},{\"time\":\"2026-11-27T01:00:00Z\",\"tags\":[7],\"id\":\"f" ID("") "\"}]";

static void test_snapshots_newest_first(void **state)
{
    DEFER(restic_snapshots_done) ResticSnapshots read = snapshots_of(three);

    (void)state;
    assert_int_equal(read.n, 3);
    assert_string_equal(read.list[0].id, ID("1"));
    assert_string_equal(read.list[0].paths[0], "/w/mail");
    assert_string_equal(read.list[2].id, ID("0"));
    assert_string_equal(read.list[2].host, "main");
    assert_int_equal(read.list[2].n_tags, 2);
    assert_string_equal(read.list[2].tags[1], "plan=nightly");
    assert_int_equal(read.list[1].n_tags, 0);
    DEFER(restic_snapshots_done) ResticSnapshots none = snapshots_of("null");
    assert_int_equal(none.n, 0);
}

static void test_snapshots_hostile(void **state)
{
    static const char *const cases[] = {
        "",
        "{}",
        "[",
        "[7]",
        "[{}]",
        "[{\"id\":\"--help\",\"time\":\"2026-11-26T01:00:00Z\"}]",
        "[{\"id\":\"" ID("0") "\"}]",
        "[{\"id\":\"" ID("G") "\",\"time\":\"2026-11-26T01:00:00Z\"}]",
        "[{\"id\":\"" ID("0") "\\u0000\",\"time\":\"2026-11-26T01:00:00Z\"}]",
        "[{\"id\":\"../../etc\",\"time\":\"2026-11-26T01:00:00Z\"}]",
        "[{\"id\":\"" ID("0") "\",\"time\":\"\xff\"}]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ResticSnapshots read = {0};
        fails(restic_snapshots_read(cases[i], strlen(cases[i]), &read), ERROR_DAMAGED, "restic");
    }
}

static void test_choose_B41(void **state)
{
    DEFER(restic_snapshots_done) ResticSnapshots read = snapshots_of(three);
    DEFER(restic_snapshots_done) ResticSnapshots none = snapshots_of("[]");
    const ResticSnapshot *found = NULL;

    (void)state;
    ok(restic_snapshot_choose(&read, "latest", 0, &found));
    assert_string_equal(found->id, ID("1"));
    ok(restic_snapshot_choose(&read, "f012", 0, &found));
    assert_int_equal(found->id[0], 'f');
    ok(restic_snapshot_choose(&read, ID("0"), 0, &found));
    assert_string_equal(found->id, ID("0"));
    ok(restic_snapshot_choose(&read, "", 1795654800 + 86400, &found)); /* 2026-11-27T01:00:00Z */
    assert_int_equal(found->id[0], 'f');
    fails(restic_snapshot_choose(&read, "0123", 0, &found), ERROR_CONFLICT, "several snapshots begin with 0123");
    DEFER(error_free) Error *several = restic_snapshot_choose(&read, "0123", 0, &found);
    assert_string_equal(several->hint, ID("1") " and " ID("0") ": write more of it");
    DEFER(restic_snapshots_done)
    ResticSnapshots two = snapshots_of("[{\"time\":\"2026-11-26T01:00:00Z\",\"id\":\"0123" TAIL(
        "4") "\"},{\"time\":\"2026-11-27T01:00:00Z\",\"id\":\"0123" TAIL("5") "\"}]");
    DEFER(error_free) Error *early = restic_snapshot_choose(&two, "0123", 0, &found);
    assert_string_equal(early->hint, "01235456 and 01234456: write more of it");
    fails(restic_snapshot_choose(&read, "abcd", 0, &found), ERROR_NOT_FOUND, "there is no snapshot abcd");
    fails(restic_snapshot_choose(&read, "", 1000, &found), ERROR_NOT_FOUND, "from that time or before");
    fails(restic_snapshot_choose(&none, "latest", 0, &found), ERROR_NOT_FOUND, "no snapshot yet");
    static const char longer[] = ID("00");
    static const char *const no_ids[] = {"", "012", "--help", "0123 ", "ABCD", "latest:/etc", "$(id)", longer};
    for (size_t i = 0; i < sizeof no_ids / sizeof *no_ids; i++)
        fails(restic_snapshot_choose(&read, no_ids[i], 0, &found), ERROR_INVALID, "4 to 64 digits");
}

static void test_nodes(void **state)
{
    static const char line[] = "{\"name\":\"a\",\"type\":\"file\",\"path\":\"/mail/\\u00e4\",\"size\":3,\"mode\":420,"
                               "\"mtime\":\"2026-11-28T22:19:08Z\",\"struct_type\":\"node\"}";
    static const char *const hostile[] = {"",
                                          "x",
                                          "7",
                                          "{\"struct_type\":\"node\"}",
                                          "null",
                                          "{\"struct_type\":\"node\",\"path\":\"relative\"}",
                                          "{\"struct_type\":\"node\",\"path\":\"/a\\u0000b\"}"};
    DEFER(restic_json_free) json_t *kept = NULL, *other = NULL;
    ResticNode node;
    bool is = false;

    (void)state;
    ok(restic_node_read(line, strlen(line), &node, &is, &kept));
    assert_true(is);
    assert_string_equal(node.path, "/mail/ä");
    assert_int_equal(node.type, 'f');
    assert_int_equal(node.size, 3);
    assert_int_equal(node.mode, 0644);
    static const char first[] = "{\"struct_type\":\"snapshot\"}";
    ok(restic_node_read(first, strlen(first), &node, &is, &other));
    assert_false(is);
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        json_t *none = NULL;
        fails(restic_node_read(hostile[i], strlen(hostile[i]), &node, &is, &none), ERROR_DAMAGED, "restic's list");
    }
}

static void test_steps(void **state)
{
    static const char status[] = "{\"message_type\":\"status\",\"total_bytes\":100,\"bytes_done\":7,\"files_done\":1}";
    static const char scan[] = "{\"message_type\":\"error\",\"error\":{},\"during\":\"scan\",\"item\":\"/a\"}";
    static const char error[] = "{\"message_type\":\"error\",\"error\":{},\"during\":\"archival\",\"item\":\"/a\"}";
    static const char summary[] =
        "{\"message_type\":\"summary\",\"total_files_processed\":3,\"snapshot_id\":\"7525c77f\","
        "\"total_bytes_processed\":-5}";

    (void)state;
    ResticStep step = restic_step_read(status, strlen(status));
    assert_int_equal(step.kind, RESTIC_STEP_STATUS);
    assert_int_equal(step.bytes, 7);
    assert_int_equal(step.of_bytes, 100);
    assert_int_equal(restic_step_read(scan, strlen(scan)).kind, RESTIC_STEP_OTHER);
    step = restic_step_read(error, strlen(error));
    assert_int_equal(step.kind, RESTIC_STEP_ERROR);
    assert_string_equal(step.item, "/a");
    free(step.item);
    step = restic_step_read(summary, strlen(summary));
    assert_int_equal(step.kind, RESTIC_STEP_SUMMARY);
    assert_string_equal(step.snapshot, "7525c77f");
    assert_int_equal(step.bytes, 0);
    assert_int_equal(restic_step_read("{", 1).kind, RESTIC_STEP_OTHER);
    static const char too_long[] = ID("00");
    static const char *const no_ids[] = {"", "7525c77", "7525C77F", "../../etc/x", "7525c77f ", too_long};
    for (size_t i = 0; i < sizeof no_ids / sizeof *no_ids; i++) {
        char line[200];
        snprintf(line, sizeof line, "{\"message_type\":\"summary\",\"snapshot_id\":\"%s\"}", no_ids[i]);
        step = restic_step_read(line, strlen(line));
        assert_int_equal(step.kind, RESTIC_STEP_SUMMARY);
        assert_string_equal(step.snapshot, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_troubles),
        cmocka_unit_test(test_literal),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_snapshots_newest_first),
        cmocka_unit_test(test_snapshots_hostile),
        cmocka_unit_test(test_choose_B41),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

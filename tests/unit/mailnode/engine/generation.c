#include "engine/generation.h"

#include "generations.h"

#include <grp.h>
#include <time.h>

static int begin(void **state)
{
    *state = root_make();
    return 0;
}

static int end(void **state)
{
    folder_remove(*state);
    free(*state);
    return 0;
}

static const struct {
    const char *path;
    mode_t mode;
    const char *group;
} owners[] = {
    {".", 0711, NULL},
    {"postfix", 0750, "daemon"},
    {"postfix/main.cf", 0640, "daemon"},
    {"dovecot", 0700, NULL},
    {"dovecot/dovecot.conf", 0600, NULL},
    {"rspamd/local.d", 0750, "daemon"},
    {"rspamd/local.d/options.inc", 0640, "daemon"},
    {"objects", 0600, NULL},
    {"rendered", 0600, NULL},
};

static void test_written(void **state)
{
    const char *root = *state;
    struct stat st;

    umask(0);
    generation_there(root, 7, "x");
    umask(027);
    assert_false(there(root, "gen/000007.new"));
    for (size_t i = 0; i < sizeof owners / sizeof *owners; i++) {
        DEFER(xfree) char *path = xasprintf("%s/%s", generation_path(root, 7, "").text, owners[i].path);
        if (stat(path, &st) != 0)
            fail_msg("%s is not there", path);
        gid_t gid = owners[i].group ? getgrnam(owners[i].group)->gr_gid : 0;
        if ((st.st_mode & 07777) != owners[i].mode || st.st_uid != 0 || st.st_gid != gid)
            fail_msg("%s: %04o %u:%u", owners[i].path, st.st_mode & 07777, st.st_uid, st.st_gid);
    }
    DEFER(xfree) char *main_cf = xasprintf("%s/postfix/main.cf", generation_path(root, 7, "").text);
    assert_int_equal(stat(main_cf, &st), 0);
    assert_true(time(NULL) - st.st_mtime >= 9); /* no program of Postfix waits for it to get older */
}

static void test_read_back(void **state)
{
    const char *root = *state;
    DEFER(generation_free) Generation *read = NULL, *again = NULL;
    DEFER(rendered_done) Rendered rendered = rendered_of(70, "x");
    Digest texts = rendered_texts(rendered.files);

    generation_there(root, 7, "x");
    ok(generation_read(root, 7, "", &read));
    assert_int_equal(read->number, 7);
    assert_int_equal(read->revision, 70);
    assert_false(read->mended);
    assert_string_equal(read->state->node, "mx1");
    assert_true(digest_equal(&read->rendered.texts, &texts));
    assert_int_equal(fileset_count(read->rendered.files), 4);
    Digest was = fileset_digest(rendered.files, "postfix"), is = fileset_digest(read->rendered.files, "postfix");
    assert_true(digest_equal(&was, &is));

    /* Twice the same, though what is restarted for is no longer known in words. */
    ok(generation_read(root, 7, "", &again));
    was = fileset_restart_digest(read->rendered.files, "postfix");
    is = fileset_restart_digest(again->rendered.files, "postfix");
    assert_true(digest_equal(&was, &is));
    generation_there(root, 8, "y");
    generation_free(&again);
    ok(generation_read(root, 8, "", &again));
    is = fileset_restart_digest(again->rendered.files, "postfix");
    assert_false(digest_equal(&was, &is));
}

static void test_objects(void **state)
{
    const char *root = *state;
    DEFER(generation_free) Generation *read = NULL;
    DEFER(buf_done) Buf prepare = {0};

    generation_there(root, 7, "x");
    prepare_of(99, "other words", &prepare);
    ok(generation_objects_write(root, 7, &prepare));
    ok(generation_read(root, 7, "", &read));
    assert_int_equal(read->revision, 99);

    /* A torn one: what the texts were rendered from stands for it. */
    spoil(root, 7, "objects");
    generation_free(&read);
    ok(generation_read(root, 7, "", &read));
    assert_true(read->mended);
    assert_int_equal(read->revision, 70);
}

/* Cut at each length, and with each octet turned: never half a configuration, never a crash. */
static void test_torn(void **state)
{
    DEFER(rendered_done) Rendered rendered = rendered_of(70, "x");
    DEFER(buf_done) Buf all = {0};

    (void)state;
    rendered_pack(&rendered, &all);
    for (size_t size = 0; size < all.size; size++) {
        Buf cut = {.data = all.data, .size = size};
        Rendered out = {0};
        fails(rendered_unpack(&cut, &out), ERROR_DAMAGED, "does not read back");
        all.data[size] ^= 0x20;
        fails(rendered_unpack(&all, &out), ERROR_DAMAGED, "not read back");
        all.data[size] ^= 0x20;
    }
}

static void test_sweep(void **state)
{
    const char *root = *state;
    DEFER(xfree) uint64_t *numbers = NULL;

    for (uint64_t number = 1; number <= 6; number++)
        generation_there(root, number, "x");
    DEFER(rendered_done) Rendered rendered = rendered_of(70, "x");
    ok(generation_write(root, 9, &rendered));
    generations_sweep(root, (const uint64_t[]){2}, 1);
    assert_false(there(root, "gen/000009.new"));
    assert_int_equal(generations_list(root, &numbers), 4);
    const uint64_t left[] = {2, 4, 5, 6};
    assert_memory_equal(numbers, left, sizeof left);
}

static void test_halves(void **state)
{
    static const struct {
        const char *path;
        bool stays;
    } rows[] = {
        {"trial.aB3dE9", false},
        {"trial.damaged-20260102-030405", true},
        {"run/postfix", true},
        {"run/postfix.jkcdJi", false},
        {"run/slapd.loading-people", true},
        {"gen/000007/objects.000000", false},
        {"gen/000007/rspamd/some.secret", true}, /* a text may be called so */
        {"tls/abc/key.pem", true},
        {"tls/abc/key.pem.QWERTY", false},
        {"tls/self/mx.example.org/key.pem.qwerty", false},
        {"tls/self/mx.example.org/key.pem", true},
    };
    const char *root = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Path path = path_in(root, "var/lib/mailnode/engine/%s", rows[i].path);
        Path folder = path;
        *strrchr(folder.text, '/') = '\0';
        ok(folder_make(folder.text, 0700, 0, 0));
        ok(file_write(path.text, "", 0, 0600, (gid_t)-1));
    }
    halves_sweep(root);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (there(root, rows[i].path) != rows[i].stays)
            fail_msg("%s", rows[i].path);
    }
}

static void test_current(void **state)
{
    const char *root = *state;
    uint64_t number = 9;

    ok(current_read(root, &number));
    assert_int_equal(number, 0);
    ok(current_set(root, 123));
    ok(current_set(root, 1234567));
    ok(current_read(root, &number));
    assert_int_equal(number, 1234567);
    ok(current_set(root, 0));
    ok(current_set(root, 0));
    ok(current_read(root, &number));
    assert_int_equal(number, 0);

    static const char *const elsewhere[] = {"/etc", "gen/12", "gen/000012/postfix", "gen/000000", "gen/../000012"};
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        Path link = path_in(root, "var/lib/mailnode/engine/current");
        assert_int_equal(symlink(elsewhere[i], link.text), 0);
        fails(current_read(root, &number), ERROR_DAMAGED, "leads to no generation");
        assert_int_equal(unlink(link.text), 0);
    }
}

static void test_trial(void **state)
{
    const char *root = *state;
    Trial trial = {9, 9};
    uint64_t number = 0;

    ok(trial_read(root, &trial));
    assert_int_equal(trial.number, 0);
    ok(current_set(root, 4));
    ok(trial_begin(root, &(Trial){5, 4}));
    ok(current_set(root, 5));
    ok(trial_read(root, &trial));
    assert_int_equal(trial.number, 5);
    assert_int_equal(trial.last, 4);
    ok(trial_back(root, &trial));
    ok(current_read(root, &number));
    assert_int_equal(number, 4);
    ok(trial_back(root, &trial)); /* and once more: the link back is used up */
    ok(current_read(root, &number));
    assert_int_equal(number, 4);
    ok(trial_end(root));
    assert_false(there(root, "trial"));
    assert_false(there(root, "current.back"));

    ok(trial_begin(root, &(Trial){5, 0}));
    ok(trial_back(root, &(Trial){5, 0}));
    ok(current_read(root, &number));
    assert_int_equal(number, 0);

    static const char *const broken[] = {"", "5", "5 4", "x y\n", "0 4\n", "5 4 3\n"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        ok(file_write(path_in(root, "var/lib/mailnode/engine/trial").text, broken[i], strlen(broken[i]), 0600,
                      (gid_t)-1));
        fails(trial_read(root, &trial), ERROR_DAMAGED, "trial does not read back");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_written, begin, end),
        cmocka_unit_test_setup_teardown(test_read_back, begin, end),
        cmocka_unit_test_setup_teardown(test_objects, begin, end),
        cmocka_unit_test_setup_teardown(test_torn, begin, end),
        cmocka_unit_test_setup_teardown(test_sweep, begin, end),
        cmocka_unit_test_setup_teardown(test_halves, begin, end),
        cmocka_unit_test_setup_teardown(test_current, begin, end),
        cmocka_unit_test_setup_teardown(test_trial, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "engine/drift.h"

#include "engine/daemon.h"
#include "generations.h"

#include <time.h>

typedef struct Scene {
    char *root;
    Generation *generation;
    Buf found; /* "PATH: WORDS" */
} Scene;

static int begin(void **state)
{
    Scene *new = xcalloc(1, sizeof *new);

    new->root = root_make();
    generation_there(new->root, 3, "x");
    ok(generation_read(new->root, 3, "", &new->generation));
    *state = new;
    return 0;
}

static int end(void **state)
{
    Scene *old = *state;

    generation_free(&old->generation);
    buf_done(&old->found);
    folder_remove(old->root);
    free(old->root);
    free(old);
    return 0;
}

static void note(void *context, const char *path, const char *words)
{
    Scene *on = context;

    buf_printf(&on->found, "%s: %s\n", path, words);
}

static char *place(const Scene *on, const char *path)
{
    return xasprintf("%s/%s", generation_path(on->root, 3, "").text, path);
}

static void put(const Scene *on, const char *path, const char *text)
{
    DEFER(xfree) char *name = place(on, path);
    FILE *file = fopen(name, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void edit(const Scene *on)
{
    put(on, "postfix/main.cf", "a = 1\ntext = by hand\nb = 2\n");
}
static void edit_secret(const Scene *on)
{
    put(on, "dovecot/dovecot.conf", "secret = 2\n");
}
static void take_away(const Scene *on)
{
    DEFER(xfree) char *name = place(on, "postfix/master.cf");
    assert_int_equal(unlink(name), 0);
}
static void open_up(const Scene *on)
{
    DEFER(xfree) char *name = place(on, "dovecot/dovecot.conf"), *folder = place(on, "rspamd/local.d");
    assert_int_equal(chmod(name, 0666), 0);
    assert_int_equal(chmod(folder, 0777), 0);
}
static void add(const Scene *on)
{
    put(on, "rspamd/local.d/own.inc", "x\n");
}
static void add_folder(const Scene *on)
{
    DEFER(xfree) char *name = place(on, "postfix/own");
    assert_int_equal(mkdir(name, 0755), 0);
    put(on, "postfix/own/file", "x\n");
}
static void link_out(const Scene *on)
{
    DEFER(xfree) char *name = place(on, "postfix/main.cf");
    assert_int_equal(unlink(name), 0);
    assert_int_equal(symlink("/etc/passwd", name), 0);
}
static void folder_instead(const Scene *on)
{
    DEFER(xfree) char *name = place(on, "postfix/main.cf");
    assert_int_equal(unlink(name), 0);
    assert_int_equal(mkdir(name, 0755), 0);
}
static void nothing(const Scene *on)
{
    (void)on;
}

static const struct {
    void (*happens)(const Scene *on);
    const char *found;
    unsigned daemons;
} cases[] = {
    {nothing, "", 0},
    {edit, "postfix/main.cf: - text = x\n+ text = by hand\n", 1U << DAEMON_POSTFIX},
    {edit_secret, "dovecot/dovecot.conf: differs; its text holds secrets and is not shown\n", 1U << DAEMON_DOVECOT},
    {take_away, "postfix/master.cf: is gone\n", 1U << DAEMON_POSTFIX},
    {open_up, "dovecot/dovecot.conf: mode 0666, not 0600\nrspamd/local.d: mode 0777, not 0750\n",
     1U << DAEMON_DOVECOT | 1U << DAEMON_RSPAMD},
    {add, "rspamd/local.d/own.inc: does not belong here\n", 1U << DAEMON_RSPAMD},
    {add_folder, "postfix/own: does not belong here\n", 1U << DAEMON_POSTFIX},
    {link_out, "postfix/main.cf: is no regular file\n", 1U << DAEMON_POSTFIX},
    {folder_instead, "postfix/main.cf: is no regular file\n", 1U << DAEMON_POSTFIX},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *scene = NULL;
        begin(&scene);
        Scene *on = scene;
        const DriftFound found = {note, on};
        size_t n = 99;
        unsigned which = 0;

        print_message("%zu\n", i);
        cases[i].happens(on);
        ok(drift_look(on->root, on->generation, &found, &n, &which));
        assert_string_equal(buf_text(&on->found), cases[i].found);
        assert_int_equal(which, cases[i].daemons);
        buf_clear(&on->found);
        ok(drift_mend(on->root, on->generation, &found, &n, &which));
        assert_string_equal(buf_text(&on->found), cases[i].found);
        buf_clear(&on->found);
        ok(drift_look(on->root, on->generation, &found, &n, &which));
        assert_string_equal(buf_text(&on->found), "");
        assert_int_equal(n, 0);
        end(&scene);
    }
}

/* What somebody added is not thrown away. */
static void test_aside(void **state)
{
    Scene *on = *state;
    const DriftFound found = {note, on};
    size_t n;
    unsigned which;

    for (int i = 0; i < 2; i++) {
        add(on);
        ok(drift_mend(on->root, on->generation, &found, &n, &which));
    }
    assert_true(there(on->root, "aside/rspamd-local.d-own.inc.1"));
    assert_true(there(on->root, "aside/rspamd-local.d-own.inc.2"));
}

/* A file that is put right is as old as Postfix wants it. */
static void test_age(void **state)
{
    Scene *on = *state;
    const DriftFound found = {note, on};
    size_t n;
    unsigned which;
    struct stat st;

    edit(on);
    ok(drift_mend(on->root, on->generation, &found, &n, &which));
    DEFER(xfree) char *name = place(on, "postfix/main.cf");
    assert_int_equal(stat(name, &st), 0);
    assert_true(time(NULL) - st.st_mtime >= 9);
    assert_int_equal(st.st_mode & 07777, 0640);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test_setup_teardown(test_aside, begin, end),
        cmocka_unit_test_setup_teardown(test_age, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

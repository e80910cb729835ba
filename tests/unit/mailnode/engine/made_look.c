#include "engine/made.h"

#include "base/alloc.h"
#include "base/path.h"
#include "engine/publish.h"
#include "sql.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

static char store[] = "/tmp/made.XXXXXX";
static Buf seen;

static int setup(void **state)
{
    (void)state;
    snprintf(store, sizeof store, "/tmp/made.XXXXXX");
    return mkdtemp(store) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    buf_done(&seen);
    return folder_remove(store);
}

static void put(const char *folder, const char *file, const char *text)
{
    DEFER(xfree) char *path = xasprintf("%s/%s", store, folder);
    DEFER(xfree) char *whole = xasprintf("%s/%s", path, file);

    mkdir(path, 0700);
    ok(file_write(whole, text, strlen(text), 0600, (gid_t)-1));
}

static void note(void *context, const char *folder, const char *name, char *const *acl, size_t n_acl)
{
    (void)context;
    buf_printf(&seen, "%s=%s", folder, name ? name : "?");
    for (size_t i = 0; i < n_acl; i++)
        buf_printf(&seen, " %s", acl[i]);
    buf_append_text(&seen, "\n");
}

static const char *look_at(uint64_t now_s, bool wanted)
{
    bool again = !wanted;

    buf_done(&seen);
    seen = (Buf){0};
    ok(made_look(store, now_s, note, NULL, &again));
    assert_int_equal(again, wanted);
    return buf_text(&seen);
}

static const char *look(void)
{
    return look_at((uint64_t)time(NULL) + 5, false);
}

/* What Dovecot writes, and what somebody may have it write. */
static const struct {
    const char *file, *entries;
} lists[] = {
    {"user=alice akxeilprwts\n", " user:alice:full"},
    {"\"user=a'b\" lrs\n\"group=back\\\\slash\" l\ngroup=x lr\nanyone l\n",
     " user:a'b:read group:back\\slash:l group:x:lr anyone:l"},
    {"authenticated lr\n", " anyone:lr"},
    {"user=alice lrs\nanyone\n", " user:alice:read"},
    {"user=alice lrs\nanyone \n", " user:alice:read"},
    {"# comment\n\nuser=alice lrs:more words\n", " user:alice:read"},
    {"user=alice lrs\nuser=alice full\n", " user:alice:read"},
    {"user=ALICE lrs\n", " user:alice:read"},
    /* what is taken from somebody, or is of nobody here, leaves users alone, and of them nobody who loses something */
    {"user=alice lrs\ngroup=sales lrs\nanyone l\n-user=bob l\n", " user:alice:read"},
    {"user=alice lrs\nuser=bob lrs\n-user=bob s\n", " user:alice:read"},
    {"user=alice lrs\ngroup=sales lrs\ngroup-override=x l\n", " user:alice:read"},
    {"user=alice lrs\nanyone lr\nowner lrs\n", " user:alice:read"},
    {"user=alice lrs\nanyone lr\n\"user=open lrs\n", " user:alice:read"},
    {"anyone lrQ\n", ""},
    {"user=../../x:y lrs\n", ""},
    {"group=sales lrs\n-user=bob l\n", ""},
    /* nobody has anything: it was removed */
    {"", NULL},
    {"anyone\n", NULL},
    {"user=alice\nanyone \n", NULL},
};

static void rights_of_lists(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        DEFER(xfree) char *wanted = lists[i].entries ? xasprintf(".A.B=A/B%s\n", lists[i].entries) : xstrdup("");
        put(".A.B", "dovecot-acl", lists[i].file);
        if (strcmp(look(), wanted) != 0)
            fail_msg("%s: %s", lists[i].file, buf_text(&seen));
    }
}

/* Stated ones, those that are being made and restored ones are left alone; what has no name in the model is told. */
static void which_folders(void **state)
{
    static const char *const names[][2] = {
        {".A.B", "A/B"}, {".a&AOQ-", "a\xc3\xa4"}, {".INBOX", "?"},     {".a*b", "?"},
        {".~x", "?"},    {".&AGE-", "?"},          {".u&AwgA4A-", "?"}, /* not NFC */};

    (void)state;
    put(".Stated", "dovecot-acl", "anyone l\n");
    put(".Stated", "mailnode-acl", ".Stated\nanyone l\n");
    put(".A.Restored folder.B", "dovecot-acl", "anyone l\n");
    put("x", "dovecot-acl", "anyone l\n");
    put(".New", "maildirfolder", "");
    assert_string_equal(look(), "");
    put(".Old", "dovecot-acl", "anyone l\n");
    put(".Old", "mailnode-acl", ".Stated\nanyone l\n"); /* it was renamed */
    assert_string_equal(look(), ".Old=Old anyone:l\n");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        DEFER(xfree) char *line = xasprintf("%s=%s anyone:l\n", names[i][0], names[i][1]);
        put(names[i][0], "dovecot-acl", "anyone l\n");
        if (!strstr(look(), line))
            fail_msg("%s: %s", line, buf_text(&seen));
    }
}

/* Seconds after its last change in which Dovecot may still be at it, and what is told then; the clock may be behind. */
static void young_ones_wait(void **state)
{
    DEFER(xfree) char *path = xasprintf("%s/.New/dovecot-acl", store);
    const struct timespec at[2] = {{.tv_sec = 1000000, .tv_nsec = 999999999},
                                   {.tv_sec = 1000000, .tv_nsec = 999999999}};

    (void)state;
    put(".New", "dovecot-acl", "user=alice lrs\n");
    assert_int_equal(utimensat(AT_FDCWD, path, at, 0), 0);
    for (uint64_t now_s = 1000000 - 1; now_s < 1000002; now_s++)
        assert_string_equal(look_at(now_s, true), "");
    assert_string_equal(look_at(1000002, false), ".New=New user:alice:read\n");
    assert_string_equal(look_at(1000, false), ".New=New user:alice:read\n");
    put(".New", "mailnode-acl", ".New\nuser=alice lrs\n");
    assert_string_equal(look_at(1000000, false), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rights_of_lists, setup, teardown),
        cmocka_unit_test_setup_teardown(which_folders, setup, teardown),
        cmocka_unit_test_setup_teardown(young_ones_wait, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

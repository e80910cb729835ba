#include "tasks/shadow.h"

#include "base/path.h"
#include "expect.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static char root[] = "/tmp/shadow.XXXXXX";
static char source[64], shadow[64];
static ShadowCounts counts;

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/shadow.XXXXXX");
    if (!mkdtemp(root))
        return -1;
    snprintf(source, sizeof source, "%s/mail", root);
    snprintf(shadow, sizeof shadow, "%s/tree", root);
    return mkdir(source, 0700) || mkdir(shadow, 0700);
}

static int teardown(void **state)
{
    (void)state;
    return folder_remove(root);
}

static char *in(const char *folder, const char *name)
{
    return xasprintf("%s/%s", folder, name);
}

/* With the folders that it needs. */
static void put(const char *name, const char *text)
{
    DEFER(xfree) char *path = in(source, name);

    for (char *slash = strchr(path + strlen(source) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    ok(file_write(path, text, strlen(text), 0600, (gid_t)-1));
}

static void moved(const char *from, const char *to)
{
    DEFER(xfree) char *old = in(source, from), *new = in(source, to);

    assert_int_equal(rename(old, new), 0);
}

static void gone(const char *name)
{
    DEFER(xfree) char *path = in(source, name);

    assert_int_equal(unlink(path), 0);
}

static void synced(ShadowForm form)
{
    ok(shadow_sync(source, shadow, form, NULL, NULL, &counts));
}

static bool there(const char *name)
{
    DEFER(xfree) char *path = in(shadow, name);
    struct stat st;

    return lstat(path, &st) == 0;
}

/* The same file in both trees. */
static bool linked(const char *name)
{
    DEFER(xfree) char *path = in(shadow, name), *from = in(source, name);
    struct stat st, from_st;

    return lstat(path, &st) == 0 && lstat(from, &from_st) == 0 && st.st_ino == from_st.st_ino;
}

/* How many files are in a folder of the shadow. */
static unsigned files_in(const char *name)
{
    DEFER(xfree) char *path = in(shadow, name);
    DEFER(dir_close) DIR *dir = opendir(path);
    unsigned n = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += entry->d_type != DT_DIR;
    return n;
}

/* ---- what is taken ---- */

static void takes_what_is_mail(void **state)
{
    static const char *const taken[] = {
        "alice/Maildir/new/1.M1P1.h,S=5,W=6",
        "alice/Maildir/cur/2.M1P1.h:2,S",
        "alice/Maildir/dovecot-uidlist",
        "alice/Maildir/dovecot-uidvalidity",
        "alice/Maildir/subscriptions",
        "alice/Maildir/.A.B/cur/3.h:2,",
        "alice/Maildir/.A.B/dovecot-keywords",
        "alice/Maildir/.A.B/maildirfolder",
        "alice/Maildir/.A.B/dovecot-acl",
        "alice/Maildir/.A.B/dovecot.index.pvt.log",
        "alice/sieve/rules.sieve",
        "alice/public-seen/.Team/dovecot.index.pvt.log",
        "alice/shared-seen.bob/dovecot.index.pvt.log",
        "alice/shared-seen.bob/.Team/dovecot.index.pvt.log",
        "tmp/Maildir/cur/4.h:2,",
        ".x/Maildir/cur/5.h:2,",
        "alice/Maildir/.tmp/cur/6.h:2,a",
    };
    static const char *const left[] = {
        "alice/Maildir/tmp/1.h",
        "alice/Maildir/dovecot.index",
        "alice/Maildir/dovecot.index.cache",
        "alice/Maildir/dovecot.list.index.log",
        "alice/Maildir/dovecot-uidlist.lock",
        "alice/Maildir/maildirsize",
        "alice/Maildir/.A.B/tmp/7.h",
        "alice/Maildir/.A.B/dovecot.index.log",
        "alice/Maildir/.A.B/deeper/8.h",
        "alice/Maildir/..DOVECOT-TRASHED/cur/9.h",
        "alice/Maildir/cur/.nfs0001",
        "alice/Maildir/fts/10",
        "alice/sieve/tmp/11",
        "alice/public-seen/dovecot.list.index.log",
        "alice/shared-seen.bob/dovecot.list.index.log",
        "alice/sieve/rules.svbin",
        "alice/other/12",
        "loose",
    };

    (void)state;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        put(taken[i], "x");
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        put(left[i], "x");
    synced(SHADOW_HOMES);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (!linked(taken[i]))
            fail_msg("not taken: %s", taken[i]);
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        if (there(left[i]))
            fail_msg("taken: %s", left[i]);
    assert_int_equal(counts.linked, sizeof taken / sizeof *taken);
    assert_int_equal(counts.refused, 0);
    assert_true(counts.still);
}

static void takes_public_mailboxes(void **state)
{
    (void)state;
    put(".Sales/cur/1.h:2,", "x");
    put(".Sales/mailnode-acl", "x");
    put("dovecot-uidvalidity", "x");
    synced(SHADOW_MAILDIRS);
    assert_true(linked(".Sales/cur/1.h:2,") && linked(".Sales/mailnode-acl") && linked("dovecot-uidvalidity"));
}

/* ---- what changes ---- */

static void follows_changes(void **state)
{
    (void)state;
    put("a/Maildir/new/1.h", "one");
    put("a/Maildir/cur/2.h:2,", "two");
    put("a/Maildir/cur/3.h:2,", "three");
    put("a/Maildir/.Old/cur/4.h:2,", "four");
    put("a/Maildir/dovecot-uidlist", "1");
    put("b/Maildir/cur/5.h:2,", "five");
    synced(SHADOW_HOMES);
    assert_int_equal(counts.linked, 6);
    synced(SHADOW_HOMES);
    assert_int_equal(counts.linked + counts.renamed + counts.dropped, 0);

    moved("a/Maildir/new/1.h", "a/Maildir/cur/1.h:2,S");    /* seen */
    moved("a/Maildir/cur/2.h:2,", "a/Maildir/cur/2.h:2,F"); /* flagged */
    gone("a/Maildir/cur/3.h:2,");                           /* expunged */
    moved("a/Maildir/.Old", "a/Maildir/.New");              /* folder renamed */
    put("a/Maildir/dovecot-uidlist", "22");                 /* another inode under the name */
    DEFER(xfree) char *b = in(source, "b");
    folder_remove(b);
    synced(SHADOW_HOMES);
    assert_true(linked("a/Maildir/cur/1.h:2,S") && linked("a/Maildir/cur/2.h:2,F"));
    assert_true(linked("a/Maildir/.New/cur/4.h:2,") && linked("a/Maildir/dovecot-uidlist"));
    assert_int_equal(files_in("a/Maildir/cur"), 2);
    assert_int_equal(files_in("a/Maildir/new"), 0);
    assert_false(there("a/Maildir/.Old") || there("b"));
    assert_int_equal(counts.renamed, 2);
    assert_int_equal(counts.linked, 2);
    assert_int_equal(counts.dropped, 3);
}

/* Between the two renames of one message, and with what a broken client left: one name of each. */
static void one_name_each(void **state)
{
    DEFER(xfree) char *new = in(source, "a/Maildir/new/1.h"), *cur = in(source, "a/Maildir/cur/1.h:2,S");

    (void)state;
    put("a/Maildir/new/1.h", "x");
    put("a/Maildir/cur/2.h:2,", "x");
    assert_int_equal(link(new, cur), 0);
    synced(SHADOW_HOMES);
    assert_int_equal(files_in("a/Maildir/new"), 0);
    assert_true(linked("a/Maildir/cur/1.h:2,S"));
    gone("a/Maildir/cur/2.h:2,"); /* the name is given to another message */
    put("a/Maildir/cur/2.h:2,", "another");
    synced(SHADOW_HOMES);
    assert_true(linked("a/Maildir/cur/2.h:2,"));
    assert_int_equal(files_in("a/Maildir/cur"), 2);
}

/* What an earlier run left half done, and what does not belong there. */
static void mends_itself(void **state)
{
    DEFER(xfree) char *old = in(shadow, "a/Maildir/cur/1.h:2,"), *twice = in(shadow, "a/Maildir/cur/1.h:2,F");

    (void)state;
    put("a/Maildir/cur/1.h:2,F", "x");
    synced(SHADOW_HOMES);
    assert_int_equal(link(twice, old), 0);
    synced(SHADOW_HOMES);
    assert_int_equal(files_in("a/Maildir/cur"), 1);
    assert_true(linked("a/Maildir/cur/1.h:2,F"));
    unlink(twice);
    synced(SHADOW_HOMES);
    assert_true(linked("a/Maildir/cur/1.h:2,F"));
}

/* ---- a hostile source ---- */

static void follows_nothing(void **state)
{
    DEFER(xfree) char *secret = in(root, "secret"), *outside = in(root, "outside"), *cur = in(outside, "cur");
    DEFER(xfree) char *file = in(cur, "9.h:2,"), *message = in(source, "a/Maildir/cur/1.h:2,");
    DEFER(xfree) char *folder = in(source, "a/Maildir/.F"), *parts = in(source, "a/Maildir/.G/cur");
    DEFER(xfree)
    char *home = in(source, "b"), *pipe = in(source, "a/Maildir/cur/2.h:2,"),
         *uidlist = in(source, "a/Maildir/dovecot-uidlist"), *foreign = in(source, "a/Maildir/cur/4.h:2,");

    (void)state;
    ok(file_write(secret, "s", 1, 0600, (gid_t)-1));
    assert_true(mkdir(outside, 0700) == 0 && mkdir(cur, 0700) == 0);
    ok(file_write(file, "s", 1, 0600, (gid_t)-1));
    put("a/Maildir/cur/3.h:2,", "x");
    put("a/Maildir/cur/4.h:2,", "x");
    put("a/Maildir/.G/new/5.h", "x");
    assert_int_equal(symlink(secret, message), 0);
    assert_int_equal(symlink(secret, uidlist), 0);
    assert_int_equal(symlink(outside, folder), 0);
    assert_int_equal(symlink(cur, parts), 0);
    assert_int_equal(symlink(outside, home), 0);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(chown(foreign, 12345, 0), 0); /* of another than the tree's owner */
    synced(SHADOW_HOMES);
    assert_true(linked("a/Maildir/cur/3.h:2,") && linked("a/Maildir/.G/new/5.h"));
    assert_int_equal(files_in("a/Maildir/cur"), 1);
    assert_int_equal(files_in("a/Maildir/.G/cur"), 0);
    assert_int_equal(files_in("a/Maildir"), 0);
    assert_false(there("b") || there("a/Maildir/.F"));
    assert_int_equal(counts.refused, 6);
}

/* Pigeonhole's link to the active script, and what is made to look like it. */
static void active_script(void **state)
{
    static const struct {
        const char *target;
        bool taken;
    } cases[] = {{"sieve/rules.sieve", true},   {"/etc/shadow", false}, {"sieve/../../x", false},
                 {"sieve/a/b", false},          {"sieve/", false},      {"sieve/..", false},
                 {"../b/sieve/x.sieve", false}, {"sieve", false}};
    DEFER(xfree) char *link = in(source, "a/.dovecot.sieve");

    (void)state;
    put("a/sieve/rules.sieve", "keep;");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unlink(link);
        assert_int_equal(symlink(cases[i].target, link), 0);
        synced(SHADOW_HOMES);
        if (there("a/.dovecot.sieve") != cases[i].taken)
            fail_msg("%s: %s", cases[i].target, cases[i].taken ? "not taken" : "taken");
    }
}

static void any_name(void **state)
{
    static const char *const names[] = {"a/Maildir/.*/cur/1.h:2,",      "a/Maildir/.[abc]/cur/2.h:2,",
                                        "a/Maildir/.a\nb\tc/cur/3.h",   "a/Maildir/.\xff\xfe/cur/4.h",
                                        "a/Maildir/.\\ \"'$/cur/5.h:2", "a/Maildir/.-n/cur/-rf",
                                        "a/Maildir/.a..b/cur/6.h"};
    char longest[256];

    (void)state;
    memset(longest, 'n', 255);
    longest[255] = '\0';
    memcpy(longest, ".", 1);
    DEFER(xfree) char *name = xasprintf("a/Maildir/%s/cur/7.h", longest);
    put(name, "x");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        put(names[i], "x");
    synced(SHADOW_HOMES);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!linked(names[i]))
            fail_msg("not taken: %s", names[i]);
    assert_true(linked(name));
}

/* A file has 65,000 names on ext4.  Where the file system has no such limit, the link is made. */
static void all_names_used_up(void **state)
{
    DEFER(xfree) char *message = in(source, "a/Maildir/cur/1.h:2,"), *copy = in(shadow, "a/Maildir/cur/1.h:2,");
    DEFER(xfree) char *elsewhere = in(root, "names");
    DEFER(buf_done) Buf text = {0};

    (void)state;
    put("a/Maildir/cur/1.h:2,", "the message");
    assert_int_equal(mkdir(elsewhere, 0700), 0);
    for (unsigned i = 0; i < 65000; i++) {
        DEFER(xfree) char *name = xasprintf("%s/%u", elsewhere, i);
        if (link(message, name) != 0)
            break;
    }
    synced(SHADOW_HOMES);
    ok(file_read(copy, 100, &text));
    assert_string_equal(buf_text(&text), "the message");
    synced(SHADOW_HOMES);
    assert_int_equal(files_in("a/Maildir/cur"), 1);
}

/* ---- told ---- */

static bool at_once(void *context)
{
    (void)context;
    return true;
}

static void says_why(void **state)
{
    DEFER(xfree) char *nowhere = in(root, "nowhere");

    (void)state;
    fails(shadow_sync(source, shadow, SHADOW_HOMES, at_once, NULL, &counts), ERROR_CONFLICT, "cancelled");
    fails(shadow_sync(nowhere, shadow, SHADOW_HOMES, NULL, NULL, &counts), ERROR_SYSTEM, "No such file");
    fails(shadow_sync("/proc", shadow, SHADOW_HOMES, NULL, NULL, &counts), ERROR_SYSTEM, "different file systems");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(takes_what_is_mail, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_public_mailboxes, setup, teardown),
        cmocka_unit_test_setup_teardown(follows_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(one_name_each, setup, teardown),
        cmocka_unit_test_setup_teardown(mends_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(follows_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(active_script, setup, teardown),
        cmocka_unit_test_setup_teardown(any_name, setup, teardown),
        cmocka_unit_test_setup_teardown(all_names_used_up, setup, teardown),
        cmocka_unit_test_setup_teardown(says_why, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

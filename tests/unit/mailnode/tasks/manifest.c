#include "tasks/manifest_inside.h"

#include "base/path.h"
#include "expect.h"
#include "tasks/shadow.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#define HEAD "mailnode-mailbox 1\n"
#define ALL "mailnode-manifest 1\n"

static Error *list_of(const char *text, MailboxList **ret_list)
{
    DEFER(buf_done) Buf buf = {0};

    buf_append_text(&buf, text);
    return mailbox_list_read(&buf, ret_list);
}

/* ---- one mailbox ---- */

static void reads_what_it_writes(void **state)
{
    DEFER(mailbox_list_free) MailboxList *list = NULL;
    DEFER(buf_done) Buf out = {0};
    MailboxText text;

    (void)state;
    mailbox_text_begin(&text, &out);
    mailbox_text_folder(&text, "");
    mailbox_text_message(&text, "1.M1P1.h,S=5:2,S", 5, false);
    mailbox_text_message(&text, "2", 7, true);
    mailbox_text_folder(&text, ".a\tb\n\\c\xff \xc3\xa4");
    mailbox_text_folder(&text, ".b");
    mailbox_text_message(&text, "-rf \x01", 0, false);
    mailbox_text_end(&text);
    assert_string_equal(buf_text(&out), HEAD "F\t\t2\t12\n"
                                             "C\t5\t1.M1P1.h,S=5:2,S\n"
                                             "N\t7\t2\n"
                                             "F\t.a\\x09b\\x0a\\x5cc\\xff \\xc3\\xa4\t0\t0\n"
                                             "F\t.b\t1\t0\n"
                                             "C\t0\t-rf \\x01\n"
                                             "E\t3\t3\t12\n");
    ok(mailbox_list_read(&out, &list));
    assert_int_equal(mailbox_list_count(list), 3);
    const ManifestFolder *inbox = mailbox_list_folder(list, 0);
    assert_string_equal(inbox->name, "");
    assert_int_equal(inbox->n_messages, 2);
    assert_int_equal(inbox->bytes, 12);
    assert_string_equal(inbox->messages[0].name, "1.M1P1.h,S=5:2,S");
    assert_int_equal(inbox->messages[0].size, 5);
    assert_false(inbox->messages[0].fresh);
    assert_true(inbox->messages[1].fresh);
    assert_string_equal(mailbox_list_folder(list, 1)->name, ".a\tb\n\\c\xff \xc3\xa4");
    assert_string_equal(mailbox_list_folder(list, 2)->messages[0].name, "-rf \x01");
}

static const struct {
    const char *text, *words;
} hostile[] = {
    {"", "it is empty"},
    {"\n", "it is no such list"},
    {"mailnode-mailbox 1", "line 1: the end is missing"},
    {"mailnode-mailbox \n", "it is no such list"},
    {"mailnode-mailbox 0\n", "no such version"},
    {"mailnode-mailbox x\n", "no such number"},
    {"mailnode-mailbox 01\n", "no such number"},
    {"mailnode-mailbox 1\tx\n", "it is no such list"},
    {"mailnode-manifest 1\n", "it is no such list"},
    {HEAD, "line 2: the end is missing"},
    {HEAD "F\t\t0\t0\n", "line 3: the end is missing"},
    {HEAD "F\t\t0\t0\nE\t1\t0\t0", "line 3: the end is missing"},
    {HEAD "E\t0\t0\t0\nE\t0\t0\t0\n", "something follows the end"},
    {HEAD "E\t0\t0\n", "no such line"},
    {HEAD "E\t1\t0\t0\n", "do not add up"},
    {HEAD "X\t1\t0\t0\n", "no such line"},
    {HEAD "C\t1\ta\n", "no such line"},
    {HEAD "F\t\t0\t0\t0\n", "no such line"},
    {HEAD "F\t\t0\t0\t0\t0\n", "too many fields"},
    {HEAD "F\t..\t0\t0\nE\t1\t0\t0\n", "no such name"},
    {HEAD "F\t.\t0\t0\nE\t1\t0\t0\n", "no such name"},
    {HEAD "F\t..a\t0\t0\nE\t1\t0\t0\n", "no such name"},
    {HEAD "F\tcur\t0\t0\nE\t1\t0\t0\n", "no such name"},
    {HEAD "F\t.a/../../b\t0\t0\nE\t1\t0\t0\n", "no such name"},
    {HEAD "F\t.a\\x2fb\t0\t0\nE\t1\t0\t0\n", "no such name"},
    {HEAD "F\t.a\\x00b\t0\t0\nE\t1\t0\t0\n", "no such name"},
    {HEAD "F\t.a\\x41b\t0\t0\nE\t1\t0\t0\n", "no such name"}, /* there is one way to write an A */
    {HEAD "F\t.a\\x0Ab\t0\t0\nE\t1\t0\t0\n", "no such name"},
    {HEAD "F\t.a\\x0\t0\t0\nE\t1\t0\t0\n", "no such name"},
    {HEAD "F\t.a\xff\t0\t0\nE\t1\t0\t0\n", "no such name"},
    {HEAD "F\t.b\t0\t0\nF\t.a\t0\t0\nE\t2\t0\t0\n", "out of order"},
    {HEAD "F\t.a\t0\t0\nF\t.a\t0\t0\nE\t2\t0\t0\n", "out of order"},
    {HEAD "F\t\t1\t1\nC\t1\t../../etc/passwd\nE\t1\t1\t1\n", "no such name"},
    {HEAD "F\t\t1\t1\nC\t1\t..\nE\t1\t1\t1\n", "no such name"},
    {HEAD "F\t\t1\t1\nC\t1\t\nE\t1\t1\t1\n", "no such name"},
    {HEAD "F\t\t1\t1\nC\t-1\ta\nE\t1\t1\t1\n", "no such number"},
    {HEAD "F\t\t1\t1\nC\t\ta\nE\t1\t1\t1\n", "no such number"},
    {HEAD "F\t\t1\t1\nC\t1000000000000000000\ta\nE\t1\t1\t1\n", "no such number"},
    {HEAD "F\t\t99999999999999999\t0\nE\t1\t0\t0\n", "folder above do not add up"},
    {HEAD "F\t\t1\t2\nC\t1\ta\nE\t1\t1\t1\n", "folder above do not add up"},
    {HEAD "F\t\t2\t2\nC\t1\ta\nF\t.a\t0\t0\nE\t2\t1\t1\n", "line 4: the figures of the folder above"},
    {HEAD "F\t\t2\t2\nC\t1\tb\nC\t1\ta\nE\t1\t2\t2\n", "out of order"},
    {HEAD "F\t\t2\t2\nC\t1\ta:2,\nC\t1\ta:2,\nE\t1\t2\t2\n", "out of order"},
    {HEAD "F\t\t1\t1\nC\t1\ta\nE\t1\t1\t2\n", "line 4: the figures do not add up"},
};

static void refuses_the_hostile(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        MailboxList *list = NULL;
        Error *err = list_of(hostile[i].text, &list);
        if (!err || err->code != ERROR_DAMAGED || !strstr(err->what, hostile[i].words))
            fail_msg("%zu: %s: %s", i, hostile[i].text, err ? err->what : "taken");
        assert_null(list);
        error_free(&err);
    }
    DEFER(buf_done) Buf nul = {0};
    MailboxList *list = NULL;
    buf_append(&nul, HEAD "F\t.a\0b\t0\t0\nE\t1\t0\t0\n", sizeof(HEAD "F\t.a\0b\t0\t0\nE\t1\t0\t0\n") - 1);
    fails(mailbox_list_read(&nul, &list), ERROR_DAMAGED, "no such name");
    fails(list_of("mailnode-mailbox 2\nsomething else", &list), ERROR_UNSUPPORTED, "a later version (2, known is 1)");

    char longest[300];
    memset(longest, 'n', sizeof longest);
    longest[0] = '.';
    DEFER(xfree) char *text = xasprintf(HEAD "F\t%.256s\t0\t0\nE\t1\t0\t0\n", longest);
    fails(list_of(text, &list), ERROR_DAMAGED, "the name is too long");
}

/* Every beginning of a good one is refused. */
static void refuses_what_is_cut(void **state)
{
    const char *good = HEAD "F\t\t1\t5\nC\t5\t1:2,S\nF\t.b\\xff\t0\t0\nE\t2\t1\t5\n";

    (void)state;
    for (size_t len = 0; len <= strlen(good); len++) {
        DEFER(mailbox_list_free) MailboxList *list = NULL;
        DEFER(buf_done) Buf buf = {0};
        buf_append(&buf, good, len);
        DEFER(error_free) Error *err = mailbox_list_read(&buf, &list);
        if ((err == NULL) != (len == strlen(good)) || (err && err->code != ERROR_DAMAGED))
            fail_msg("%zu octets: %s", len, err ? err->what : "taken");
    }
}

/* ---- families ---- */

static void family_is(const MailboxList *list, const char *folder, const char *wanted, uint64_t messages)
{
    DEFER(buf_done) Buf names = {0};
    ManifestFamily family = {0};

    ok(mailbox_list_family(list, folder, &family));
    for (size_t i = 0; i < family.n; i++)
        buf_printf(&names, "%s|", family.folders[i]->name);
    assert_string_equal(buf_text(&names), wanted);
    assert_int_equal(family.messages, messages);
    assert_int_equal(family.bytes, 10 * messages);
    xfree(&family.folders);
}

/* F-068 */
static void exactly_the_family(void **state)
{
    static const char *const folders[] = {"",     ".A",     ".A B",     ".A-",      ".A.B",   ".A.B.C",   ".AB",
                                          ".Foo", ".INBOX", ".INBOX.x", ".INBOXes", ".[abc]", ".[abc].*", ".a"};
    DEFER(mailbox_list_free) MailboxList *list = NULL;
    DEFER(buf_done) Buf out = {0};
    ManifestFamily family = {0};
    MailboxText text;

    (void)state;
    mailbox_text_begin(&text, &out);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        mailbox_text_folder(&text, folders[i]);
        mailbox_text_message(&text, "1", 10, i % 2);
    }
    mailbox_text_end(&text);
    ok(mailbox_list_read(&out, &list));
    family_is(list, ".A", ".A|.A.B|.A.B.C|", 3);
    family_is(list, ".A.B", ".A.B|.A.B.C|", 2);
    family_is(list, ".a", ".a|", 1);
    family_is(list, "", "|.INBOX.x|", 2);
    family_is(list, ".[abc]", ".[abc]|.[abc].*|", 2);
    fails(mailbox_list_family(list, ".Fo", &family), ERROR_NOT_FOUND, "no such folder");
    fails(mailbox_list_family(list, ".*", &family), ERROR_NOT_FOUND, "no such folder");
}

/* ---- all mailboxes ---- */

static void finds_mailboxes(void **state)
{
    DEFER(manifest_free) Manifest *manifest = NULL;
    DEFER(buf_done) Buf out = {0};
    ManifestEntry entries[] = {
        {MAILBOX_PUBLIC, ".Sales", 1, 2, 30}, {MAILBOX_USER, "bob", 3, 4, 50}, {MAILBOX_USER, "a\tb", 1, 0, 0}};

    (void)state;
    manifest_text(entries, 3, &out);
    assert_string_equal(buf_text(&out), ALL "user\ta\\x09b\t1\t0\t0\n"
                                            "user\tbob\t3\t4\t50\n"
                                            "public\t.Sales\t1\t2\t30\n"
                                            "E\t3\t6\t80\n");
    ok(manifest_read(&out, &manifest));
    assert_int_equal(manifest_count(manifest), 3);
    assert_int_equal(manifest_find(manifest, MAILBOX_USER, "bob")->messages, 4);
    assert_int_equal(manifest_find(manifest, MAILBOX_PUBLIC, ".Sales")->bytes, 30);
    assert_non_null(manifest_find(manifest, MAILBOX_USER, "a\tb"));
    assert_null(manifest_find(manifest, MAILBOX_USER, ".Sales"));
    assert_null(manifest_find(manifest, MAILBOX_USER, "bo"));

    static const struct {
        MailboxKind kind;
        const char *name, *path;
    } paths[] = {{MAILBOX_USER, "alice", "mailboxes/user/alice"},
                 {MAILBOX_USER, "a.b", "mailboxes/user/a.b"},
                 {MAILBOX_PUBLIC, ".Sales", "mailboxes/public/Sales"},
                 {MAILBOX_PUBLIC, ".Sales.EU.x", "mailboxes/public/Sales"}};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        DEFER(xfree) char *path = manifest_path(paths[i].kind, paths[i].name);
        assert_string_equal(path, paths[i].path);
    }
}

static void refuses_hostile_mailboxes(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {ALL "user\t..\t1\t1\t1\nE\t1\t1\t1\n", "no such name"},
        {ALL "user\t\t1\t1\t1\nE\t1\t1\t1\n", "no such name"},
        {ALL "user\ta/b\t1\t1\t1\nE\t1\t1\t1\n", "no such name"},
        {ALL "public\tSales\t1\t1\t1\nE\t1\t1\t1\n", "no such name"},
        {ALL "public\t..\t1\t1\t1\nE\t1\t1\t1\n", "no such name"},
        {ALL "other\ta\t1\t1\t1\nE\t1\t1\t1\n", "no such line"},
        {ALL "user\tb\t0\t0\t0\nuser\ta\t0\t0\t0\nE\t2\t0\t0\n", "line 3: out of order"},
        {ALL "public\t.a\t0\t0\t0\nuser\ta\t0\t0\t0\nE\t2\t0\t0\n", "out of order"},
        {ALL "user\ta\t1\t1\t1\nE\t1\t1\t2\n", "do not add up"},
        {ALL "user\ta\t1\t1\t1\n", "the end is missing"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_done) Buf buf = {0};
        Manifest *manifest = NULL;
        buf_append_text(&buf, cases[i].text);
        fails(manifest_read(&buf, &manifest), ERROR_DAMAGED, cases[i].words);
        assert_null(manifest);
    }
}

/* ---- from a tree ---- */

static void put(const char *root, const char *name, size_t size)
{
    DEFER(xfree) char *path = xasprintf("%s/%s", root, name);
    DEFER(xfree) char *text = xcalloc(1, size + 1);

    for (char *slash = strchr(path + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    ok(file_write(path, text, size, 0600, (gid_t)-1));
}

static void written_is(const char *state_folder, const char *name, const char *wanted)
{
    DEFER(xfree) char *path = xasprintf("%s/%s", state_folder, name);
    DEFER(buf_done) Buf text = {0};

    ok(file_read(path, 10000, &text));
    assert_string_equal(buf_text(&text), wanted);
}

static void of_a_tree(void **state)
{
    char root[] = "/tmp/manifest.XXXXXX";
    ManifestTotals totals;

    (void)state;
    assert_non_null(mkdtemp(root));
    put(root, "mail/alice/Maildir/new/2.h", 20);
    put(root, "mail/alice/Maildir/cur/1.h:2,S", 10);
    put(root, "mail/alice/Maildir/dovecot-uidlist", 99);
    put(root, "mail/alice/Maildir/.A.B/cur/3.h:2,", 30);
    put(root, "mail/alice/Maildir/.A/maildirfolder", 0);
    put(root, "mail/nobody/sieve/x.sieve", 5);
    put(root, "public/.S.T/cur/4.h:2,", 40);
    put(root, "public/.S/new/5.h", 50);
    put(root, "public/.S U/new/6.h", 60);
    put(root, "state/objects", 1);
    DEFER(xfree)
    char *mail = xasprintf("%s/mail", root), *public = xasprintf("%s/public", root), *out = xasprintf("%s/state", root);
    ok(manifest_write(mail, public, out, NULL, NULL, &totals));
    written_is(out, "manifest",
               ALL "user\talice\t3\t3\t60\n"
                   "public\t.S\t1\t1\t50\n"
                   "public\t.S U\t1\t1\t60\n"
                   "public\t.S.T\t1\t1\t40\n"
                   "E\t4\t6\t210\n");
    written_is(out, "mailboxes/user/alice",
               HEAD "F\t\t2\t30\n"
                    "C\t10\t1.h:2,S\n"
                    "N\t20\t2.h\n"
                    "F\t.A\t0\t0\n"
                    "F\t.A.B\t1\t30\n"
                    "C\t30\t3.h:2,\n"
                    "E\t3\t3\t60\n");
    written_is(out, "mailboxes/public/S",
               HEAD "F\t.S\t1\t50\n"
                    "N\t50\t5.h\n"
                    "F\t.S.T\t1\t40\n"
                    "C\t40\t4.h:2,\n"
                    "E\t2\t2\t90\n");
    written_is(out, "mailboxes/public/S U",
               HEAD "F\t.S U\t1\t60\n"
                    "N\t60\t6.h\n"
                    "E\t1\t1\t60\n");
    assert_int_equal(totals.mailboxes, 4);
    assert_int_equal(totals.folders, 6);
    assert_int_equal(totals.messages, 6);
    assert_int_equal(totals.bytes, 210);
    fails(manifest_write(mail, public, out, NULL, NULL, &totals), ERROR_SYSTEM, "mailboxes: mkdir: File exists");
    folder_remove(root);
}

/* F-065: the list of 10,000 folders with 200,000 messages is there within the second that asking takes. */
static void many_folders(void **state)
{
    DEFER(mailbox_list_free) MailboxList *list = NULL;
    DEFER(buf_done) Buf out = {0};
    MailboxText text;
    struct timespec begin, end;

    (void)state;
    mailbox_text_begin(&text, &out);
    for (int i = 0; i < 10000; i++) {
        DEFER(xfree) char *folder = xasprintf(".Folder %05d", i);
        mailbox_text_folder(&text, folder);
        for (int j = 0; j < 20; j++) {
            DEFER(xfree) char *name = xasprintf("1700000000.M%06dP1234.mx1,S=5000,W=5100:2,S", j);
            mailbox_text_message(&text, name, 5000, false);
        }
    }
    mailbox_text_end(&text);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    ok(mailbox_list_read(&out, &list));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    assert_int_equal(mailbox_list_count(list), 10000);
    int64_t took_ms = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
    if (took_ms > 500)
        fail_msg("%lld ms", (long long)took_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(refuses_the_hostile),
        cmocka_unit_test(refuses_what_is_cut),
        cmocka_unit_test(exactly_the_family),
        cmocka_unit_test(finds_mailboxes),
        cmocka_unit_test(refuses_hostile_mailboxes),
        cmocka_unit_test(of_a_tree),
        cmocka_unit_test(many_folders),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tasks/restore_family.h"

#include "expect.h"
#include "tasks/manifest.h"

#define X10 "xxxxxxxxxx"
#define X200 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10

/* Of these folders, those that are meant; where they go to. */
static void check(const char *mailbox, const char *folder, const char *const *there, const char *wanted)
{
    DEFER(family_free) Family *family = NULL;
    DEFER(xfree) char *got = xstrdup("");

    ok(family_new(mailbox, folder, &family));
    for (; *there; there++)
        if (folder_within(*there, family->from))
            ok(family_add(family, *there));
    ok(family_named(family));
    for (size_t i = 0; i < family->n; i++) {
        char *more = xasprintf("%s%s>%s\n", got, family->folders[i].from, family->folders[i].to);
        xfree(&got);
        got = more;
    }
    assert_string_equal(got, wanted);
}

static void exactly_the_family(void **state)
{
    const char *const user[] = {"",         ".Foo",    ".Foobar", ".Foo.a", ".Foo.a.b",     ".Foo2", ".A.Foo",
                                ".INBOX.x", ".INBOXy", ".st*",    ".star",  ".&AOk-t&AOk-", NULL};
    const char *const public[] = {".Sales",    ".Sales.Leads",           ".Sales.Leads.x",
                                  ".Salesman", ".Sales.Restored folder", NULL};

    (void)state;
    check("user:alice", "Foo", user,
          ".Foo>.Restored folder.Foo\n.Foo.a>.Restored folder.Foo.a\n.Foo.a.b>.Restored folder.Foo.a.b\n");
    check("user:alice", "Foo/a", user, ".Foo.a>.Restored folder.a\n.Foo.a.b>.Restored folder.a.b\n");
    check("user:alice", "inBox", user, ">.Restored folder.INBOX\n.INBOX.x>.Restored folder.INBOX.x\n");
    check("user:alice", "inbox/x", user, ".INBOX.x>.Restored folder.x\n");
    check("user:alice", "st*", user, ".st*>.Restored folder.st*\n");
    check("user:alice", "été", user, ".&AOk-t&AOk->.Restored folder.&AOk-t&AOk-\n");
    check("user:alice", "none", user, "");
    check("public:Sales", "Leads", public,
          ".Sales.Leads>.Sales.Restored folder.Leads\n.Sales.Leads.x>.Sales.Restored folder.Leads.x\n");
    check("public:Sales", "INBOX", public,
          ".Sales>.Sales.Restored folder.Sales\n.Sales.Leads>.Sales.Restored folder.Sales.Leads\n"
          ".Sales.Leads.x>.Sales.Restored folder.Sales.Leads.x\n"
          ".Sales.Restored folder>.Sales.Restored folder.Sales.Restored folder\n");
    check("public:Sales/Leads", "INBOX", public,
          ".Sales.Leads>.Sales.Leads.Restored folder.Leads\n.Sales.Leads.x>.Sales.Leads.Restored folder.Leads.x\n");
}

static void what_is_no_name(void **state)
{
    static const struct {
        const char *mailbox, *folder, *words;
    } cases[] = {
        {"alice", "A", "mailbox 'alice' is none"},
        {"user:", "A", "mailbox 'user:'"},
        {"user:..", "A", "mailbox 'user:..'"},
        {"user:a/b", "A", "'/'"},
        {"public:a.b", "A", "no dot"},
        {"public:../x", "A", "mailbox 'public:../x'"},
        {"user:a", "", "names none"},
        {"user:a", "..", "no folder has a dot"},
        {"user:a", "A.B", "no folder has a dot"},
        {"user:a", "/A", "empty level"},
        {"user:a", "A/", "empty level"},
        {"user:a", "A//B", "empty level"},
        {"user:a", "\xff", "not UTF-8"},
        {"user:a", X200 X200 X200 X200 X200 X10, "1010 octets"},
    };
    Family *family = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        fails(family_new(cases[i].mailbox, cases[i].folder, &family), ERROR_INVALID, cases[i].words);
}

/* A backup is anybody's. */
static void hostile_backups(void **state)
{
    static const char *const names[] = {".A..",  ".A./x", ".A.../../etc", ".A.x/y",  ".A.\n",        ".A.",
                                        ".A..x", ".A.\t", ".A.\xc3\xa9",  ".A.\x7f", ".A." X200 X200};
    DEFER(family_free) Family *family = NULL;

    (void)state;
    ok(family_new("user:a", "A", &family));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        fails(family_add(family, names[i]), ERROR_DAMAGED, "no name of one");
    }
    assert_int_equal(family->n, 0);
}

static void too_long_is_shortened(void **state)
{
    DEFER(family_free) Family *family = NULL, *deep = NULL;
    DEFER(xfree) char *shown = NULL;

    (void)state;
    ok(family_new("user:a", X200 X10 X10 X10 "\xc3\xa9" X10, &family)); /* 246 on the disk */
    ok(family_add(family, family->from));
    ok(family_named(family));
    assert_true(family->shortened);
    assert_string_equal(family->name, X200 X10 X10 X10 "\xc3\xa9"
                                                       "xxx"); /* 17 + 230 + "&AOk-" + 3 */
    assert_int_equal(strlen(family->folders[0].to), FAMILY_DISK_OCTETS);
    shown = family_shown(family);
    assert_non_null(strstr(shown, "Restored folder/xxx"));

    ok(family_new("user:a", "A", &deep));
    ok(family_add(deep, ".A." X200 X10 X10 X10 X10));
    fails(family_named(deep), ERROR_INVALID, "too long");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_the_family),
        cmocka_unit_test(what_is_no_name),
        cmocka_unit_test(hostile_backups),
        cmocka_unit_test(too_long_is_shortened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

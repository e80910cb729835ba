#include "ldap/members.h"

#include "expect.h"

#define SET MAIL__EDIT_OP__SET
#define CLEAR MAIL__EDIT_OP__CLEAR
#define APPEND MAIL__EDIT_OP__APPEND
#define TAKE MAIL__EDIT_OP__TAKE

static char *listed(const Members *members)
{
    char *list = xstrdup("");

    for (const Member *member = members->first; member; member = member->hh.next) {
        char *more = xasprintf("%s%s%s", list, *list ? "," : "", member->name);
        free(list);
        list = more;
    }
    return list;
}

static void edits(void **state)
{
    static const struct {
        Mail__EditOp op;
        const char *value, *want, *error;
    } cases[] = {
        {SET, "carol,dave", "carol,dave", NULL},
        {SET, "", "", NULL},
        {SET, "dave,Dave,DAVE", "dave", NULL},
        {CLEAR, NULL, "", NULL},
        {CLEAR, "x", "", NULL},
        {APPEND, "carol", "alice,bob,carol", NULL},
        {APPEND, "bob", "alice,bob", NULL},
        {TAKE, "alice", "bob", NULL},
        {TAKE, "carol", "alice,bob", NULL},
        {TAKE, "alice,bob", "", NULL},
        {APPEND, "c@d", NULL, "members: user c@d: '@' is not allowed"},
        {APPEND, "c,,d", NULL, "members: user : names nobody"},
        {APPEND, "c\nd", NULL, "is not allowed"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(members_done) Members members = {0};
        Mail__FieldEdit edit = MAIL__FIELD_EDIT__INIT;
        members_add(&members, "alice");
        members_add(&members, "bob");
        edit.op = cases[i].op;
        edit.value = (char *)cases[i].value;
        Error *err = members_edit(&members, &edit);
        if (cases[i].error) {
            fails(err, ERROR_INVALID, cases[i].error);
            continue;
        }
        ok(err);
        DEFER(xfree) char *got = listed(&members);
        assert_string_equal(got, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

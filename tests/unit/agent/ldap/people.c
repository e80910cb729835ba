#include "ldap/people.h"

#include "expect.h"

enum { VALUES_MAX = 4 };

/* An entry as text: attribute, value; size 0: as long as it is. */
typedef struct Said {
    const char *name, *value;
    size_t size;
} Said;

typedef struct Made {
    Attribute attributes[8];
    Value values[8][VALUES_MAX];
    Entry entry;
} Made;

static const Entry *entry_of(Made *made, const char *dn, const Said *said)
{
    size_t n = 0;

    for (; said->name; said++) {
        size_t i = 0;
        while (i < n && strcmp(made->attributes[i].name, said->name) != 0)
            i++;
        if (i == n)
            made->attributes[n++] = (Attribute){said->name, made->values[i], 0};
        made->values[i][made->attributes[i].n++] = (Value){said->value, said->size ? said->size : strlen(said->value)};
    }
    made->entry = (Entry){dn, made->attributes, n};
    return &made->entry;
}

#define UUID                                                                                                           \
    {                                                                                                                  \
        "entryUUID", "c9cbe062-7caf-1041-8086-5522ff0b9370", 0                                                         \
    }
#define LOCKED(time)                                                                                                   \
    {                                                                                                                  \
        "pwdAccountLockedTime", time, 0                                                                                \
    }
#define ENDS(time)                                                                                                     \
    {                                                                                                                  \
        "pwdEndTime", time, 0                                                                                          \
    }

static void users(void **state)
{
    static const struct {
        const char *dn;
        Said said[6];
        const char *name, *full_name; /* name NULL: left out */
        bool enabled;
    } cases[] = {
        {"uid=alice,ou=People", {UUID, {"uid", "alice", 0}}, "alice", NULL, true},
        {"uid=alice,ou=People", {UUID, {"displayName", "Alice A.", 0}}, "alice", "Alice A.", true},
        {"UID=Alice,ou=People", {UUID}, "Alice", NULL, true},
        {"uid=alice+cn=x,ou=People", {UUID, {"uid", "bob", 0}, {"uid", "alice", 0}}, "alice", NULL, true},
        {"uid=a\\2cb,ou=People", {UUID}, "a,b", NULL, true},
        {"cn=alice,ou=People", {UUID, {"uid", "alice", 0}}, NULL, NULL, false},
        {"no dn", {UUID}, NULL, NULL, false},
        {"", {UUID}, NULL, NULL, false},
        {"uid=a\\00b,ou=People", {UUID}, NULL, NULL, false},
        {"uid=a\\01b,ou=People", {UUID}, NULL, NULL, false},
        {"uid=\\ff,ou=People", {UUID}, NULL, NULL, false},
        {"uid=\\E2\\80\\AEx,ou=People", {UUID}, NULL, NULL, false}, /* right to left */
        {"uid=a,ou=People", {UUID, {"displayName", "a\nb", 0}}, "a", NULL, true},
        {"uid=a,ou=People", {UUID, {"displayName", "a\0b", 3}}, "a", NULL, true},
        {"uid=a,ou=People", {UUID, LOCKED("000001010000Z")}, "a", NULL, false},
        {"uid=a,ou=People", {UUID, LOCKED("00000101000000Z")}, "a", NULL, true}, /* no lock of an admin's */
        {"uid=a,ou=People", {UUID, LOCKED("20261125000621Z")}, "a", NULL, true}, /* by itself, after bad passwords */
        {"uid=a,ou=People", {UUID, ENDS("19700101000000Z")}, "a", NULL, false},
        {"uid=a,ou=People", {UUID, ENDS("99991231235959Z")}, "a", NULL, true},
        {"uid=a,ou=People", {UUID, ENDS("never")}, "a", NULL, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Mail__Account *account = NULL;
        Made made = {0};
        ok(account_of_entry(MAIL__ACCOUNT_KIND__USER, entry_of(&made, cases[i].dn, cases[i].said), &account));
        if (!account != !cases[i].name)
            fail_msg("%s: %s", cases[i].dn, account ? account->name : "left out");
        if (!account)
            continue;
        assert_string_equal(account->name, cases[i].name);
        if (account->enabled != cases[i].enabled)
            fail_msg("row %zu: enabled %d", i, account->enabled);
        if (cases[i].full_name)
            assert_string_equal(account->full_name, cases[i].full_name);
        else
            assert_null(account->full_name);
        account_free(&account);
        assert_null(account);
    }
}

static void groups(void **state)
{
    Mail__Account *account = NULL;
    Made made = {0};
    const Said said[] = {UUID,
                         {"memberUid", "alice", 0},
                         {"memberUid", "a\0b", 3},
                         {"memberUid", "\xff", 0},
                         {"memberUid", "bob", 0},
                         {NULL, NULL, 0}};

    (void)state;
    ok(account_of_entry(MAIL__ACCOUNT_KIND__GROUP, entry_of(&made, "cn=sales,ou=Groups", said), &account));
    assert_non_null(account);
    assert_string_equal(account->name, "sales");
    assert_int_equal(account->n_members, 2);
    assert_string_equal(account->members[0], "alice");
    assert_string_equal(account->members[1], "bob");
    assert_false(account->has_enabled);
    account_free(&account);
}

/* Rights that hide what rows are keyed by must not look like everybody having left. */
static void no_uuid_is_no_answer(void **state)
{
    Mail__Account *account = NULL;
    Made made = {0};
    const Said said[] = {{"uid", "alice", 0}, {NULL, NULL, 0}};

    (void)state;
    fails(account_of_entry(MAIL__ACCOUNT_KIND__USER, entry_of(&made, "uid=alice,ou=People", said), &account),
          ERROR_UNAVAILABLE, "entryUUID");
    assert_null(account);
}

static void places(void **state)
{
    Place place = place_of("/run/x", "staff");

    (void)state;
    assert_string_equal(place.suffix, "dc=staff,dc=mailnode");
    assert_string_equal(place.people, "ou=People,dc=staff,dc=mailnode");
    assert_string_equal(place.groups, "ou=Groups,dc=staff,dc=mailnode");
    place_done(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users),
        cmocka_unit_test(groups),
        cmocka_unit_test(no_uuid_is_no_answer),
        cmocka_unit_test(places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

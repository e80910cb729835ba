/* The real mirror.c over a stand-in directory and journal, which say what a test wants. */
#include "accounts/mirror.h"
#include "accounts/accounts.h"

#include "base/buf.h"

#include "expect.h"

/* ---- the stand-in journal ---- */

static Wanted wanted;
static const char *instance_here, *holder;
static Buf said; /* happenings */

const Wanted *journal_wanted(const Journal *journal)
{
    (void)journal;
    return &wanted;
}

unsigned journal_life(const Journal *journal)
{
    (void)journal;
    return 1;
}

bool journal_receiving(const Journal *journal)
{
    (void)journal;
    return false;
}

Error *journal_instance(Journal *journal, const char *node, char **ret_instance)
{
    (void)journal;
    (void)node;
    *ret_instance = instance_here ? xstrdup(instance_here) : NULL;
    return NULL;
}

static Error *get(void *self, const ObjectRef *ref, Object **ret_object)
{
    (void)self;
    if (ref->kind == MAIL__OBJECT__BODY_INSTANCE) {
        *ret_object = object_new(ref->kind, NULL, ref->name);
        (*ret_object)->instance->user_domain = xstrdup("staff");
    } else if (holder) {
        *ret_object = object_new(ref->kind, NULL, ref->name);
        (*ret_object)->user_domain->node = xstrdup(holder);
    }
    return NULL;
}

TablesView journal_view(Journal *journal, const char *instance)
{
    (void)journal;
    return (TablesView){.instance = instance, .objects = {.get = get}};
}

void journal_happened(Journal *journal, Mail__FactState severity, const char *what, const char *format, ...)
{
    (void)journal;
    (void)severity;
    (void)format;
    buf_printf(&said, "%s; ", what);
}

/* ---- the stand-in directory ---- */

static bool there, waits_for;
static char *unless;
static unsigned n_looks;
static uint64_t writes, mirrored;
static DirectoryLook answer;
static const char *answer_state, *users[4];
static size_t n_users;
static bool asked;

bool directory_look(Directory *directory, const char *user_domain, const char *state, Msec now)
{
    (void)directory;
    (void)now;
    assert_string_equal(user_domain, "staff");
    n_looks++;
    free(unless);
    unless = state ? xstrdup(state) : NULL;
    asked = there;
    return there;
}

static Envelope *accounts_of(const char *const *names, size_t n)
{
    Mail__Account list[4], *items[4];
    Mail__Accounts body = MAIL__ACCOUNTS__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT, *out = NULL;
    DEFER(buf_done) Buf bytes = {0};
    uint64_t id;

    for (size_t i = 0; i < n; i++) {
        mail__account__init(items[i] = &list[i]);
        list[i].has_kind = list[i].has_enabled = list[i].enabled = true;
        list[i].name = list[i].uuid = (char *)names[i];
    }
    body.accounts = items;
    body.n_accounts = n;
    body.state = (char *)answer_state;
    envelope.has_id = true;
    envelope.id = 1;
    envelope.body_case = MAIL__ENVELOPE__BODY_ACCOUNTS;
    envelope.accounts = &body;
    ok(envelope_pack(&envelope, &bytes));
    ok(envelope_unpack(bytes.data, bytes.size, &out, &id));
    return out;
}

DirectoryLook directory_looked(Directory *directory, Envelope **ret_part, Error **ret_why)
{
    (void)directory;
    if (!asked || answer == LOOK_PENDING)
        return LOOK_PENDING;
    if (answer == LOOK_FAILED)
        *ret_why = error_new(ERROR_UNAVAILABLE, "no answer in time");
    if (answer == LOOK_PART || answer == LOOK_LAST)
        *ret_part = accounts_of(users, n_users);
    DirectoryLook now = answer;
    asked = answer == LOOK_PART;
    answer = answer == LOOK_PART ? LOOK_FAILED : answer; /* a reading that breaks off */
    return now;
}

void directory_mirrors(Directory *directory, const char *user_domain)
{
    (void)directory;
    waits_for = user_domain != NULL;
}

uint64_t directory_writes(const Directory *directory, const char *user_domain)
{
    (void)directory;
    (void)user_domain;
    return writes;
}

void directory_mirrored(Directory *directory, uint64_t n)
{
    (void)directory;
    mirrored = n;
}

/* ---- the tests ---- */

static Mirror *mirror;
static Msec now;

static int setup(void **state)
{
    (void)state;
    wanted = (Wanted){.revision = 7};
    instance_here = "main";
    holder = "mx1";
    there = true;
    n_looks = 0;
    writes = mirrored = 0;
    asked = false;
    answer = LOOK_PENDING;
    now = 1000000;
    mirror = mirror_new(NULL, NULL, "mx1");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mirror_free(&mirror);
    xfree(&unless);
    buf_done(&said);
    return 0;
}

static void answers(DirectoryLook look, const char *state, size_t n, const char *one, const char *other)
{
    answer = look;
    answer_state = state;
    n_users = n;
    users[0] = one;
    users[1] = other;
}

/* How many users came; -1: nothing. */
static int runs(Msec after)
{
    now += after;
    AccountSet *set = mirror_run(mirror, now);
    int n = set ? (int)account_set_users(set) : -1;
    account_set_free(&set);
    return n;
}

static void assert_away(bool known, bool away)
{
    bool got = false;

    assert_int_equal(mirror_away(mirror, &got), known);
    assert_int_equal(got, away);
}

static void everything_first_then_only_news(void **state)
{
    (void)state;
    assert_int_equal(runs(0), -1);
    assert_int_equal(n_looks, 1);
    assert_null(unless);
    assert_away(false, false);
    answers(LOOK_LAST, "s1", 2, "alice", "bob");
    assert_int_equal(runs(1), 2);
    assert_away(true, false);
    assert_int_equal(mirrored, 0);
    mirror_written(mirror);
    assert_int_equal(runs(MIRROR_LOOK_MS - 2), -1);
    assert_int_equal(n_looks, 1); /* each second */
    runs(2);
    assert_int_equal(n_looks, 2);
    assert_string_equal(unless, "s1");
    answers(LOOK_SAME, NULL, 0, NULL, NULL);
    assert_int_equal(runs(1), -1);
    runs(MIRROR_LOOK_MS);
    answers(LOOK_LAST, "s2", 2, "alice", "bob"); /* a failed login: the state moved, nobody did */
    assert_int_equal(runs(1), -1);
    runs(MIRROR_LOOK_MS);
    assert_string_equal(unless, "s2");
    answers(LOOK_LAST, "s3", 1, "alice", NULL);
    assert_int_equal(runs(1), 1);
}

static void ours_are_seen_at_once(void **state)
{
    (void)state;
    runs(0);
    answers(LOOK_LAST, "s1", 1, "alice", NULL);
    assert_int_equal(runs(1), 1);
    mirror_written(mirror);
    writes = 5;
    answer = LOOK_PENDING;
    runs(1);
    assert_int_equal(n_looks, 2);
    answers(LOOK_LAST, "s2", 2, "alice", "bob");
    assert_int_equal(runs(1), 2);
    assert_int_equal(mirrored, 0); /* not before the tables have it */
    mirror_written(mirror);
    assert_int_equal(mirrored, 5);
}

/* What waits for the tables is not read again and again, and nothing says that they have it. */
static void tables_that_are_slow(void **state)
{
    (void)state;
    runs(0);
    answers(LOOK_LAST, "s1", 1, "alice", NULL);
    assert_int_equal(runs(1), 1);
    writes = 3;
    answers(LOOK_SAME, NULL, 0, NULL, NULL);
    runs(1);
    runs(1);
    assert_string_equal(unless, "s1");
    assert_int_equal(mirrored, 0);
    mirror_again(mirror); /* the tables were lost */
    answer = LOOK_PENDING;
    runs(1);
    assert_null(unless);
}

static void half_a_reading_is_none(void **state)
{
    (void)state;
    runs(0);
    answers(LOOK_PART, NULL, 1, "alice", NULL);
    assert_int_equal(runs(1), -1);
    assert_away(false, false); /* once is a hiccup */
    assert_int_equal(runs(MIRROR_LOOK_MS), -1);
    answers(LOOK_LAST, "s1", 1, "", NULL); /* what is in it has no name */
    assert_int_equal(runs(1), -1);
    assert_away(true, true);
    assert_string_equal(buf_text(&said), "directory away; ");
}

static void away_and_back(void **state)
{
    Mail__FactState fact = MAIL__FACT_STATE__GOOD;

    (void)state;
    runs(0);
    answers(LOOK_LAST, "s1", 1, "alice", NULL);
    runs(1);
    mirror_written(mirror);
    there = false;
    answer = LOOK_PENDING;
    runs(MIRROR_LOOK_MS);
    assert_away(true, false);
    assert_string_equal(mirror_trouble(mirror, &fact), "mail-ldap is not there");
    assert_int_equal(fact, MAIL__FACT_STATE__DEGRADED);
    runs(MIRROR_LOOK_MS);
    assert_away(true, true);
    mirror_trouble(mirror, &fact);
    assert_int_equal(fact, MAIL__FACT_STATE__BAD);
    there = true;
    runs(MIRROR_LOOK_MS);
    answers(LOOK_SAME, NULL, 0, NULL, NULL);
    runs(1);
    assert_away(true, false);
    assert_null(mirror_trouble(mirror, &fact));
    assert_string_equal(buf_text(&said), "directory away; "); /* once */
}

static void directories_of_others(void **state)
{
    Mail__FactState fact = MAIL__FACT_STATE__GOOD;

    (void)state;
    holder = "mx2";
    runs(0);
    assert_int_equal(n_looks, 0);
    assert_string_equal(mirror_trouble(mirror, &fact),
                        "user domain staff is on node mx2: directories of other nodes are not read yet");
    assert_int_equal(fact, MAIL__FACT_STATE__UNKNOWN);
    assert_away(true, true); /* who is not known here may be known there */
    holder = "mx1";
    wanted.revision++;
    runs(1);
    assert_int_equal(n_looks, 1);
    assert_true(waits_for);
    instance_here = NULL;
    wanted.revision++;
    answers(LOOK_LAST, "s1", 1, "alice", NULL);
    assert_int_equal(runs(1), -1); /* it was asked for an instance that is gone */
    assert_string_equal(mirror_trouble(mirror, &fact), "no instance is placed here: none are needed");
    assert_int_equal(fact, MAIL__FACT_STATE__GOOD);
    assert_false(waits_for);
    runs(MIRROR_WHOLE_MS);
    assert_int_equal(n_looks, 1);
}

static void when_it_counts_as_away(void **state)
{
    static const struct {
        Looks looks;
        Msec now;
        bool away;
    } cases[] = {
        {{0, 0, 0}, 1000000, false},
        {{5000, 1, 0}, 1000000, false}, /* it answers, and was not asked for long */
        {{5000, 1, 1}, 6000, false},
        {{5000, 1, 2}, 6000, true},
        {{5000, 1, 1}, 5000 + MIRROR_AWAY_MS, true},
        {{0, 5000, 1}, 5000 + MIRROR_AWAY_MS - 1, false},
        {{0, 5000, 1}, 5000 + MIRROR_AWAY_MS, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (looks_away(&cases[i].looks, cases[i].now) != cases[i].away)
            fail_msg("row %zu", i);
}

/* A reading of 4 s is not made each second. */
static void long_readings_are_rare(void **state)
{
    (void)state;
    runs(0);
    answers(LOOK_LAST, "s1", 1, "alice", NULL);
    assert_int_equal(runs(4000), 1);
    mirror_written(mirror);
    answer = LOOK_PENDING;
    runs(4000 * MIRROR_REST - 1);
    assert_int_equal(n_looks, 1);
    runs(1);
    assert_int_equal(n_looks, 2);
}

static void sets_differ_where_they_say_something_else(void **state)
{
    static const AccountUser users_of[] = {
        {"1", "alice", NULL, true}, {"1", "alice", "", true}, {"1", "alice", NULL, false},
        {"1", "ali", "ce", true},   {"1", "alic", "e", true}, {"2", "alice", NULL, true},
    };
    enum { N = sizeof users_of / sizeof *users_of };
    Digest digests[N];

    (void)state;
    for (size_t i = 0; i < N; i++) {
        DEFER(account_set_free) AccountSet *set = account_set_new();
        account_set_user(set, &users_of[i]);
        digests[i] = account_set_digest(set);
        for (size_t k = 0; k < i; k++)
            if (digest_equal(&digests[i], &digests[k]))
                fail_msg("rows %zu and %zu", k, i);
    }
    DEFER(account_set_free) AccountSet *whole = account_set_new();
    DEFER(account_set_free) AccountSet *pieces = account_set_new();
    account_set_group(whole, &(AccountGroup){"g", "g", (const char *const[]){"a", "b", "c"}, 3, NULL, 0});
    account_set_group(pieces, &(AccountGroup){"g", "g", (const char *const[]){"a"}, 1, NULL, 0});
    assert_true(account_set_more(pieces, "g", (const char *const[]){"b", "c"}, 2));
    assert_false(account_set_more(pieces, "h", NULL, 0));
    Digest one = account_set_digest(whole), other = account_set_digest(pieces);
    assert_true(digest_equal(&one, &other));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(everything_first_then_only_news),
        TEST(ours_are_seen_at_once),
        TEST(tables_that_are_slow),
        TEST(half_a_reading_is_none),
        TEST(away_and_back),
        TEST(directories_of_others),
        cmocka_unit_test(when_it_counts_as_away),
        TEST(long_readings_are_rare),
        cmocka_unit_test(sets_differ_where_they_say_something_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

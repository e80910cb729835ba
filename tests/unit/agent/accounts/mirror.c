/* The real mirror.c over a stand-in directory and journal, which say what a test wants. */
#include "accounts/mirror.h"

#include "base/buf.h"

#include "expect.h"

/* ---- the stand-in journal ---- */

static Wanted wanted;
static const char *instance_here, *holder;
static bool copied, cut_off; /* mx1 has a replica; which does not reach what it copies */
static Buf said;             /* happenings */

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
        (*ret_object)->user_domain->n_replicas = copied;
        (*ret_object)->user_domain->replicas = xcalloc(1, sizeof(char *));
        (*ret_object)->user_domain->replicas[0] = copied ? xstrdup("mx1") : NULL;
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

static Buf told; /* what the tables and owners are told */

Error *journal_own_begin(Journal *journal)
{
    (void)journal;
    return NULL;
}

Error *journal_own(Journal *journal, const char *name, const char *uuid)
{
    (void)journal;
    assert_string_equal(name, uuid);
    buf_printf(&told, "own %s; ", name);
    return NULL;
}

Error *journal_own_end(Journal *journal, Error *err)
{
    (void)journal;
    return err;
}

/* ---- the stand-in directory ---- */

enum { PARTS_MAX = 8 };

static bool there, watched, asked_whole, over, accepts;
static unsigned n_asked;
static Envelope *parts[PARTS_MAX];
static size_t n_parts;
static uint64_t taken, mirrored, removals;
static Buf answered; /* to who accepts */

void directory_unwatch(Directory *directory)
{
    (void)directory;
    watched = over = false;
    while (n_parts)
        envelope_free(&parts[--n_parts]);
}

bool directory_watch(Directory *directory, const char *user_domain, bool whole, Msec now)
{
    (void)now;
    directory_unwatch(directory);
    assert_string_equal(user_domain, "staff");
    n_asked++;
    asked_whole = whole;
    watched = there;
    return there;
}

DirectoryNews directory_heard(Directory *directory, Envelope **ret_part, Error **ret_why)
{
    (void)directory;
    if (n_parts) {
        *ret_part = parts[0];
        memmove(parts, parts + 1, --n_parts * sizeof *parts);
        taken++;
        return NEWS_PART;
    }
    if (!watched || !over)
        return NEWS_NONE;
    watched = over = false;
    *ret_why = error_new(ERROR_UNAVAILABLE, "no answer in time");
    return NEWS_OVER;
}

uint64_t directory_taken(const Directory *directory)
{
    (void)directory;
    return taken;
}

void directory_mirrored(Directory *directory, uint64_t n)
{
    (void)directory;
    mirrored = n;
}

uint64_t directory_removals(const Directory *directory)
{
    (void)directory;
    return removals;
}

bool directory_acceptance(Directory *directory, const char *user_domain)
{
    bool now = accepts;

    (void)directory;
    (void)user_domain;
    accepts = false;
    return now;
}

void directory_accepted(Directory *directory, Error *why)
{
    (void)directory;
    buf_printf(&answered, "%s; ", why ? why->what : "done");
    error_free(&why);
}

static const char *claimed;

const char *directory_claim(Directory *directory, const char *user_domain)
{
    (void)directory;
    (void)user_domain;
    return claimed;
}

void directory_claimed(Directory *directory, const char *user_domain, Error *why)
{
    (void)directory;
    (void)user_domain;
    claimed = NULL;
    buf_printf(&answered, "claim: %s; ", why ? why->what : "done");
    error_free(&why);
}

/* Words: "alice" a user, "-alice" gone, "@sales:alice,bob" a group, "+sales:carol" more of it. */
static Mail__Account *account_said(const char *word)
{
    Mail__Account *account = xcalloc(1, sizeof *account);
    bool group = *word == '@' || *word == '+';

    mail__account__init(account);
    account->has_kind = true;
    account->kind = group ? MAIL__ACCOUNT_KIND__GROUP : MAIL__ACCOUNT_KIND__USER;
    account->has_gone = account->gone = *word == '-';
    account->has_more = account->more = *word == '+';
    word += group || *word == '-';
    size_t len = strcspn(word, ":");
    account->uuid = xstrndup(word, len);
    account->name = account->gone ? NULL : xstrndup(word, len);
    account->has_enabled = account->enabled = !group;
    for (word += len; *word; word += len) {
        len = strcspn(++word, ",");
        account->members = xrealloc(account->members, (account->n_members + 1) * sizeof *account->members);
        account->members[account->n_members++] = xstrndup(word, len);
    }
    return account;
}

static void hears(bool whole, bool last, const char *const *words)
{
    Mail__Accounts body = MAIL__ACCOUNTS__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    DEFER(buf_done) Buf bytes = {0};
    Mail__Account *items[40];
    uint64_t id;

    for (; *words; words++)
        items[body.n_accounts++] = account_said(*words);
    body.accounts = items;
    body.has_whole = body.whole = whole;
    body.has_cut_off = body.cut_off = cut_off;
    body.state = last ? (char *)"s" : NULL;
    envelope.has_id = true;
    envelope.id = 1;
    envelope.body_case = MAIL__ENVELOPE__BODY_ACCOUNTS;
    envelope.accounts = &body;
    ok(envelope_pack(&envelope, &bytes));
    assert_true(n_parts < PARTS_MAX);
    ok(envelope_unpack(bytes.data, bytes.size, &parts[n_parts++], &id));
    while (body.n_accounts) {
        Mail__Account *account = items[--body.n_accounts];
        while (account->n_members)
            free(account->members[--account->n_members]);
        free(account->members);
        free(account->name);
        free(account->uuid);
        free(account);
    }
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
#define ALL(...) hears(true, true, WORDS(__VA_ARGS__))
#define NEWS(...) hears(false, true, WORDS(__VA_ARGS__))

/* ---- the stand-in tables ---- */

Error *tables_accounts_begin(Tables *tables)
{
    (void)tables;
    buf_append_text(&told, "[");
    return NULL;
}

Error *tables_account_user(Tables *tables, const AccountUser *user)
{
    (void)tables;
    buf_printf(&told, "%s ", user->name);
    return NULL;
}

Error *tables_account_group(Tables *tables, const AccountGroup *group)
{
    (void)tables;
    buf_printf(&told, "@%s", group->name);
    for (size_t i = 0; i < group->n_users; i++)
        buf_printf(&told, "%c%s", i ? ',' : ':', group->users[i]);
    buf_append_text(&told, " ");
    return NULL;
}

Error *tables_account_user_gone(Tables *tables, const char *uuid)
{
    (void)tables;
    buf_printf(&told, "-%s ", uuid);
    return NULL;
}

Error *tables_account_group_gone(Tables *tables, const char *uuid)
{
    (void)tables;
    buf_printf(&told, "-@%s ", uuid);
    return NULL;
}

Error *tables_accounts_end(Tables *tables)
{
    (void)tables;
    buf_append_text(&told, "]");
    return NULL;
}

Error *tables_user_uuid(Tables *tables, const char *name, char **ret_uuid)
{
    (void)tables;
    *ret_uuid = strcmp(name, "nobody") == 0 ? NULL : xstrdup(name);
    return NULL;
}

Error *tables_touch_user(Tables *tables, const char *name)
{
    (void)tables;
    buf_printf(&told, "touch %s; ", name);
    return NULL;
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
    copied = cut_off = false;
    there = true;
    watched = over = accepts = false;
    n_asked = 0;
    taken = mirrored = removals = 0;
    now = 1000000;
    mirror = mirror_new(NULL, NULL, "mx1");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mirror_free(&mirror);
    directory_unwatch(NULL);
    buf_done(&said);
    buf_done(&told);
    buf_done(&answered);
    return 0;
}

/* What the tables are told: "[" everything "]", "-" who is gone. */
static const char *runs(Msec after)
{
    now += after;
    DEFER(account_set_free) AccountSet *set = mirror_run(mirror, now);
    buf_done(&told);
    ok(account_set_write(set, NULL));
    return buf_text(&told);
}

static void assert_away(bool known, bool away)
{
    bool got = false;

    assert_int_equal(mirror_away(mirror, &got), known);
    assert_int_equal(got, away);
}

static void everything_first_then_what_changes(void **state)
{
    (void)state;
    assert_string_equal(runs(0), "");
    assert_int_equal(n_asked, 1);
    assert_true(asked_whole);
    assert_away(false, false);
    hears(true, false, WORDS("alice", "@sales:alice"));
    assert_string_equal(runs(1), ""); /* there is more to come */
    assert_away(false, false);
    hears(true, true, WORDS("+sales:bob", "bob"));
    assert_string_equal(runs(1), "[alice bob @sales:alice,bob ]");
    assert_away(true, false);
    assert_int_equal(mirrored, 0);
    mirror_written(mirror);
    assert_int_equal(mirrored, 2);
    NEWS("carol");
    NEWS("-alice", "@sales:bob");
    assert_string_equal(runs(1), "carol -alice @sales:bob ");
    mirror_written(mirror);
    assert_int_equal(mirrored, 4);
    NEWS();
    assert_string_equal(runs(2000), "");
    assert_int_equal(mirrored, 5); /* nothing waits for the tables */
    assert_int_equal(mirror_seen_at(mirror), now);
    assert_int_equal(n_asked, 1);
}

/* Who went and came back within one batch is there; the same group twice is not one with the members of both. */
static void order_within_a_batch(void **state)
{
    (void)state;
    runs(0);
    ALL();
    assert_string_equal(runs(1), "[]");
    NEWS("alice", "-alice", "alice", "@sales:alice,bob", "@sales:bob");
    assert_string_equal(runs(1), "alice -alice alice @sales:alice,bob @sales:bob ");
    /* Everything makes needless what was waiting. */
    NEWS("dora");
    ALL("bob");
    NEWS("carol");
    assert_string_equal(runs(1), "[bob ]carol ");
}

static void everything_again_now_and_then(void **state)
{
    (void)state;
    runs(0);
    ALL("alice");
    runs(1);
    mirror_written(mirror);
    assert_string_equal(runs(MIRROR_WHOLE_MS - 1), "");
    assert_int_equal(n_asked, 1);
    runs(1);
    assert_int_equal(n_asked, 2);
    assert_true(asked_whole);
    ALL("alice");
    runs(1);
    mirror_again(mirror); /* the tables were lost */
    runs(1);
    assert_int_equal(n_asked, 3);
    assert_true(asked_whole);
}

static void half_a_reading_is_none(void **state)
{
    (void)state;
    runs(0);
    hears(true, false, WORDS("alice"));
    over = true;
    assert_string_equal(runs(1), "");
    assert_away(false, false); /* once is a hiccup */
    runs(MIRROR_LOOK_MS);
    assert_int_equal(n_asked, 2);
    ALL(":nobody"); /* what is in it has no name */
    assert_string_equal(runs(1), "");
    assert_away(true, true);
    assert_string_equal(buf_text(&said), "directory away; ");
    runs(MIRROR_LOOK_MS);
    assert_true(asked_whole);
    hears(true, true, WORDS("+sales:alice")); /* more of what was not said */
    assert_string_equal(runs(1), "");
    assert_false(watched);
}

static void away_and_back(void **state)
{
    Mail__FactState fact = MAIL__FACT_STATE__GOOD;

    (void)state;
    runs(0);
    ALL("alice");
    runs(1);
    mirror_written(mirror);
    there = false;
    over = true;
    runs(1);
    assert_away(true, false);
    runs(MIRROR_LOOK_MS);
    assert_string_equal(mirror_trouble(mirror, &fact), "mail-ldap is not there");
    assert_int_equal(fact, MAIL__FACT_STATE__BAD);
    assert_away(true, true);
    there = true;
    runs(MIRROR_LOOK_MS);
    assert_false(asked_whole); /* it goes on where it was */
    NEWS();
    assert_string_equal(runs(1), "");
    assert_away(true, false);
    assert_null(mirror_trouble(mirror, &fact));
    assert_string_equal(buf_text(&said), "directory away; "); /* once */
}

static void a_sudden_shrinking_is_held(void **state)
{
    Mail__FactState fact = MAIL__FACT_STATE__GOOD;

    (void)state;
    runs(0);
    ALL("alice", "bob");
    runs(1);
    assert_false(mirror_holds(mirror, 0, 2));
    mirror_written(mirror);
    NEWS("-alice");
    runs(1);
    assert_true(mirror_holds(mirror, 100, 1));
    assert_string_equal(buf_text(&said), "directory held; ");
    assert_string_equal(mirror_trouble(mirror, &fact), "held: the directory has 1 users, was 100; those known go on: "
                                                       "mailctl user-domain accept staff");
    assert_int_equal(fact, MAIL__FACT_STATE__DEGRADED);
    assert_int_equal(mirrored, taken); /* nobody waits for what will not come */
    NEWS("carol");                     /* of a state that was not taken */
    assert_string_equal(runs(1), "");
    runs(MIRROR_HELD_MS);
    assert_int_equal(n_asked, 2);
    assert_true(asked_whole);
    ALL("bob", "carol");
    assert_string_equal(runs(1), "[bob carol ]");
    assert_true(mirror_holds(mirror, 100, 2));
    assert_string_equal(buf_text(&said), "directory held; "); /* once */
    accepts = true;
    runs(1);
    assert_int_equal(n_asked, 3);
    ALL("bob");
    runs(1);
    assert_true(mirror_holds(mirror, 100, 0)); /* that was not what was accepted */
    assert_string_equal(buf_text(&answered), "user domain staff has 0 users now, was 2: look again; ");
    accepts = true;
    runs(1);
    ALL();
    runs(1);
    assert_false(mirror_holds(mirror, 100, 0));
    mirror_written(mirror);
    assert_string_equal(buf_text(&answered), "user domain staff has 0 users now, was 2: look again; done; ");
    assert_null(mirror_trouble(mirror, &fact));
    accepts = true;
    runs(1);
    assert_non_null(strstr(buf_text(&answered), "nothing of user domain staff is held; "));
}

static void a_mailbox_is_claimed(void **state)
{
    (void)state;
    runs(0);
    assert_false(mirror_claims(mirror));
    claimed = "alice";
    assert_true(mirror_claims(mirror));
    ok(mirror_claim_write(mirror, NULL));
    assert_string_equal(buf_text(&told), "own alice; touch alice; ");
    assert_int_equal(answered.size, 0); /* not before the commit */
    mirror_claim_written(mirror);
    assert_string_equal(buf_text(&answered), "claim: done; ");
    claimed = "nobody";
    ok(mirror_claim_write(mirror, NULL));
    assert_string_equal(buf_text(&answered), "claim: done; claim: user nobody does not exist; ");
    mirror_claim_written(mirror);
    assert_false(mirror_claims(mirror));
}

static void what_is_sudden(void **state)
{
    static const struct {
        size_t before, after;
        bool sudden;
    } cases[] = {
        {0, 0, false},  {1, 0, true},    {5, 0, true},       {5, 1, false},     {40, 20, false},  {42, 21, true},
        {41, 20, true}, {41, 21, false}, {1000, 501, false}, {1000, 500, true}, {20, 400, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (shrinks_suddenly(cases[i].before, cases[i].after) != cases[i].sudden)
            fail_msg("row %zu", i);
}

static void directories_of_others(void **state)
{
    Mail__FactState fact = MAIL__FACT_STATE__GOOD;

    (void)state;
    holder = "mx2";
    runs(0);
    assert_int_equal(n_asked, 0);
    assert_string_equal(mirror_trouble(mirror, &fact),
                        "user domain staff is on node mx2, without a replica here: mailctl user-domain set staff "
                        "replicas+=mx1");
    assert_int_equal(fact, MAIL__FACT_STATE__UNKNOWN);
    assert_away(true, true); /* who is not known here may be known there */
    holder = "mx1";
    wanted.revision++;
    runs(1);
    assert_int_equal(n_asked, 1);
    assert_true(watched);
    instance_here = NULL;
    wanted.revision++;
    ALL("alice");
    assert_string_equal(runs(1), ""); /* it was asked for an instance that is gone */
    assert_string_equal(mirror_trouble(mirror, &fact), "no instance is placed here: none are needed");
    assert_int_equal(fact, MAIL__FACT_STATE__GOOD);
    assert_false(watched);
    runs(MIRROR_WHOLE_MS);
    assert_int_equal(n_asked, 1);
}

/* SPEC F-179: it is read like any other, and said when it is cut off. */
static void F_179_copies(void **state)
{
    bool cut = true;

    (void)state;
    holder = "mx2";
    copied = true;
    runs(0);
    assert_true(watched);
    ALL("alice");
    assert_string_equal(runs(1), "[alice ]");
    assert_string_equal(mirror_copied_from(mirror, &cut), "mx2");
    assert_false(cut);
    cut_off = true;
    NEWS();
    runs(1);
    assert_string_equal(mirror_copied_from(mirror, &cut), "mx2");
    assert_true(cut);
    assert_non_null(strstr(buf_text(&said), "directory not copied; "));
    assert_null(strstr(buf_text(&said), "directory copied again"));
    cut_off = false;
    NEWS();
    runs(1);
    assert_non_null(strstr(buf_text(&said), "directory copied again; "));
    holder = "mx1"; /* the copy is the directory now */
    wanted.revision++;
    runs(1);
    assert_null(mirror_copied_from(mirror, &cut));
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(everything_first_then_what_changes),
        TEST(order_within_a_batch),
        TEST(everything_again_now_and_then),
        TEST(half_a_reading_is_none),
        TEST(away_and_back),
        TEST(a_sudden_shrinking_is_held),
        TEST(a_mailbox_is_claimed),
        TEST(directories_of_others),
        TEST(F_179_copies),
        cmocka_unit_test(when_it_counts_as_away),
        cmocka_unit_test(what_is_sudden),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

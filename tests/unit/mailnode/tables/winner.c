#include "tables/winner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The words of F-079 and F-025, one after the other. */
static Winner by_the_rule(const Candidates *c, int class_)
{
    bool groups = class_ & CLASS_GROUPS, users = class_ & CLASS_USERS;

    if (c->specific)
        return WINNER_SPECIFIC;
    if (c->wildcard)
        return WINNER_WILDCARD;
    if (groups && c->group == PRESENCE_THERE)
        return WINNER_GROUP;
    if (users && c->user == PRESENCE_THERE)
        return WINNER_USER;
    if (groups && c->group == PRESENCE_GONE)
        return WINNER_GROUP;
    if (users && c->user == PRESENCE_GONE)
        return WINNER_USER;
    return c->catch_all ? WINNER_CATCH_ALL : WINNER_NONE;
}

static void all_combinations(void **state)
{
    (void)state;
    for (int class_ = 0; class_ < N_CLASSES; class_++) {
        for (int i = 0; i < 2 * 2 * 2 * 3 * 3; i++) {
            Candidates c = {.specific = i & 1,
                            .wildcard = i & 2,
                            .catch_all = i & 4,
                            .group = (Presence)(i / 8 % 3),
                            .user = (Presence)(i / 24 % 3)};
            Winner got = winner_of(&c, class_), wanted = by_the_rule(&c, class_);
            if (got != wanted)
                fail_msg("class %s, specific %d wildcard %d group %d user %d catch-all %d: %d, wanted %d",
                         class_names[class_], c.specific, c.wildcard, c.group, c.user, c.catch_all, got, wanted);
        }
    }
}

static void named_cases(void **state)
{
    static const struct {
        const char *what;
        Candidates candidates;
        int class_;
        Winner winner;
    } cases[] = {
        {"specific before all", {true, true, true, PRESENCE_THERE, PRESENCE_THERE}, 3, WINNER_SPECIFIC},
        {"wildcard before names", {false, true, true, PRESENCE_THERE, PRESENCE_THERE}, 3, WINNER_WILDCARD},
        {"group before user", {.group = PRESENCE_THERE, .user = PRESENCE_THERE}, 3, WINNER_GROUP},
        {"user where groups are off", {.group = PRESENCE_THERE, .user = PRESENCE_THERE}, CLASS_USERS, WINNER_USER},
        {"user who is there before a group that left",
         {.group = PRESENCE_GONE, .user = PRESENCE_THERE},
         3,
         WINNER_USER},
        {"who left is held against the catch-all", {.catch_all = true, .user = PRESENCE_GONE}, 3, WINNER_USER},
        {"but not where users have no address", {.catch_all = true, .user = PRESENCE_GONE}, 0, WINNER_CATCH_ALL},
        {"nobody", {.group = PRESENCE_NONE}, 3, WINNER_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (winner_of(&cases[i].candidates, cases[i].class_) != cases[i].winner)
            fail_msg("%s: %d", cases[i].what, winner_of(&cases[i].candidates, cases[i].class_));
}

static void words(void **state)
{
    (void)state;
    assert_string_equal(verdict_of(STANDING_OPEN, false), "OK");
    assert_string_equal(verdict_of(STANDING_OPEN, true), "internal_only");
    assert_memory_equal(verdict_of(STANDING_NOBODY, false), "550 5.1.1 ", 10);
    assert_memory_equal(verdict_of(STANDING_CLOSED, false), "550 5.2.1 ", 10);
    assert_memory_equal(verdict_of(STANDING_GONE, false), "450 ", 4);
    assert_string_equal(verdict_of(STANDING_FULL, false), "over_quota");
    assert_string_equal(verdict_of(STANDING_NOBODY, true), "internal_nobody");
    assert_string_equal(verdict_of(STANDING_CLOSED, true), "internal_closed");
    assert_string_equal(verdict_of(STANDING_GONE, true), "internal_gone");
    assert_string_equal(verdict_of(STANDING_FULL, true), "internal_over_quota");
    for (int class_ = 0; class_ < N_CLASSES; class_++)
        assert_true(strcmp(class_names[class_], ".") < 0); /* sorts before every domain */
}

static void local_parts(void **state)
{
    static const char long_one[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const char *const good[] = {"a", "a.b.c", "o'neil", "x_y-z", "0", "_", "x-", "-x", "a+b", "a+"};
    static const char *const bad[] = {"",    ".a",  "a.",  "a..b", "a b", "\"a\"", "a@b", "\xc3\xbc", "a\tb",
                                      "a,b", "a/b", "(a)", "a%b",  "a!b", "A",     "a=b", "+a",       long_one};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!local_part_valid(good[i]))
            fail_msg("'%s' is refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (local_part_valid(bad[i]))
            fail_msg("'%s' is taken", bad[i]);
    assert_true(local_part_valid(long_one + 1)); /* 64 octets */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_combinations),
        cmocka_unit_test(named_cases),
        cmocka_unit_test(words),
        cmocka_unit_test(local_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "model/account.h"

#include "expect.h"

#define A20 "AAAAAAAAAAAAAAAAAAAAAAAAAAA="     /* base64 of 20 octets */
#define A24 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" /* of 24 */
#define LONG32 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static const struct {
    const char *hash, *error; /* NULL: it is taken */
} hashes[] = {
    {"{SSHA}" A24, NULL},
    {"{ssha}" A24, NULL},
    {"{SHA}" A20, NULL},
    {"{SSHA}" A20, "salt"},
    {"{SHA}" A24, "20 octets"},
    {"{SSHA512}" LONG32 LONG32 LONG32, NULL},
    {"{SSHA512}" LONG32 LONG32, "64 octets"},
    {"{SSHA}AAAA", "20 octets"},
    {"{SSHA}" A24 "=", "base64"},
    {"{SSHA}" A20 "x", "base64"},
    {"{ARGON2}$argon2id$v=19$m=7168,t=5,p=1$c2FsdHNhbHQ$aGFzaA", NULL},
    {"{ARGON2}$argon2id$v=19$m=4194304,t=5,p=1$c2FsdHNhbHQ$aGFzaA", "cost more"},
    {"{ARGON2}$argon2id$v=19$m=7168,t=50000,p=1$c2FsdHNhbHQ$aGFzaA", "cost more"},
    {"{ARGON2}$argon2id$v=19$m=99999999999999999999,t=5,p=1$c2FsdHNhbHQ$aGFzaA", "cost more"},
    {"{ARGON2}$argon2id$v=19$c2FsdHNhbHQ$aGFzaA", "cost more"},
    {"{ARGON2}hash", "argon2id"},
    {"{CRYPT}$6$saltsalt$hashhashhashhash", NULL},
    {"{CRYPT}$6$rounds=5000$saltsalt$hashhash", NULL},
    {"{CRYPT}$6$rounds=999999999$saltsalt$hashhash", "costs too much"},
    {"{CRYPT}$2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZabcde", NULL},
    {"{CRYPT}$2y$31$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZabcde", "costs too much"},
    {"{CRYPT}$y$j9T$saltsaltsalt$hashhashhash", NULL},
    {"{CRYPT}$y$jFT$saltsaltsalt$hashhashhash", "costs too much"},
    {"{CRYPT}abJnggxhB/yWI", NULL},
    {"{CRYPT}*", "crypt(5)"},
    {"{CRYPT}", "crypt(5)"},
    {"{CLEARTEXT}secret", "scheme {CLEARTEXT} is not known"},
    {"{SASL}alice@example.org", "{SASL}"},
    {"{}" A20, "{}"},
    {"{SSHA", "{SCHEME}"},
    {"secret", "{SCHEME}"},
    {"", "{SCHEME}"},
    {"{SSHA}" A20 "\n", "no letter"},
    {"{SSHA}" A20 "\xc3\xa9", "no letter"},
};

static void hashes_that_are_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
        Error *err = account_hash_check(hashes[i].hash, strlen(hashes[i].hash));
        if (hashes[i].error)
            fails(err, ERROR_INVALID, hashes[i].error);
        else
            ok(err);
    }
    char huge[ACCOUNT_HASH_MAX + 2];
    memset(huge, 'A', sizeof huge);
    fails(account_hash_check(huge, sizeof huge), ERROR_INVALID, "at most 512");
    fails(account_hash_check("{SSHA}\0" A24, 7 + strlen(A24)), ERROR_INVALID, "no letter");
}

static void passwords_that_are_taken(void **state)
{
    char huge[ACCOUNT_PASSWORD_MAX + 1];

    (void)state;
    memset(huge, 'x', sizeof huge);
    ok(account_password_check(huge, ACCOUNT_PASSWORD_MAX));
    fails(account_password_check(huge, sizeof huge), ERROR_INVALID, "at most 512");
    fails(account_password_check("", 0), ERROR_INVALID, "empty");
    fails(account_password_check("a\0b", 3), ERROR_INVALID, "NUL");
    fails(account_password_check("a\nb", 3), ERROR_INVALID, "line break");
    fails(account_password_check("a\rb", 3), ERROR_INVALID, "line break");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_that_are_taken),
        cmocka_unit_test(passwords_that_are_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

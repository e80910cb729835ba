/* account.h - what a new user or group of an internal directory may be
 *
 * One place for who reads a file of accounts and for who writes into the directory:
 * what is wrong shall be known before the first is written.  Errors are INVALID and
 * say only what is wrong; the caller knows of whom.
 */
#pragma once
#include "base/error.h"

#include <stddef.h>

enum {
    ACCOUNT_FULL_NAME_MAX = 200,
    ACCOUNT_PASSWORD_MIN = 8, /* octets: pwdMinLength of the directory's policy */
    ACCOUNT_PASSWORD_MAX = 512,
    ACCOUNT_HASH_MAX = 512,
};

/* What Dovecot takes as a user's name.  Whoever is named otherwise, by other hands, neither logs in nor gets mail.
 * With the blank: such a name has no address (F-085), but mail comes to it through groups and addresses.
 * '=': p=KEY is a public mailbox. */
#define ACCOUNT_LOGIN_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@+'= "

/* A name in lower case: F-085's local parts, without those that mean something to a daemon (THREATS S14). */
CHECKED Error *account_name_check(const char *name);

/* A password as typed.  RFC 4616 cannot carry a NUL; a line break is what a file had at its end. */
CHECKED Error *account_password_check(const void *password, size_t size);

/* "{SCHEME}..." as userPassword holds it: a scheme that slapd knows, in the form of that scheme, and at a price that each
 * login can be asked to pay: whoever writes hashes shall not stop the directory by one. */
CHECKED Error *account_hash_check(const void *hash, size_t size);

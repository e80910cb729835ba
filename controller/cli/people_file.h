/* people_file.h - users and groups as a file has them: FILE.csv or FILE.ldif
 *
 * CSV: a first row of names out of name, full-name, password, password-hash, groups
 * (separated by spaces or commas), locked; then a user in each row.
 * LDIF: inetOrgPerson or posixAccount with uid, displayName or cn, userPassword
 * (as typed, or {SCHEME}...), pwdAccountLockedTime; posixGroup with memberUid, groupOfNames
 * with member; entries of other classes are counted and left out.
 *
 * Whatever can be seen to be wrong without asking anybody is said here, line by line, and
 * nothing is taken then.  All values lie in one piece of memory that is wiped at the end:
 * there are passwords in it.
 */
#pragma once
#include "base/error.h"
#include "control.pb-c.h"

#include <stddef.h>

enum { PEOPLE_FILE_MAX = 256 * 1024 * 1024 };

typedef struct FileAccount {
    Mail__AccountKind kind;
    size_t line;
    char *name;      /* in its one form, owned */
    char *full_name; /* owned; NULL: none */
    const char *password;
    size_t password_size; /* 0: none */
    bool hashed;
    bool locked;
    char **others; /* owned: the groups of a user, the members of a group, each once, in their one form */
    size_t n_others;
} FileAccount;

typedef struct PeopleFile {
    const char *path;
    char *text; /* of the file, taken apart */
    size_t size;
    FileAccount *accounts; /* in the order of the file */
    size_t n, room;
    size_t left_out; /* entries that are neither users nor groups */
    size_t n_wrong;
    void (*wrong)(void *context, const char *words); /* "users.csv:14: user bob: ..." */
    void *context;
} PeopleFile;

/* path, wrong and context are set, the rest is zero.  INVALID: something is wrong, and was said line by line. */
CHECKED Error *people_file_read(PeopleFile *file);
void people_file_done(PeopleFile *file);

/* Says that something is wrong with an account, or with a line (NULL); takes err. */
void people_file_wrong(PeopleFile *file, size_t line, const FileAccount *account, Error *err);

/* The readers of both forms, over file->text. */
void people_csv_read(PeopleFile *file);
void people_ldif_read(PeopleFile *file);

/* For them: an account that is complete when all was set; it is checked here. */
FileAccount *people_file_add(PeopleFile *file, Mail__AccountKind kind, size_t line);
/* Checks the name, and keeps it in its one form; false: it was said what is wrong. */
bool account_name_is(PeopleFile *file, FileAccount *account, const char *name);
bool account_full_name_is(PeopleFile *file, FileAccount *account, const char *text);
bool account_password_is(PeopleFile *file, FileAccount *account, const char *password, size_t size, bool hashed);
bool account_other_is(PeopleFile *file, FileAccount *account, const char *name); /* one more */

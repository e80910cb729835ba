#include "people_file.h"

#include "base/alloc.h"
#include "base/path.h"
#include "base/utf8.h"
#include "model/account.h"
#include "model/name.h"
#include "model/shown.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what is wrong ---- */

static const char *kind_word(Mail__AccountKind kind)
{
    return kind == MAIL__ACCOUNT_KIND__GROUP ? "group" : "user";
}

void people_file_wrong(PeopleFile *file, size_t line, const FileAccount *account, Error *err)
{
    DEFER(xfree) char *seen = account && account->name ? shown(account->name) : NULL;

    if (seen)
        err = error_in(err, "%s %s", kind_word(account->kind), seen);
    err = error_in(err, "%s:%zu", file->path, line);
    file->n_wrong++;
    file->wrong(file->context, err->what);
    error_free(&err);
}

static bool said(PeopleFile *file, const FileAccount *account, Error *err)
{
    if (err)
        people_file_wrong(file, account->line, account, err);
    return !err;
}

/* ---- one account ---- */

FileAccount *people_file_add(PeopleFile *file, Mail__AccountKind kind, size_t line)
{
    if (file->n == file->room) {
        file->room = file->room ? file->room * 2 : 256;
        file->accounts = xrealloc(file->accounts, file->room * sizeof *file->accounts);
    }
    FileAccount *account = &file->accounts[file->n++];
    *account = (FileAccount){.kind = kind, .line = line};
    return account;
}

bool account_name_is(PeopleFile *file, FileAccount *account, const char *name)
{
    DEFER(xfree) char *folded = NULL, *seen = shown(name);

    Error *err = *name ? text_normalise(MAIL__FIELD_TYPE__ACCOUNT, name, &folded)
                       : error_new(ERROR_INVALID, "a %s without a name", kind_word(account->kind));
    if (!err)
        err = account_name_check(folded);
    if (err && *name)
        err = error_in(err, "%s %s", kind_word(account->kind), seen);
    if (!said(file, account, err))
        return false;
    account->name = folded;
    folded = NULL;
    return true;
}

bool account_full_name_is(PeopleFile *file, FileAccount *account, const char *text)
{
    DEFER(xfree) char *name = NULL;
    if (!*text)
        return true;

    Error *err = text_normalise(MAIL__FIELD_TYPE__TEXT, text, &name);
    if (!err && strlen(name) > ACCOUNT_FULL_NAME_MAX)
        err = error_new(ERROR_INVALID, "%zu octets: at most %d", strlen(name), ACCOUNT_FULL_NAME_MAX);
    if (!said(file, account, error_in(err, "full-name")))
        return false;
    account->full_name = name;
    name = NULL;
    return true;
}

bool account_password_is(PeopleFile *file, FileAccount *account, const char *password, size_t size, bool hashed)
{
    Error *err = hashed ? account_hash_check(password, size) : account_password_check(password, size);

    if (!err && !hashed && size < ACCOUNT_PASSWORD_MIN)
        err = error_new(ERROR_INVALID, "at least %d characters", ACCOUNT_PASSWORD_MIN);
    if (!err && !hashed && !utf8_valid(password, size))
        err = error_new(ERROR_INVALID, "not UTF-8");
    account->password = password;
    account->password_size = size;
    account->hashed = hashed;
    return said(file, account, error_in(err, hashed ? "password-hash" : "password"));
}

bool account_other_is(PeopleFile *file, FileAccount *account, const char *name)
{
    bool user = account->kind == MAIL__ACCOUNT_KIND__USER;
    DEFER(xfree) char *folded = NULL, *seen = shown(name);

    Error *err = text_normalise(MAIL__FIELD_TYPE__ACCOUNT, name, &folded);
    if (!said(file, account, error_in(error_in(err, "'%s'", seen), user ? "groups" : "members")))
        return false;
    for (size_t i = 0; user && i < account->n_others; i++)
        if (strcmp(account->others[i], folded) == 0)
            return true;
    if ((account->n_others & (account->n_others - 1)) == 0) /* doubles at powers of two */
        account->others = xrealloc(account->others, (account->n_others ? 2 * account->n_others : 1) * sizeof(char *));
    account->others[account->n_others++] = folded;
    folded = NULL;
    return true;
}

/* ---- all of them ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Members in order, each once: a large group's list says some of them twice now and then. */
static void members_once(FileAccount *account)
{
    size_t kept = 0;

    if (account->kind != MAIL__ACCOUNT_KIND__GROUP || !account->n_others)
        return;
    qsort(account->others, account->n_others, sizeof(char *), by_text);
    for (size_t i = 0; i < account->n_others; i++)
        if (kept && strcmp(account->others[kept - 1], account->others[i]) == 0)
            free(account->others[i]);
        else
            account->others[kept++] = account->others[i];
    account->n_others = kept;
}

static int by_name(const void *a, const void *b)
{
    const FileAccount *one = *(FileAccount *const *)a, *other = *(FileAccount *const *)b;
    int order = (int)one->kind - (int)other->kind;

    if (!order)
        order = strcmp(one->name ? one->name : "", other->name ? other->name : "");
    return order ? order : one->line < other->line ? -1 : one->line > other->line;
}

static void doubles_look(PeopleFile *file)
{
    DEFER(xfree) FileAccount **sorted = xcalloc(file->n + 1, sizeof *sorted);

    for (size_t i = 0; i < file->n; i++)
        sorted[i] = &file->accounts[i];
    if (file->n)
        qsort(sorted, file->n, sizeof *sorted, by_name);
    for (size_t i = 1; i < file->n; i++)
        if (sorted[i]->name && sorted[i - 1]->name && sorted[i]->kind == sorted[i - 1]->kind &&
            strcmp(sorted[i]->name, sorted[i - 1]->name) == 0)
            people_file_wrong(file, sorted[i]->line, sorted[i],
                              error_new(ERROR_INVALID, "it is in line %zu, too", sorted[i - 1]->line));
}

/* Room for one more octet, and no copies: the size is known before. */
static Error *text_read(PeopleFile *file)
{
    DEFER(fd_close) int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    struct stat is;

    if (fd < 0 && errno == ENOENT)
        return error_new(ERROR_NOT_FOUND, "%s does not exist", file->path);
    if (fd < 0 || fstat(fd, &is) != 0)
        return error_system("%s", file->path);
    if (!S_ISREG(is.st_mode) || is.st_size > PEOPLE_FILE_MAX)
        return error_new(ERROR_INVALID, "%s: %s", file->path, S_ISREG(is.st_mode) ? "over 256 MiB" : "it is no file");
    file->text = xmalloc((size_t)is.st_size + 1);
    while (file->size < (size_t)is.st_size) {
        ssize_t got = read(fd, file->text + file->size, (size_t)is.st_size - file->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_system("%s", file->path);
        if (got == 0)
            break;
        file->size += (size_t)got;
    }
    file->text[file->size] = '\0';
    return NULL;
}

static Error *text_check(const PeopleFile *file)
{
    if (memchr(file->text, '\0', file->size))
        return error_new(ERROR_INVALID, "%s: a NUL is in it", file->path);
    for (size_t at = 0, line = 1, len; at < file->size; at += len) {
        len = utf8_char_len(file->text + at, file->size - at);
        if (!len)
            return error_new(ERROR_INVALID, "%s:%zu: not UTF-8", file->path, line);
        line += file->text[at] == '\n';
    }
    return NULL;
}

Error *people_file_read(PeopleFile *file)
{
    const char *dot = strrchr(file->path, '.');
    bool csv = dot && strcasecmp(dot, ".csv") == 0, ldif = dot && strcasecmp(dot, ".ldif") == 0;

    if (!csv && !ldif)
        return error_new(ERROR_INVALID, "%s: its name ends neither in .csv nor in .ldif", file->path);
    Error *err = text_read(file);
    if (!err)
        err = text_check(file);
    if (err)
        return err;
    if (csv)
        people_csv_read(file);
    else
        people_ldif_read(file);
    for (size_t i = 0; i < file->n; i++)
        members_once(&file->accounts[i]);
    doubles_look(file);
    if (file->n_wrong)
        return error_new(ERROR_INVALID, "%s: %zu %s wrong, nothing was written", file->path, file->n_wrong,
                         file->n_wrong == 1 ? "line is" : "lines are");
    return file->n ? NULL : error_new(ERROR_INVALID, "%s: nobody is in it", file->path);
}

void people_file_done(PeopleFile *file)
{
    for (size_t i = 0; i < file->n; i++) {
        FileAccount *account = &file->accounts[i];
        for (size_t k = 0; k < account->n_others; k++)
            free(account->others[k]);
        free(account->others);
        free(account->name);
        free(account->full_name);
    }
    free(file->accounts);
    if (file->text)
        explicit_bzero(file->text, file->size);
    free(file->text);
    *file = (PeopleFile){0};
}

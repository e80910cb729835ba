/* password.h - a password or another secret on its way from a file, stdin or a terminal, never from the command line
 *
 * Wiped by password_done.  A password is what was typed, without the line's end; another secret all that the file has.
 */
#pragma once
#include "cli.h"

typedef struct Password {
    uint8_t *octets; /* NULL: none */
    size_t size, room;
} Password;

enum { PASSWORD_MAX = 1024 };

/* from: "@FILE", "-" (stdin, where a terminal is asked twice without echo), or NULL: 'ask' a terminal if there is one; an
 * empty answer then is none.  'whose' is shown in the question.  INVALID: empty, too long, a NUL or no UTF-8 in it. */
CHECKED Error *password_take(Cli *cli, const char *from, bool ask, const char *whose, Password *ret_password);
/* The same of one that is there already: a terminal is asked once. */
CHECKED Error *password_take_once(const char *from, const char *whose, Password *ret_password);
/* Of a field that is no password: lines, a key.  from: "@FILE" or "-", where a terminal is not asked. */
CHECKED Error *secret_file_take(Cli *cli, const char *from, const char *title, size_t max, Password *ret_secret);
void password_done(Password *password);

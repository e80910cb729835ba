/* sessions.h - which of Dovecot's sessions belong to somebody who may not log in, or who has lost a right
 *
 * Called in a child: what Dovecot says is read as root, mail.db as its user.
 *
 * Source: doveadm-who(1) with -f tab and -1: username, proto, pid, ip; a header first.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct SessionsOf {
    const char *const *users; /* in the order of strcmp; only these are looked at */
    size_t n;                 /* 0: everybody */
    const char *const *left;  /* in the same order: theirs end whatever mail.db says */
    size_t n_left;
    bool all_left, nobody; /* everybody's end; users means none */
} SessionsOf;

/* Sessions of whom mail.db has no row, or one that says no.  As long as the tables are not complete a missing row says
 * nothing.  'who' is cut into pieces.  UNAVAILABLE: mail.db cannot be read: nobody is named. */
CHECKED Error *sessions_closed(Buf *who, const char *mail_db, const SessionsOf *of,
                               void (*closed)(void *context, pid_t pid), void *context);

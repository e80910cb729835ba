/* child.h - one run of another program, as another user, with an end that is sure to come
 *
 * For checkers, doveadm, slapadd and the like: no shell, an argument vector, an empty
 * environment but for PATH and what is named, /dev/null as stdin, descriptors closed,
 * its own session; stdout and stderr together are kept up to CHILD_OUTPUT_MAX.
 * At the deadline its whole group is killed.
 *
 * child_fork runs a function of ours instead of a program: the child has given up root
 * before it is called, and what it returns is the exit status.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"

#include <sys/types.h>

enum { CHILD_OUTPUT_MAX = 64 * 1024, CHILD_ARGS_MAX = 48 };

typedef struct ChildSpec {
    const char *user;        /* becomes it with its groups; NULL: stays root */
    const char *const *argv; /* argv[0] is an absolute path; ends with NULL */
    const char *const *env;  /* further NAME=VALUE; NULL: none */
    const char *folder;      /* current folder; NULL: / */
    Msec deadline_ms;        /* from now */
} ChildSpec;

typedef struct Child Child;

CHECKED Error *child_start(const ChildSpec *spec, Child **ret_child);
/* 'run' writes its words to descriptor 1.  argv of the spec is not used. */
CHECKED Error *child_fork(const ChildSpec *spec, int (*run)(void *context), void *context, Child **ret_child);

/* Never blocks.  True: it has ended (or was killed at its deadline). */
bool child_run(Child *child, Msec now);
void child_wait(const Child *child, Waiter *wake);
void child_free(Child **child); /* kills it where it still runs */

/* After the end. */
bool child_succeeded(const Child *child);
int child_exit(const Child *child);    /* exit status; -SIGNAL; -1000: killed at its deadline */
const char *child_words(Child *child); /* what it said, without the newlines at the end; may be "" */

/* argument vectors that are made at run time */
typedef struct Argv {
    char *items[CHILD_ARGS_MAX + 1]; /* owned; NULL behind the last */
    size_t n;
} Argv;
void argv_add(Argv *argv, const char *format, ...) PRINTF_LIKE(2, 3);
void argv_done(Argv *argv);

/* proc.h - what a program of ours does first
 *
 * Order: proc_start, arguments, proc_become, then files and sockets.
 */
#pragma once
#include "base/error.h"

#include <sys/types.h>

/* Descriptors 0-2 are open (/dev/null where they were closed), umask 027, C locale stays, log_init done. */
void proc_start(const char *program);

/* For programs that hold secrets: no core dumps, not to be traced by the same user. */
void proc_seal(void);

/* As root: becomes this user with its groups, for good.  As that user: nothing.  As anybody else: DENIED. */
CHECKED Error *proc_become(const char *user);

/* DENIED unless the user is there: "user mailagent does not exist", with a hint. */
CHECKED Error *proc_user(const char *user, uid_t *ret_uid, gid_t *ret_gid);
CHECKED Error *proc_group(const char *group, gid_t *ret_gid);

/* Changes with every boot; MAILNODE_BOOT_ID replaces the kernel's, which containers share with their host. */
CHECKED Error *proc_boot_id(char ret_id[64]);

/* Prints "PROGRAM: what\nhint: ...\n" escaped on stderr, frees, and gives the exit code for the error. */
int main_fail(const char *program, Error **err);

/* Exit code of CLI.md for an error code. */
int exit_code(ErrorCode code);

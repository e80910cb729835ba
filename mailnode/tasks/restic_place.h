/* restic_place.h - what an admin says of a destination, as restic and ssh may be told it
 *
 * The repository's address is checked, the instance put below it, logins taken from lines of NAME=VALUE: only names that
 * the backend knows, and none that would have restic run a program or read a file of this machine.
 */
#pragma once
#include "base/error.h"
#include "seal/secret.h"

#include <stddef.h>

enum { RESTIC_ENV_MAX = 32 };

typedef struct ResticPlace {
    char *shown;                 /* the address with the instance, without logins */
    Secret *repository;          /* as restic takes it: with the login of rest: */
    Secret *env[RESTIC_ENV_MAX]; /* NAME=VALUE, for restic's environment */
    size_t n_env;
    Secret *google;                       /* the account's JSON, for a file; NULL: none */
    char *ssh_user, *ssh_host, *ssh_port; /* sftp: alone; user and port NULL where not said */
} ResticPlace;

/* INVALID with what would be right; DENIED: local: outside the folders that root allows.  env may be NULL. */
CHECKED Error *restic_place_read(const char *root, const char *repository, const char *instance, const Secret *env,
                                 ResticPlace *ret_place);
const char *restic_place_folder(const ResticPlace *place); /* of local:, with the instance; NULL: it is elsewhere */
void restic_place_done(ResticPlace *place);

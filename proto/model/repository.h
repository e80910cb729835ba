/* repository.h - where a restic repository lies, as restic writes it
 *
 * local:/PATH, sftp:[USER@]HOST:PATH or sftp://[USER@]HOST[:PORT]/PATH, rest:http[s]://HOST/PATH, s3:[http[s]://]HOST/BUCKET,
 * b2:, azure:, gs: and swift: with CONTAINER:PATH.  No login or password is in it: these are secrets with a field of their
 * own, and this text is shown.  It reaches restic and ssh, which take a host that begins with '-' for an option.
 */
#pragma once
#include "base/error.h"

/* Without a '/' at the end, so that /INSTANCE can follow. */
CHECKED Error *repository_normalise(const char *text, char **ret_text);

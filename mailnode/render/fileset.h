/* fileset.h - the files of one generation, before they are written
 *
 * Paths are relative to the generation's folder; the first component is the daemon
 * they belong to: "postfix/main.cf".  Same state, same bytes: the set keeps files in
 * the order of their names, whatever the order of adding.
 *
 * A writer that refuses a value (maincf.h, ...) leaves the first refusal here; the
 * caller of the renderers asks once.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "seal/digest.h"

typedef struct FileSet FileSet;

typedef struct File {
    const char *path;
    const char *group; /* that may read it: "postfix"; mode 0640, owner root.  NULL: root alone, 0600 */
    const Buf *text;
} File;

FileSet *fileset_new(void);
void fileset_free(FileSet **set);

/* A new file to be filled by the caller; twice the same path is a broken promise of ours. */
Buf *fileset_add(FileSet *set, const char *path, const char *group);

/* 'daemon' cannot take a change of this by reload: "inet_interfaces", "127.0.1.1". */
void fileset_restart_on(FileSet *set, const char *daemon, const char *what, const char *value);

/* Keeps the first only.  Takes err. */
void fileset_refuse(FileSet *set, Error *err);
CHECKED Error *fileset_refused(const FileSet *set); /* a copy for the caller, NULL: none */

size_t fileset_count(const FileSet *set);
File fileset_file(const FileSet *set, size_t index);                       /* by path */
const File *fileset_find(const FileSet *set, const char *path, File *out); /* NULL: none */

/* Over the files of one daemon, and what it needs a restart for.  All zero when it has no file. */
Digest fileset_digest(const FileSet *set, const char *daemon);
Digest fileset_restart_digest(const FileSet *set, const char *daemon);
Digest fileset_all(const FileSet *set);

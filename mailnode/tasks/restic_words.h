/* restic_words.h - what restic says, and what is said to it; pure
 *
 * restic 0.14 ends with 1 whatever went wrong, so its words are read; from 0.17 on the exit code says more and goes
 * first.  Whatever comes from a repository is as hostile as who can write there: lines that are no JSON, ids that are
 * none and the like are DAMAGED.
 *
 * Source: what restic 0.14 and 0.18 print with --json and when they fail.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ResticTrouble {
    RESTIC_FINE,
    RESTIC_MISSING,        /* no repository there */
    RESTIC_LOCKED,         /* another restic holds it */
    RESTIC_WRONG_PASSWORD, /* of the repository */
    RESTIC_LOGIN,          /* the storage refuses us: login, key, host key */
    RESTIC_UNREACHABLE,    /* no answer, or one that stopped */
    RESTIC_DAMAGED,        /* what is stored does not read back */
    RESTIC_FULL,           /* no space left there */
    RESTIC_OTHER,
} ResticTrouble;

/* "missing", "locked", "wrong password" ... for people. */
const char *restic_trouble_name(ResticTrouble trouble);
/* What a run that ended with this exit code and these words met. */
ResticTrouble restic_trouble_of(int exit, const char *words);

/* One name as a pattern that matches it alone: '\' before each of \ * ? [ ]. */
char *restic_literal(const char *path);

typedef struct ResticSnapshot {
    const char *id;        /* 64 hex digits */
    const char *time_text; /* RFC 3339, as it was written */
    uint64_t time_s;       /* since 1970 */
    const char *host;      /* the instance */
    const char *const *tags;
    size_t n_tags;
    const char *const *paths;
    size_t n_paths;
} ResticSnapshot;

typedef struct ResticNode {
    const char *path;
    char type; /* f d l o: file, folder, link, other */
    uint64_t size, mode;
    const char *mtime;
} ResticNode;

/* The answer of `snapshots --json`, newest first. */
typedef struct ResticSnapshots {
    ResticSnapshot *list;
    size_t n;
    json_t *kept; /* what they point into */
} ResticSnapshots;
CHECKED Error *restic_snapshots_read(const char *text, size_t size, ResticSnapshots *ret_snapshots);
void restic_snapshots_done(ResticSnapshots *snapshots);

/* What a person wrote: an id or 4 and more digits that it begins with, or "latest"; with at_s (else 0) the newest that is
 * not younger.  NOT_FOUND; CONFLICT: it begins several; INVALID: no id. */
CHECKED Error *restic_snapshot_choose(const ResticSnapshots *snapshots, const char *wanted, uint64_t at_s,
                                      const ResticSnapshot **ret_snapshot);

/* One line of `ls --json`; *ret_line owns what ret_node points into.  *ret_is false: it is the snapshot's line. */
CHECKED Error *restic_node_read(const char *line, size_t size, ResticNode *ret_node, bool *ret_is, json_t **ret_line);
void restic_json_free(json_t **json);

/* One line of `backup --json`. */
typedef struct ResticStep {
    enum { RESTIC_STEP_OTHER, RESTIC_STEP_STATUS, RESTIC_STEP_SUMMARY, RESTIC_STEP_ERROR } kind;
    uint64_t files, bytes, of_bytes; /* status: done; summary: in all */
    uint64_t added;                  /* summary: octets that were new */
    char snapshot[65];               /* summary: its id, 8 to 64 digits; "": it named none */
    char *item;                      /* error: what could not be read; owned */
} ResticStep;
ResticStep restic_step_read(const char *line, size_t size);

/* Seconds since 1970 of an RFC 3339 time; false: it is none. */
bool restic_time_read(const char *text, uint64_t *ret_seconds);
bool restic_id_valid(const char *text); /* 64 hex digits in lower case */

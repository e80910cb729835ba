/* shadow_inside.h - one folder of the shadow beside the same folder of the source: lists of names, links, what is stale */
#pragma once
#include "base/buf.h"
#include "tasks/shadow.h"

#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

/* ---- names of one folder (shadow_list.c) ---- */

typedef struct ShadowName {
    size_t text;      /* where it begins in 'texts' */
    uint32_t key_len; /* of a message: without what begins with ':' */
    ino_t ino;
    uint8_t part; /* SHADOW_NEW or SHADOW_CUR of a message, otherwise SHADOW_SELF */
} ShadowName;

enum { SHADOW_SELF, SHADOW_NEW, SHADOW_CUR, SHADOW_PARTS };
extern const char *const shadow_parts[SHADOW_PARTS]; /* ".", "new", "cur" */

typedef struct ShadowList {
    ShadowName *names;
    size_t n, room;
    Buf texts; /* each with its NUL */
} ShadowList;

const char *shadow_text(const ShadowList *list, const ShadowName *name);
void shadow_list_add(ShadowList *list, const char *name, ino_t ino, uint8_t part);
void shadow_list_sort(ShadowList *list); /* by key, then part, then name */
void shadow_list_done(ShadowList *list);

/* Which part of a tree a folder is. */
typedef enum ShadowLevel {
    LEVEL_HOMES,    /* each folder in it is a home */
    LEVEL_HOME,     /* Maildir, sieve, .dovecot.sieve, public-seen, shared-seen.NAME: marks of one's own elsewhere */
    LEVEL_SCRIPTS,  /* sieve */
    LEVEL_STORE,    /* a Maildir with its subfolders */
    LEVEL_MAILDIRS, /* the subfolders without the Maildir */
    LEVEL_FOLDER,   /* one subfolder */
} ShadowLevel;

/* Are there messages in cur and new? */
bool shadow_has_mail(ShadowLevel level);

/* What this name leads to on this level; false: nothing that is backed up. */
bool shadow_child(ShadowLevel level, const char *name, ShadowLevel *ret_level);
bool shadow_file_wanted(ShadowLevel level, const char *name);

/* One side of a folder: itself, new, cur; -1 where there is none. */
typedef struct ShadowSide {
    int fd[SHADOW_PARTS];
} ShadowSide;
#define SHADOW_NO_SIDE                                                                                                 \
    {                                                                                                                  \
        {                                                                                                              \
            -1, -1, -1                                                                                                 \
        }                                                                                                              \
    }

/* fd[SHADOW_SELF] is -1 afterwards and there is no error: there is no such folder (any more). */
CHECKED Error *shadow_side_open(int above, const char *name, ShadowLevel level, dev_t dev, ShadowSide *ret_side);
void shadow_side_close(ShadowSide *side);

/* The folder's names: of files (and messages), of the folders below it that are backed up.  What is of a kind that is
 * never taken is counted in 'refused' (may be NULL). */
CHECKED Error *shadow_list(const ShadowSide *side, ShadowLevel level, ShadowList *files, ShadowList *folders,
                           uint64_t *refused);

/* Does the home's .dovecot.sieve lead to one of its scripts, and nowhere else? */
bool shadow_active_script(int fd, ShadowLevel level, const char *name);

/* ---- files in, files out (shadow_link.c) ---- */

/* How many names a file has in the shadow. */
typedef struct ShadowNames {
    ino_t ino;
    uint32_t n;
} ShadowNames;

typedef struct ShadowRun {
    dev_t dev;
    uid_t owner;
    ShadowNames *names; /* counted if the source is never still */
    size_t n_names, names_room;
    unsigned rounds;
    bool moved; /* this round found something that is not as the last one left it */
    bool (*cancelled)(void *context);
    void *context;
    ShadowCounts counts;
} ShadowRun;

typedef struct ShadowPair {
    ShadowSide source, shadow;
    ShadowLevel level;
} ShadowPair;

Error *shadow_other_file_system(void);

/* Makes the shadow's files those of the source; 'stale' gets the names that the source does not have any
 * more. */
CHECKED Error *shadow_link(ShadowRun *run, const ShadowPair *pair, const ShadowList *wanted, const ShadowList *there,
                           ShadowList *stale);

/* The same without a link made: what is stale now. */
void shadow_stale(const ShadowList *wanted, const ShadowList *there, ShadowList *stale);

/* Before the first of the two below.  'shadow': the whole. */
CHECKED Error *shadow_drop_begin(ShadowRun *run, int shadow);

/* Takes the stale ones away.  Unless all was still: only if the source has no more names of the file than the shadow keeps. */
CHECKED Error *shadow_drop(ShadowRun *run, const ShadowPair *pair, const ShadowList *stale);

/* A folder of the shadow that the source does not have any more, with all that is in it. */
CHECKED Error *shadow_drop_folder(ShadowRun *run, int shadow, const char *name);

/* restic_run.h - one run of restic, from its descriptors to its end
 *
 * It blocks: jobs are children of mail-engine.  restic runs as mailbackup in a session of its own, with secrets in
 * memfds, an environment that is named, low priority, no new privileges, and for a backup CAP_DAC_READ_SEARCH alone.
 *
 * It is ended by SIGINT, at which it takes its lock away (0.14 dies of SIGTERM and leaves it), and ten seconds later by
 * SIGKILL: when the job is cancelled, at the time limit, and when nothing has moved for 'stall_s' (restic may try again
 * for a quarter of an hour and says nothing).  It ends when the job ends.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "tasks/job.h"
#include "tasks/restic_place.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    RESTIC_LINE_MAX = 1024 * 1024,  /* of one line of JSON: a path may have 4096 octets, each six in \u form */
    RESTIC_WORDS_MAX = 8192,        /* of stderr: its first lines */
    RESTIC_ARGS_BYTES = 1024 * 1024 /* of one vector; execve takes a quarter of the stack's limit */
};

/* What all runs of one handle share. */
typedef struct ResticUse {
    const char *root; /* "" for / */
    Job *job;         /* NULL: cannot be cancelled */
    const ResticPlace *place;
    int repository, password, key, hosts, google; /* memfds; -1: none */
} ResticUse;

typedef enum ResticEnd {
    RESTIC_ENDED,     /* by itself */
    RESTIC_CANCELLED, /* the job is to end */
    RESTIC_LATE,      /* time limit */
    RESTIC_STALLED,   /* nothing moved */
    RESTIC_STOPPED,   /* by us: 'line' or 'tick' said so, or it said too much */
} ResticEnd;

typedef struct ResticRun {
    const char *const *argv;   /* behind "restic"; NULL behind the last */
    const char *folder;        /* current folder; NULL: / */
    bool reads_all;            /* CAP_DAC_READ_SEARCH */
    unsigned limit_s, stall_s; /* 0: none */
    size_t out_max;            /* without 'line': stdout is kept in 'out' up to here */
    Error *(*line)(void *context, const char *line, size_t size); /* each line of stdout */
    bool (*tick)(void *context);                                  /* four times a second; false: stop */
    void (*said)(void *context, const char *line, size_t size);   /* each line of stderr; NULL: only kept */
    void *context;

    /* after the end */
    Buf out, words;
    ResticEnd end;
    int exit;    /* status; -SIGNAL */
    Error *why;  /* of 'line', owned */
    bool killed; /* it did not obey SIGINT: its lock may be there */
} ResticRun;

/* SYSTEM, DENIED: it could not be started; everything else stands in *run. */
CHECKED Error *restic_run(const ResticUse *use, ResticRun *run);
void restic_run_done(ResticRun *run);

/* A sealed memfd with this content, close-on-exec. */
CHECKED Error *restic_memfd(const char *name, const void *data, size_t size, int *ret_fd);

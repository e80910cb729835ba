/* apply.h - one change, in order: node.db → mail-engine → mail.db → "applied"
 *
 * Starts from state each time: what is wanted (node.db), what configuration is in
 * force (mail-engine), what the tables hold (mail.db, read back over its second
 * connection).  apply_next (decide.h) says from these alone what is to be done next.
 *
 * A change that brings new configuration touches no table before that is in force.
 * While mail-engine is away such a change waits; others go on.
 */
#pragma once
#include "accounts/accounts.h"
#include "decide.h"
#include "engine.h"
#include "journal.h"
#include "link.h"
#include "report.h"
#include "tables/names.h"
#include "usage.h"

typedef struct Apply Apply;

typedef struct ApplyParts { /* all outlive the Apply */
    Link *link;
    Journal *journal;
    Engine *engine;
    Accounts *accounts;
    Usage *usage;
    Report *report;
    const char *node;        /* our name */
    const char *folder;      /* of the tables */
    const char *replication; /* folder of the pairs of user domains with replicas; NULL: there is none */
    gid_t gid;               /* that may read them */
    Msec audit_ms;
} ApplyParts;

CHECKED Error *apply_new(const ApplyParts *parts, Apply **ret_apply);
void apply_free(Apply **apply);
void apply_run(Apply *apply, Msec now);
void apply_wait(const Apply *apply, Waiter *wake);

/* To be asked, never changed; NULL: they cannot be read.  And whose they are: NULL: no instance is placed here. */
Tables *apply_tables(Apply *apply);
const char *apply_instance(const Apply *apply);

/* Nothing is half done: an audit may run. */
bool apply_settled(const Apply *apply);

/* Recomputes everything from what is authoritative; differences are mended, told as happenings, and given to 'found'. */
CHECKED Error *apply_audit(Apply *apply, void (*found)(void *context, const char *where, const char *text),
                           void *context);

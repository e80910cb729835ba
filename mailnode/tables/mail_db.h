/* mail_db.h - the tables that Postfix, Dovecot and Rspamd read live (ENGINE.md 2a)
 *
 * mail.db is written by the agent alone and read by the daemons; a commit is in
 * force at once.  Rows are written by definition, never per user and domain; each
 * change writes the rows that it touches.  Recomputing everything is always right
 * (tables_audit); the increment is an optimisation, tested against it.
 *
 * Order of calls:
 *
 *     tables_open                         makes, checks, sets owners and modes; the gate is closed until the first commit
 *     tables_begin
 *       tables_touch(ref)...              each object that changed, was added or removed since tables_revision
 *       tables_accounts_* ...             what the directory said
 *     tables_commit(revision, digest)     recomputes what these touch, through 'view', and commits
 */
#pragma once
#include "base/error.h"
#include "model/validate.h"
#include "seal/digest.h"
#include "tables/accounts.h"

#include <sys/types.h>

typedef struct Tables Tables;

enum {
    TABLES_SCHEMA = 3,         /* user_version */
    TABLES_CHANGED_MAX = 1001, /* users who changed that are told by name; so many mean: perhaps more */
};

/* What is stated, as of the revision about to be committed: only objects of this node's one instance matter. */
typedef struct TablesView {
    void *self;
    const char *instance; /* the node's; NULL: none is placed here: every table of it is empty, the gate closed */
    StateView objects;
    /* Whose mailbox 'name' is, by UUID; *ret_uuid is the caller's, NULL: nobody's yet.  NULL: nobody knows of any. */
    Error *(*owner)(void *self, const char *name, char **ret_uuid);
    uint64_t (*usage)(void *self, const char *name); /* octets in a mailbox; NULL: nothing is known, and none is full */
    void *usage_self;
} TablesView;

/* folder: .../tables, exists.  gid: group that may read (mailtables), -1: leave.  A database that is damaged or of a
 * newer schema is set aside or refused: DAMAGED is repaired inside (emptied in place: readers keep the inode), and
 * *ret_rebuilt says so: tables_revision is 0 then; UNSUPPORTED: newer, with both numbers. */
CHECKED Error *tables_open(const char *folder, gid_t gid, Tables **ret_tables, bool *ret_rebuilt);
void tables_free(Tables **tables); /* keeps -wal and -shm: unprivileged readers need them */

/* What is committed, read over a second, read-only connection. */
CHECKED Error *tables_applied(Tables *tables, uint64_t *ret_revision, Digest *ret_digest);
uint64_t tables_rows(const Tables *tables); /* written by the last commit, for reports and tests */

CHECKED Error *tables_begin(Tables *tables);
void tables_abort(Tables *tables);
CHECKED Error *tables_touch(Tables *tables, const ObjectRef *ref);
CHECKED Error *
tables_touch_all(Tables *tables); /* as after a snapshot: everything is recomputed, differences are written */

/* The directory, whole: begin, every user and group, end (rows not named since begin go; 'complete' opens the gate). */
CHECKED Error *tables_accounts_begin(Tables *tables);
CHECKED Error *tables_account_user(Tables *tables, const AccountUser *user);
CHECKED Error *tables_account_group(Tables *tables, const AccountGroup *group);
CHECKED Error *tables_account_user_gone(Tables *tables, const char *uuid);
CHECKED Error *tables_account_group_gone(Tables *tables, const char *uuid);
CHECKED Error *tables_accounts_end(Tables *tables);

/* Users, as of now; groups may be NULL. */
void tables_accounts_count(const Tables *tables, size_t *ret_users, size_t *ret_groups);
/* Undoes what the accounts have said since the mark. */
CHECKED Error *tables_accounts_mark(Tables *tables);
CHECKED Error *tables_accounts_back(Tables *tables);

/* By name; *ret_uuid is the caller's, NULL: there is none, or several. */
CHECKED Error *tables_user_uuid(Tables *tables, const char *name, char **ret_uuid);
CHECKED Error *tables_touch_user(Tables *tables, const char *name);

/* The directory is away, or back: while it is away, unknown recipients get 451 instead of 550.  Takes effect with the commit. */
CHECKED Error *tables_directory_away(Tables *tables, bool away);

/* Would this usage make a mailbox full that is open, or the other way round?  Then touch it, and commit. */
CHECKED Error *tables_full_differs(Tables *tables, const char *name, uint64_t bytes, bool *ret_differs);

/* Users whose rows that matter to Dovecot changed (for Refresh): names, valid until the next begin.  At most
 * TABLES_CHANGED_MAX. */
const char *const *tables_changed_users(const Tables *tables, size_t *ret_n);

/* What the last commit or audit has found: mailboxes that are nobody's yet, and those that are (since then) another person's
 * than who has their name.  Valid until the next begin. */
typedef struct MailboxOwner {
    const char *name, *uuid; /* who has the name */
    bool stranger;
} MailboxOwner;
void tables_owners(const Tables *tables, void (*each)(void *context, const MailboxOwner *owner), void *context);

/* Those of them who lost a right to a public mailbox, or a group that may have one: their sessions end.  *ret_all: it may
 * be anybody.  Valid as above. */
const char *const *tables_left_users(const Tables *tables, size_t *ret_n, bool *ret_all);
bool tables_public_changed(const Tables *tables); /* folders and rights on the disk are behind the last commit */

/* Writes what the touched things now mean.  revision and digest are the applied state's. */
CHECKED Error *tables_commit(Tables *tables, const TablesView *view, uint64_t revision, const Digest *digest);

/* A name that left the directory has been put off long enough: the next commit (it may be of the same revision) makes it
 * unknown.  An audit does, too. */
bool tables_due(const Tables *tables);

/* Recomputes all rows beside the present ones; differences are written (one transaction, revision unchanged), counted,
 * and the first told in *ret_example (owned by the caller, NULL when there is none). */
CHECKED Error *tables_audit(Tables *tables, const TablesView *view, size_t *ret_n_mended, char **ret_example);

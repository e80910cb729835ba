/* junk.h - what lies in Junk longer than it should goes, whoever logs in or does not (SPEC F-050, F-131)
 *
 * Once an hour (MAILNODE_JUNK_MS) a child with the uid of vmail asks mail.db for each user's days and looks whether his
 * folder holds a file of that age; for those alone doveadm is run, one after the other, which decides by the day a message
 * was saved.  Without a junk folder nothing is done.  A failure is a happening, and the next ones are tried.
 *
 * Source: doveadm-expunge(1), doveadm-search-query(7): savedbefore.
 */
#pragma once
#include "engine/change.h"

typedef struct Junk Junk;

Junk *junk_new(const char *root, Happened *happened); /* both outlive it */
void junk_free(Junk **junk);
void junk_run(Junk *junk, const Change *change, Msec now);
void junk_wait(const Junk *junk, Waiter *wake);

/* What the child does: for at most JUNK_FOUND_MAX users behind 'after' in the order of names whose junk folder (UTF-8) below
 * 'mail' holds a file older than theirs at 'now_s'; those to whom seconds are 0 keep theirs. */
enum { JUNK_FOUND_MAX = 200 };
typedef void JunkFound(void *context, const char *user, uint64_t retention_s);
CHECKED Error *junk_look(const char *mail_db, const char *mail, const char *junk_folder, const char *after,
                         uint64_t now_s, JunkFound *found, void *context);

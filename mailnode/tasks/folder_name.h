/* folder_name.h - a mailbox and its folders, as people write them and as they stand on the disk
 *
 *     user:alice      ""  is INBOX           .Projects.2026   is Projects/2026
 *     public:Sales    .Sales  is INBOX       .Sales.Leads     is Leads
 *
 * Maildir++: the levels of a folder are one name, in modified UTF-7, with '.' before each.  Pure.
 */
#pragma once
#include "base/error.h"
#include "tasks/manifest.h"

typedef struct Mailbox {
    MailboxKind kind;
    char *name; /* "alice", "Sales/Leads", in their one form */
    char *base; /* on the disk: "", ".Sales.Leads" */
} Mailbox;

/* "user:NAME" or "public:NAME".  INVALID with what would be right. */
CHECKED Error *mailbox_read(const char *text, Mailbox *ret_mailbox);
void mailbox_done(Mailbox *mailbox);

/* As a manifest names it: "alice", ".Sales.Leads". */
const char *mailbox_entry_name(const Mailbox *mailbox);

/* A folder of this mailbox as people read it, always UTF-8; what Dovecot would not have written stays as it is, with
 * "\xHH" for octets that nobody can read.  NULL: it is not of this mailbox.  Owned by the caller. */
char *folder_shown(const Mailbox *mailbox, const char *on_disk);

/* Is 'filter' anywhere in the name?  Case is nothing; both are UTF-8. */
bool folder_matches(const char *shown, const char *filter);

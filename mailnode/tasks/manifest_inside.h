/* manifest_inside.h - the text of a manifest, line by line
 *
 *     mailnode-mailbox 1               mailnode-manifest 1
 *     F  NAME  MESSAGES  BYTES         user    NAME  FOLDERS  MESSAGES  BYTES
 *     C  SIZE  NAME                    public  NAME  FOLDERS  MESSAGES  BYTES
 *     N  SIZE  NAME                    E       MAILBOXES  MESSAGES  BYTES
 *     E  FOLDERS  MESSAGES  BYTES
 *
 * A TAB between fields.  In names every octet that is not printable ASCII, and '\', is "\xHH".  There is one way to write
 * a list, so what reads back writes the same octets.
 */
#pragma once
#include "tasks/manifest.h"

/* In the order of the list: folders by name, messages by name up to ':', then those of new, then the whole name. */
typedef struct MailboxText {
    Buf *out;
    Buf lines; /* of the folder that is being written: its figures stand before them */
    char *folder;
    uint64_t n, bytes;
    ManifestTotals totals;
} MailboxText;

void mailbox_text_begin(MailboxText *text, Buf *out);
void mailbox_text_folder(MailboxText *text, const char *name);
void mailbox_text_message(MailboxText *text, const char *name, uint64_t size, bool fresh);
void mailbox_text_end(MailboxText *text);

/* Sorts them. */
void manifest_text(ManifestEntry *entries, size_t n, Buf *out);

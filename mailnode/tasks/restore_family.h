/* restore_family.h - which folders of a backup are meant, and what they are called where they arrive
 *
 *     user:alice, Projects           .Projects  .Projects.2026      →  .Restored folder.Projects  ...Projects.2026
 *     user:alice, INBOX              the Maildir itself, .INBOX.x   →  .Restored folder.INBOX  .Restored folder.INBOX.x
 *     public:Sales, Leads            .Sales.Leads ...               →  .Sales.Restored folder.Leads ...
 *     public:Sales, INBOX            .Sales and all below it        →  .Sales.Restored folder.Sales ...
 *
 * Maildir++: on the disk folders are siblings, with '.' before each level.  What a backup calls a folder is believed only
 * where it is a name of one.  Pure.
 */
#pragma once
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { FAMILY_FOLDERS_MAX = 20000, FAMILY_FOLDER_OCTETS = 1000, FAMILY_DISK_OCTETS = 255 };

typedef struct FamilyFolder {
    char *from; /* on the disk, in the backup; "": the Maildir itself */
    char *to;   /* on the disk, in the store */
} FamilyFolder;

typedef struct Family {
    char *user;    /* of "user:alice"; NULL: a public mailbox */
    char *mailbox; /* "alice", "Sales/Leads" */
    char *base;    /* the mailbox on the disk: "", ".Sales.Leads" */
    char *place;   /* base and ".Restored folder" */
    char *from;    /* the folder that is meant, on the disk; "": the Maildir itself */
    char *name;    /* last part of its path; family_named may shorten it */
    FamilyFolder *folders;
    size_t n;
    bool shortened;
} Family;

/* INVALID: says which of the two, and what is wrong.  Nothing is added yet. */
CHECKED Error *family_new(const char *mailbox, const char *folder, Family **ret_family);
void family_free(Family **family);

/* A folder of the backup that is within family->from (folder_within).  DAMAGED: no name of a folder; INVALID: too many. */
CHECKED Error *family_add(Family *family, const char *on_disk);

/* After the last: where each goes to, and the root of them all is family->place.  A name that is too long for the disk is
 * shortened; INVALID: even so. */
CHECKED Error *family_named(Family *family);

/* "Restored folder/Projects", "Public/Sales/Restored folder/Leads": as mail programs have it; owned by the caller. */
char *family_shown(const Family *family);

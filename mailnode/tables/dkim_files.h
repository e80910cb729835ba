/* dkim_files.h - the keys that Rspamd signs with: FOLDER/dkim/example.org, one file for each domain that signs
 *
 * The first line is the selector, behind it stands the private key (PEM).  Rspamd opens the file of a message's domain for
 * each message (render/dkim.lua): whether it is there is whether the domain signs, at once and without reading anything
 * again.  The folder is of mode 2750 and group _rspamd, the files 0640; their names are checked here, whatever came before.
 *
 *     dkim_files_open, dkim_file_put..., dkim_files_settle, dkim_file_remove..., dkim_files_settle, dkim_files_close
 */
#pragma once
#include "base/error.h"
#include "seal/secret.h"
#include "tables/names.h"

typedef struct DkimFiles DkimFiles;

/* 'folder' is that of the tables; dkim in it is made where it is missing. */
CHECKED Error *dkim_files_open(const char *folder, DkimFiles **ret_files);
void dkim_files_close(DkimFiles **files); /* what was put and not settled is dropped */

/* Written beside its place; nothing where it stands so already.  INVALID: the domain cannot be a name, the selector no line. */
CHECKED Error *dkim_file_put(DkimFiles *files, const char *domain, const char *selector, const Secret *key);
/* What was put is on the disk first, then each in its place (a few by their own fsync, many by one of the file system);
 * what was removed stays so. */
CHECKED Error *dkim_files_settle(DkimFiles *files);
size_t dkim_files_put(const DkimFiles *files); /* that differed, since dkim_files_open */

CHECKED Error *dkim_file_remove(DkimFiles *files, const char *domain); /* none there: nothing happens */
size_t dkim_files_removed(const DkimFiles *files);

/* All that lies there, whatever it is. */
CHECKED Error *dkim_files_list(DkimFiles *files, Names *ret_names);
/* Removes it by the name that dkim_files_list gave. */
CHECKED Error *dkim_files_drop(DkimFiles *files, const char *name);

/* dovecotconf.h - the one writer of Dovecot 2.3's grammar: dovecot.conf, and the files that its sql and ldap drivers read
 *
 *     DovecotConf cf = dovecotconf_in(out, "dovecot/dovecot.conf", NULL);
 *     dovecotconf_section(&cf, "service", "lmtp");
 *     dovecotconf_set(&cf, "user", "vmail");
 *     dovecotconf_end(&cf);
 *
 * A value is data: Dovecot reads back what was given, whatever quotes, backslashes, '#', '$', '<' or braces are in it.
 * Refused (fileset_refused) is what the grammar has no form for: control characters, and octets that are no UTF-8.
 * Names, labels and comments are ours: a wrong one is a broken promise.
 *
 * Source: src/config/config-parser.c, src/lib-settings/settings.c, and what doveconf 2.3.19 reads back.
 */
#pragma once
#include "render/fileset.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct DovecotConf {
    FileSet *files;
    const char *path;
    Buf *text; /* the set's */
    unsigned depth;
} DovecotConf;

/* A new file of the set. */
DovecotConf dovecotconf_in(FileSet *files, const char *path, const char *group);

void dovecotconf_section(DovecotConf *cf, const char *type, const char *label); /* label NULL: none */
void dovecotconf_end(DovecotConf *cf);

void dovecotconf_set(DovecotConf *cf, const char *name, const char *value);
void dovecotconf_yes(DovecotConf *cf, const char *name, bool yes);
void dovecotconf_number(DovecotConf *cf, const char *name, uint64_t number);

/* For settings in which Dovecot expands %u and the like: 'literal' stands for itself, 'expanded' behind it is ours. */
void dovecotconf_expanded(DovecotConf *cf, const char *name, const char *literal, const char *expanded);

/* The value is what is in the file, read by root when Dovecot reads its configuration. */
void dovecotconf_file(DovecotConf *cf, const char *name, const char *path);

/* Beside the file that is being written. */
void dovecotconf_include(DovecotConf *cf, const char *file);

/* tables.h - asking the tables of an instance's node: mailboxes, senders, orphans */
#pragma once
#include "call.h"

typedef Error *EachRows(void *context, const Mail__TablesRows *rows);

/* each: with every part of the answer. */
CHECKED Error *tables_ask(Cli *cli, Mail__TablesRead *read, EachRows *each, void *context);

/* For 'address list' and 'address show': what leads to nobody.  A courtesy: when nobody can say, there is none. */
typedef struct Orphans Orphans;
Orphans *orphans_ask(Cli *cli, const char *prefix, const char *after);
void orphans_free(Orphans **orphans);
bool orphans_any(const Orphans *orphans);
char *orphans_of(const Orphans *orphans,
                 const char *address); /* "user:dave,group:x", owned by the caller; NULL: none */

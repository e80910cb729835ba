/* maincf.h - the writer of Postfix's main.cf
 *
 * A value is data or a text of ours.  Data: what somebody stated, or a path; whatever
 * main.cf would read as something else ('$', line ends, in lists also blanks, commas,
 * braces and quotes) is refused, and the refusal left in the file set.  Texts of ours
 * are literals and stand as they are.
 *
 *     maincf_section(cf, "Who may relay");
 *     maincf_list(cf, "smtpd_relay_restrictions");
 *     maincf_words(cf, "permit_sasl_authenticated");
 *     maincf_item(cf, "check_recipient_access ", "sqlite:%s/gate.cf", maps);
 *     maincf_finish(&cf);
 *
 * A parameter that is set again replaces the older one: Postfix warns of doubles.
 *
 * Source: postconf(5), "main.cf file format".
 */
#pragma once
#include "render/fileset.h"

typedef struct MainCf MainCf;

MainCf *maincf_new(FileSet *out, const char *path, const char *group);
void maincf_finish(MainCf **cf); /* writes it and frees */

void maincf_section(MainCf *cf, const char *words); /* a comment before what follows */

void maincf_plain(MainCf *cf, const char *name, const char *words);                       /* a text of ours */
void maincf_set(MainCf *cf, const char *name, const char *format, ...) PRINTF_LIKE(3, 4); /* data */
void maincf_number(MainCf *cf, const char *name, uint64_t number, const char *unit);      /* unit: "s" or "" */

/* A list, empty until items are added to it: the last one begun.  An item is words of ours, or data with words around. */
void maincf_list(MainCf *cf, const char *name);
void maincf_words(MainCf *cf, const char *words);
void maincf_item(MainCf *cf, const char *before, const char *format, ...) PRINTF_LIKE(3, 4);
void maincf_enclosed(MainCf *cf, const char *before, const char *data, const char *after);

/* What somebody else wrote, as it is, at the end, with 'origin' ("override/postfix.d/site.cf, line 3") before it.
 * Replaces 'name'; NULL: no name could be read in it. */
void maincf_foreign(MainCf *cf, const char *name, const char *text, const char *origin);

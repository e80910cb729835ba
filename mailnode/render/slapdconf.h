/* slapdconf.h - writer of slapd.conf
 *
 *     slapdconf(&conf, "access", "to", "*", "by", "*", "none");
 *
 * A line is words; each 'by' begins a line of its own that continues it.  Words are
 * quoted where they must be.  A control character is refused: it would end the line.
 *
 * Source: slapd.conf(5); servers/slapd/config.c: strtok_quote: '"' and '\' count anywhere in a word.
 */
#pragma once
#include "render/fileset.h"

typedef struct SlapdConf {
    FileSet *set;
    Buf *text; /* the file's */
} SlapdConf;

#define slapdconf(conf, ...) slapdconf_line((conf), (const char *const[]){__VA_ARGS__, NULL})
void slapdconf_line(SlapdConf *conf, const char *const *words);

/* '# text' with an empty line before it. */
void slapdconf_heading(SlapdConf *conf, const char *text);

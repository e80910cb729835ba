/* plainconf.h - the writer of the grammars that are lines of a name and a value
 *
 *                redis.conf               clamd.conf                  unbound.conf
 *   line         name "value"             Name "value"                name: "value", in sections
 *   in quotes    \\ \" \xHH               nothing is special; up to   nothing can be escaped
 *                                         the last quote of the line
 *   refused      -                        control characters, empty,  control characters, empty,
 *                                         lines over 510 octets       quote, backslash
 *
 * Words and numbers (yes, 0660) stand bare and are ours.  What reads back is what was given; a value that the grammar
 * cannot say is refused (fileset_refused).
 *
 * Sources: Redis 7.0 src/sds.c (sdssplitargs); ClamAV 1.4 common/optparser.c (optparse: char buffer[512]);
 * Unbound 1.17 util/configlexer.lex (quotedstring).
 */
#pragma once
#include "render/fileset.h"

#include <stdint.h>

typedef enum PlainGrammar { PLAIN_REDIS, PLAIN_CLAMD, PLAIN_UNBOUND } PlainGrammar;

typedef struct PlainConf {
    FileSet *set;
    const char *path; /* a literal */
    PlainGrammar grammar;
    Buf *text;
} PlainConf;

PlainConf plainconf_in(FileSet *set, const char *path, const char *group, PlainGrammar grammar);

void plainconf_comment(PlainConf *conf, const char *line); /* a literal, one line */
void plainconf_section(PlainConf *conf, const char *name); /* unbound.conf: server */

void plainconf_text(PlainConf *conf, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);
void plainconf_word(PlainConf *conf, const char *name, const char *word);
void plainconf_number(PlainConf *conf, const char *name, uint64_t value);

/* unbound.conf: access-control: "127.0.0.0/8" allow */
void plainconf_text_word(PlainConf *conf, const char *name, const char *value, const char *word);

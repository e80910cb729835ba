/* ucl.h - the one writer of Rspamd's configuration grammar
 *
 *     Ucl ucl = ucl_in(out, "rspamd/local.d/antivirus.conf", "_rspamd");
 *     ucl_open(&ucl, "clamav", NULL);
 *     ucl_text(&ucl, "servers", PLACE_CLAMD_SOCKET, root);
 *     ucl_close(&ucl);
 *
 * Keys are words of ours; texts are always quoted, and '$' and '{' are written as \u escapes, so that neither a
 * variable of UCL nor a template of Rspamd (applied to the whole file before it is parsed) can begin in a value.
 * What reads back is what was given.  A text that is not UTF-8 or holds a control character is refused
 * (fileset_refused).
 *
 * Source: libucl, src/ucl_parser.c (ucl_lex_json_string: \u is replaced, variables are looked for only where a '$'
 * was seen before that); Rspamd 3.4, lualib/lua_util.lua (lupa: {% {= {#).
 */
#pragma once
#include "render/fileset.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Ucl {
    FileSet *set;
    const char *path; /* a literal */
    Buf *text;
    unsigned depth;
} Ucl;

Ucl ucl_in(FileSet *set, const char *path, const char *group);

void ucl_comment(Ucl *ucl, const char *line); /* a literal, one line */
void ucl_blank(Ucl *ucl);

void ucl_text(Ucl *ucl, const char *key, const char *format, ...) PRINTF_LIKE(3, 4);
void ucl_number(Ucl *ucl, const char *key, uint64_t value);
void ucl_seconds(Ucl *ucl, const char *key, unsigned value);
void ucl_ten_thousandths(Ucl *ucl, const char *key, uint64_t value); /* 59999: 5.9999 */
void ucl_yes_no(Ucl *ucl, const char *key, bool value);
void ucl_null(Ucl *ucl, const char *key); /* as if it had never been set */
void ucl_list(Ucl *ucl, const char *key, const char *const *values, size_t n);

/* name NULL: 'key {', otherwise 'key "name" {' */
void ucl_open(Ucl *ucl, const char *key, const char *name);
void ucl_close(Ucl *ucl);

typedef enum UclInclude {
    UCL_STOCK,    /* as it is there */
    UCL_OURS,     /* replaces what was said before */
    UCL_OVERRIDE, /* the root of the node has the last word; need not be there */
} UclInclude;

/* 'path' is a literal and may begin with a variable: "$LOCAL_CONFDIR/local.d/options.inc". */
void ucl_include(Ucl *ucl, UclInclude how, const char *path);

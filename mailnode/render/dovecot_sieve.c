/* Filing at delivery: what is flagged as spam goes to the junk folder, then the user's own rules */
#include "render/dovecot.h"

#include "base/alloc.h"
#include "tables/places.h"

#include <inttypes.h>

/* RFC 5228 2.4.2: in a quoted string '"' and '\' are the only ones that are escaped. */
static void sieve_string(Buf *out, const char *text)
{
    buf_append_text(out, "\"");
    for (const char *at = text; *at; at++) {
        if (*at == '"' || *at == '\\')
            buf_append_text(out, "\\");
        buf_append(out, at, 1);
    }
    buf_append_text(out, "\"");
}

static void junk_text(Buf *out, const char *folder)
{
    buf_append_text(out, "require [\"fileinto\", \"mailbox\"];\n\n"
                         "if header :is \"X-Spam\" \"Yes\" {\n"
                         "    fileinto :create ");
    sieve_string(out, folder);
    buf_append_text(out, ";\n    stop;\n}\n");
}

/* Its name tells what is in it: a compiled script counts as new for as long as the text is older, and going back to the last
 * generation makes the text older. */
static void junk(DovecotConf *cf, const NodeState *state, FileSet *out)
{
    DEFER(buf_done) Buf text = {0};

    junk_text(&text, state->settings->junk_folder);
    Digest digest = digest_of(text.data, text.size);
    DEFER(xfree)
    char *path = xasprintf("dovecot/junk-%02x%02x%02x%02x.sieve", digest.octets[0], digest.octets[1], digest.octets[2],
                           digest.octets[3]);
    buf_append(fileset_add(out, path, "vmail"), text.data, text.size);

    DEFER(xfree) char *current = dovecot_place(PLACE_CURRENT, state);
    DEFER(xfree) char *compiled = dovecot_place(PLACE_SIEVE_COMPILED, state);
    DEFER(xfree) char *script = xasprintf("file:%s/%s;bindir=%s", current, path, compiled);
    dovecotconf_expanded(cf, "sieve_before", script, "");
}

/* Without sieve_plugins and sieve_extensions no script runs a program. */
void dovecot_sieve(DovecotConf *cf, const NodeState *state, FileSet *out)
{
    DEFER(xfree) char *reinject = xasprintf("%s:%d", state->loopback, PORT_REINJECT);

    dovecotconf_set(cf, "submission_host", reinject);
    dovecotconf_section(cf, "plugin", NULL);
    dovecotconf_set(cf, "sieve", "file:~/sieve;active=~/.dovecot.sieve");
    if (state->settings->junk)
        junk(cf, state, out);
    dovecotconf_number(cf, "sieve_max_redirects", 4);
    dovecotconf_number(cf, "sieve_quota_max_scripts", 50);
    dovecotconf_set(cf, "sieve_quota_max_storage", "10M");
    dovecotconf_set(cf, "sieve_max_cpu_time", "10s");
    dovecotconf_end(cf);
}

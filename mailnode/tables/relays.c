#include "tables/relays.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

enum { PORT_SUBMISSIONS = 465 };

static const char *level(const Mail__Relay *relay)
{
    bool wrapped = relay->port == PORT_SUBMISSIONS; /* TLS begins at once */

    if (relay->tls == MAIL__RELAY__LEVEL__OFF)
        return "may";
    if (relay->tls == MAIL__RELAY__LEVEL__ENCRYPT)
        return wrapped ? "wrap-encrypt" : "encrypt";
    return wrapped ? "wrap-verify" : "verify";
}

/* "recipient/example.com" -> 'r' and how Postfix, or the query, asks for it. */
static void key_of(const char *name, RelayRow *out)
{
    const char *slash = strchr(name, '/');
    bool sender = slash && *name == 's';

    memcpy(out->kind, !slash ? "d" : sender ? "s" : "r", sizeof out->kind);
    const char *subject = slash ? slash + 1 : "";
    bool domain = sender && !strchr(subject, '@');
    out->subject = xasprintf("%s%s", domain ? "@" : "", subject);
}

/* The destination of this login: the first variant that is free, or has it already. */
static const char *dest_of(RelayRows *out, const Mail__Relay *relay, const char *login)
{
    DEFER(buf_done) Buf zeros = {0};

    for (;;) {
        DEFER(xfree) char *dest = xasprintf("[%s]:%s%u", relay->host, buf_text(&zeros), relay->port);
        const RelayLogin *there = NULL;
        for (size_t i = 0; i < out->n_logins && !there; i++)
            if (strcmp(out->logins[i].dest, dest) == 0)
                there = &out->logins[i];
        if (there && strcmp(there->login, login) == 0)
            return there->dest;
        if (!there) {
            out->logins[out->n_logins] = (RelayLogin){dest, xstrdup(login)};
            dest = NULL;
            return out->logins[out->n_logins++].dest;
        }
        buf_append_text(&zeros, "0");
    }
}

static char *nexthop_of(RelayRows *out, const RelayRule *rule)
{
    const Mail__Relay *relay = rule->object->relay;

    if (!relay->user)
        return xasprintf("rn-%s:[%s]:%u", level(relay), relay->host, relay->port);
    if (!rule->password)
        return xstrdup("retry:4.3.5 the password of this relay rule must be set again");
    char *login = xasprintf("%s:%s", relay->user, secret_text(rule->password));
    char *nexthop = xasprintf("rr-%s:%s", level(relay), dest_of(out, relay, login));
    wipe(login, strlen(login));
    free(login);
    return nexthop;
}

void relay_rows(const RelayRule *rules, size_t n, RelayRows *out)
{
    *out = (RelayRows){.rows = xcalloc(n + 1, sizeof *out->rows), .logins = xcalloc(n + 1, sizeof *out->logins)};
    for (size_t i = 0; i < n; i++) {
        if (!rules[i].object->relay->enabled)
            continue;
        RelayRow *row = &out->rows[out->n_rows++];
        key_of(rules[i].object->name, row);
        row->nexthop = nexthop_of(out, &rules[i]);
    }
}

void relay_rows_done(RelayRows *rows)
{
    for (size_t i = 0; i < rows->n_rows; i++) {
        free(rows->rows[i].subject);
        free(rows->rows[i].nexthop);
    }
    for (size_t i = 0; i < rows->n_logins; i++) {
        wipe(rows->logins[i].login, strlen(rows->logins[i].login));
        free(rows->logins[i].login);
        free(rows->logins[i].dest);
    }
    free(rows->rows);
    free(rows->logins);
    *rows = (RelayRows){0};
}

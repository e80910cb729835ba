/* Rows that belong to nothing.  When every thing has been settled, the table holds what there should be and these: so
 * their number tells whether there are any, and only then they are looked for. */
#include "tables/compute.h"

#include "base/alloc.h"
#include "tables/queries.h"
#include "tables/target.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH = 500 };

/* The thing that a row belongs to is settled again; what belongs to nothing we know of goes. */

static Error *of_expand(Compute *compute, const char *key)
{
    const char *bucket = strstr(key, "==");
    DEFER(xfree) char *base = bucket ? xstrndup(key, (size_t)(bucket - key)) : xstrdup(key);
    DEFER(xfree) char *name = NULL;
    char kind = 0;

    if (strcmp(key, CANARY_KEY) == 0)
        return NULL;
    if (!target_key_read(base, &kind, &name))
        return compute_settle(compute, ROWS_EXPAND, key, NULL);
    return kind == 'u' ? people_forwarder(compute, name) : people_group(compute, name);
}

static Error *of_standing(Compute *compute, const char *key)
{
    if (strncmp(key, "u:", 2) == 0)
        return people_user(compute, key + 2);
    if (strncmp(key, "g:", 2) == 0)
        return people_group(compute, key + 2);
    return compute_settle(compute, ROWS_STANDING, key, NULL);
}

static Error *of_edge(Compute *compute, const char *src)
{
    size_t len = strlen(src);

    if (strncmp(src, "u:", 2) == 0)
        return people_forwarder(compute, src + 2);
    if (strncmp(src, "d:", 2) == 0)
        return address_domain(compute, src + 2);
    if (strncmp(src, "a:", 2) != 0 || !strchr(src, '@'))
        return compute_settle(compute, ROWS_EDGE, src, NULL);
    if (strcmp(src + len - 2, "@*") != 0)
        return address_named(compute, src + 2);
    DEFER(xfree) char *local = xstrndup(src + 2, len - 4);
    return address_local(compute, local);
}

static Error *of_rcpt(Compute *compute, const char *local, const char *scope)
{
    if (strcmp(scope, ".") < 0)
        return address_local(compute, local);
    DEFER(xfree) char *name = xasprintf("%s@%s", local, scope);
    return address_named(compute, name);
}

static Error *of_row(Compute *compute, RowTable table, const char *const *keys)
{
    switch (table) {
    case ROWS_DOMAIN:
        return address_domain(compute, keys[0]);
    case ROWS_RCPT:
        return of_rcpt(compute, keys[0], keys[1]);
    case ROWS_EXPAND:
        return of_expand(compute, keys[0]);
    case ROWS_LOGIN:
    case ROWS_USERDB:
        return people_user(compute, keys[0]);
    case ROWS_PUBLIC:
        return public_named(compute, keys[0]);
    case ROWS_RELAY_CLIENT:
        return client_named(compute, keys[0]);
    case ROWS_EDGE:
        return of_edge(compute, keys[0]);
    case ROWS_STANDING:
        return of_standing(compute, keys[0]);
    case ROWS_GATE:
    case ROWS_POLICY:
    case N_ROW_TABLES:
        break;
    }
    return NULL;
}

/* Row by row as they stand when it comes to them; in batches, since what is read may be what goes. */
static Error *sweep_table(Compute *compute, RowTable table)
{
    DEFER(xfree) char *first = xstrdup(""), *second = xstrdup(""), *done = xstrdup("");
    Error *err = NULL;
    size_t n;

    do {
        DEFER(rows_done) Rows keys = {.table = table};
        err = rows_keys(compute->writer, table, first, second, BATCH, &keys);
        n = keys.n_rows;
        for (size_t i = 0; !err && i < n; i++) {
            const char *const *row = rows_at(&keys, i);
            if (table != ROWS_RCPT && strcmp(done, row[0]) == 0)
                continue; /* all rows of this key are settled */
            err = of_row(compute, table, row);
            free(done);
            done = xstrdup(row[0]);
        }
        if (!err && n) {
            const char *const *last = rows_at(&keys, n - 1);
            free(first);
            free(second);
            first = xstrdup(last[0]);
            second = xstrdup(last[1] ? last[1] : "");
        }
    } while (!err && n == BATCH);
    return err;
}

/* The rows that match 'where', of which there should be n. */
static Error *sweep_if(Compute *compute, RowTable table, const char *where, size_t n)
{
    DEFER(xfree) char *text = xasprintf("SELECT count(*) FROM %s%s", row_table_name(table), where);
    size_t there[N_ROW_TABLES];
    int64_t found = 0;

    Error *err = sql_number(compute->writer->db, text, &found);
    if (err || (size_t)found == n)
        return err;
    memcpy(there, compute->settle.n_there, sizeof there); /* nothing counts twice */
    err = sweep_table(compute, table);
    memcpy(compute->settle.n_there, there, sizeof there);
    return err;
}

Error *sweep_users(Compute *compute)
{
    return sweep_if(compute, ROWS_STANDING, " WHERE name>='u:' AND name<'u;'", compute->settle.n_there[ROWS_STANDING]);
}

Error *sweep_standing(Compute *compute)
{
    return sweep_if(compute, ROWS_STANDING, "", compute->settle.n_there[ROWS_STANDING]);
}

Error *sweep(Compute *compute)
{
    static const RowTable swept[] = {ROWS_USERDB, ROWS_LOGIN,  ROWS_PUBLIC, ROWS_DOMAIN,
                                     ROWS_RCPT,   ROWS_EXPAND, ROWS_EDGE,   ROWS_RELAY_CLIENT};
    Error *err = NULL;

    for (size_t i = 0; !err && i < sizeof swept / sizeof *swept; i++)
        err = sweep_if(compute, swept[i], "", compute->settle.n_there[swept[i]]);
    return err;
}

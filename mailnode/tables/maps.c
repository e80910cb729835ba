#include "tables/maps.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/crash.h"
#include "base/path.h"
#include "tables/queries.h"

#include <string.h>
#include <sys/stat.h>

enum { MAP_SIZE_MAX = 64 * 1024, MAP_MODE = 0640 };

/* Addresses in any domain that can be written, but not "@domain" and not what an address of ours has led to already: asking
 * the tables for the domain first would cost as much as the question. */
#define ANY_ADDRESS "!" MAILBOX_DOMAIN " !" EXPAND_DOMAIN " static:any"

const TableMap table_maps[] = {
    {"gate", QUERY_GATE, NULL, "whether anybody is answered yet: at RCPT, first of all", false},
    {"ours", QUERY_OURS, NULL, "is it a domain of ours? asked with every address, for relaying", false},
    {"known", QUERY_KNOWN, NULL, "what RCPT says of an address that is defined", false},
    {"rest", QUERY_REST, NULL, "what RCPT says of all others in a domain of ours", false},
    {"alias", QUERY_ALIAS, ANY_ADDRESS, "where an address leads", false},
    {"alias_domains", QUERY_ALIAS_DOMAINS, NULL, "our domains, as 'virtual_alias_domains'", false},
    {"expand", QUERY_EXPAND, EXPAND_DOMAIN, "what groups and forwards come to", false},
    {"catchall", QUERY_CATCHALL, NULL, "where what nobody has leads, by '@domain'", false},
    {"senders", QUERY_SENDERS, ANY_ADDRESS, "logins that may use a sender address", false},
    {"clients", QUERY_CLIENTS, NULL, "clients that may relay without a login: 'mynetworks'", false},
    {"strangers", QUERY_STRANGERS, NULL, "clients that are none of these, for internal addresses that take no mail",
     false},
    {"login", QUERY_LOGIN, NULL, "what a login may do: a restriction, or why not", false},
    {"own", QUERY_OWN, NULL, "mail for our domains goes nowhere else, whatever a rule says", false},
    {"transport", QUERY_TRANSPORT, NULL, "relay rules for recipients", true},
    {"sender_transport", QUERY_SENDER_TRANSPORT, NULL, "relay rules for senders", true},
    {"default_rule", QUERY_DEFAULT_RULE, NULL, "the relay rule for all the rest", true},
    {"relay_login", QUERY_RELAY_LOGIN, NULL, "the login of a destination", true},
};
const size_t n_table_maps = sizeof table_maps / sizeof *table_maps;

static void map_text(const TableMap *map, const char *folder, Buf *out)
{
    buf_printf(out, "# %s: %s\n# Written by mail-agent; what is changed here is lost.\n", map->name, map->why);
    buf_printf(out, "dbpath = %s/%s\n", folder, map->relay ? "relay/secrets.db" : "mail.db");
    buf_printf(out, "query = %s\n", map->query);
    if (map->domain)
        buf_printf(out, "domain = %s\n", map->domain);
}

static bool stands(const char *path, gid_t gid, Buf *text)
{
    DEFER(buf_done) Buf there = {0};
    struct stat st;

    Error *err = file_read(path, MAP_SIZE_MAX, &there);
    bool same = !err && lstat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 07777) == MAP_MODE &&
                (gid == (gid_t)-1 || st.st_gid == gid) && there.size == text->size &&
                memcmp(there.data, text->data, text->size) == 0;
    error_free(&err); /* whatever it is that cannot be read: it is written anew */
    return same;
}

static Error *map_write(const TableMap *map, const char *folder, gid_t gid, size_t *n_written)
{
    DEFER(buf_done) Buf text = {0};
    DEFER(xfree) char *path = xasprintf("%s/maps/%s.cf", folder, map->name);

    map_text(map, folder, &text);
    if (stands(path, gid, &text))
        return NULL;
    CRASH_POINT("agent.maps.writing");
    Error *err = file_write(path, text.data, text.size, MAP_MODE, gid);
    if (err)
        return err;
    CRASH_POINT("agent.maps.written");
    ++*n_written;
    return NULL;
}

Error *maps_write(const char *folder, gid_t gid, size_t *ret_n_written)
{
    DEFER(xfree) char *maps = xasprintf("%s/maps", folder);
    size_t n_written = 0;

    Error *err = folder_make(maps, 0750, (uid_t)-1, gid);
    for (size_t i = 0; !err && i < n_table_maps; i++)
        err = map_write(&table_maps[i], folder, gid, &n_written);
    if (!err)
        *ret_n_written = n_written;
    return err;
}

/* Who may log in, who has a mailbox: mail.db says who there is, the directory on this node checks the password */
#include "render/dovecot.h"

#include "base/alloc.h"
#include "model/account.h"
#include "tables/places.h"
#include "tables/queries.h"

#include <string.h>

#define SQL_USERDB "dovecot/sql-userdb.conf"
#define SQL_PASSDB "dovecot/sql-passdb.conf"
#define LDAP_CONF "dovecot/ldap.conf"
#define LDAP_RC "dovecot/ldaprc"

static void set_generated(DovecotConf *cf, const char *name, const char *path, const NodeState *state)
{
    DEFER(xfree) char *current = dovecot_place(PLACE_CURRENT, state);
    DEFER(xfree) char *args = xasprintf("%s/%s", current, path);

    dovecotconf_set(cf, name, args);
}

/* ---- mail.db ------------------------------------------------------------------------ */

static DovecotConf sql_in(FileSet *out, const char *path, const NodeState *state)
{
    DovecotConf cf = dovecotconf_in(out, path, "dovecot");
    DEFER(xfree) char *database = dovecot_place(PLACE_TABLES "/mail.db", state);

    dovecotconf_set(&cf, "driver", "sqlite");
    dovecotconf_set(&cf, "connect", database);
    return cf;
}

/* Inside a string of SQL, where Dovecot expands. */
static void string_part(Buf *query, const char *text)
{
    for (; *text; text++)
        buf_printf(query, "%s%c", *text == '%' ? "%" : *text == '\'' ? "'" : "", *text);
}

static void user_query(DovecotConf *sql, const NodeState *state)
{
    DEFER(buf_done) Buf query = {0};
    DEFER(xfree) char *folder = dovecot_place(PLACE_PUBLIC, state), *mail = dovecot_place(PLACE_MAIL, state);

    buf_append_text(&query, QUERY_USERDB_FIELDS QUERY_USERDB_HOME_BEGIN);
    string_part(&query, mail);
    buf_append_text(&query, QUERY_USERDB_HOME_END QUERY_USERDB_PLAIN QUERY_USERDB_FROM QUERY_USERDB_PUBLIC_BEGIN);
    string_part(&query, folder);
    buf_append_text(&query, QUERY_USERDB_PUBLIC_END QUERY_USERDB_END);
    dovecotconf_set(sql, "user_query", buf_text(&query));
}

static void userdb(DovecotConf *cf, const NodeState *state, FileSet *out)
{
    DovecotConf sql = sql_in(out, SQL_USERDB, state);

    user_query(&sql, state);
    dovecotconf_set(&sql, "iterate_query", QUERY_USERDB_ITERATE);

    dovecotconf_section(cf, "userdb", NULL);
    dovecotconf_set(cf, "driver", "sql");
    set_generated(cf, "args", SQL_USERDB, state);
    dovecotconf_end(cf);
}

/* Without the return-fail of a failed query the directory would be asked for a user without a name. */
static void passdb_tables(DovecotConf *cf, const NodeState *state, FileSet *out)
{
    DovecotConf sql = sql_in(out, SQL_PASSDB, state);

    dovecotconf_set(&sql, "password_query", QUERY_PASSDB);

    dovecotconf_section(cf, "passdb", NULL);
    dovecotconf_set(cf, "driver", "sql");
    set_generated(cf, "args", SQL_PASSDB, state);
    dovecotconf_set(cf, "result_failure", "return-fail");
    dovecotconf_set(cf, "result_internalfail", "return-fail");
    dovecotconf_end(cf);
}

/* ---- the directory ------------------------------------------------------------------ */

static bool is_here(const NodeState *state)
{
    for (size_t i = 0; i < state->n_directories; i++)
        if (strcmp(state->directories[i].name, state->user_domain_name) == 0)
            return true;
    return false;
}

/* ldap_initialize(3): a path in a URI has its '/' as %2F. */
static char *ldapi_uri(const char *path)
{
    Buf uri = {0};

    buf_append_text(&uri, "ldapi://");
    for (const char *at = path; *at; at++)
        if ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
            strchr("-._~", *at))
            buf_append(&uri, at, 1);
        else
            buf_printf(&uri, "%%%02X", (unsigned char)*at);
    char *text = xstrdup(buf_text(&uri));
    buf_done(&uri);
    return text;
}

/* Dovecot waits a minute for an answer on a connection that hangs; libldap gives up by these. */
static void ldaprc(FileSet *out)
{
    buf_append_text(fileset_add(out, LDAP_RC, "dovecot"), "NETWORK_TIMEOUT 4\nTIMEOUT 4\n");
}

/* The bind with the user's password is the check.  Before it the connection is who its peer credentials say: no password of
 * ours is anywhere.  In workers: a slapd that hangs would hold up the one auth process with all its cached logins. */
static void ldap_conf(const NodeState *state, FileSet *out)
{
    DovecotConf ldap = dovecotconf_in(out, LDAP_CONF, "dovecot");
    DEFER(xfree)
    char *socket = dovecot_place(is_here(state) ? PLACE_LDAPI : PLACE_RUN_DOVECOT "/no-directory-here", state);
    DEFER(xfree) char *uri = ldapi_uri(socket);
    DEFER(xfree) char *suffix = xasprintf(DIRECTORY_SUFFIX, state->user_domain_name);

    dovecotconf_set(&ldap, "uris", uri);
    set_generated(&ldap, "ldaprc_path", LDAP_RC, state);
    dovecotconf_yes(&ldap, "sasl_bind", true);
    dovecotconf_set(&ldap, "sasl_mech", "EXTERNAL");
    dovecotconf_number(&ldap, "ldap_version", 3);
    dovecotconf_yes(&ldap, "blocking", true);
    dovecotconf_set(&ldap, "base", suffix);
    dovecotconf_yes(&ldap, "auth_bind", true);
    DEFER(xfree) char *dn = xasprintf("," DIRECTORY_PEOPLE ",%s", suffix);
    DEFER(xfree) char *bind = xasprintf("uid=%%{passdb:ldap_bind}%s", dn);
    dovecotconf_set(&ldap, "auth_bind_userdn", bind);
}

/* A user domain whose directory is elsewhere: the socket that is not there puts off whoever logs in. */
static void passdb_directory(DovecotConf *cf, const NodeState *state, FileSet *out)
{
    ldap_conf(state, out);
    ldaprc(out);
    dovecotconf_section(cf, "passdb", NULL);
    dovecotconf_set(cf, "driver", "ldap");
    set_generated(cf, "args", LDAP_CONF, state);
    dovecotconf_end(cf);
}

/* ---- rules for all ------------------------------------------------------------------ */

/* The cache spares the directory the costly hash.  After a change the old password goes on for at most this time, or
 * until the new one is used; with auth_cache_verify_password_with_worker the new one would be refused. */
static void rules(DovecotConf *cf)
{
    dovecotconf_set(cf, "auth_mechanisms", "plain login");
    dovecotconf_set(cf, "auth_username_format", "%Ln");
    dovecotconf_set(cf, "auth_username_chars", ACCOUNT_LOGIN_CHARS);
    dovecotconf_yes(cf, "auth_verbose", true);
    dovecotconf_set(cf, "auth_cache_size", "10 M");
    dovecotconf_set(cf, "auth_cache_ttl", "5 mins");
    dovecotconf_number(cf, "auth_cache_negative_ttl", 0);
    dovecotconf_yes(cf, "auth_cache_verify_password_with_worker", false);
}

void dovecot_auth(DovecotConf *cf, const NodeState *state, FileSet *out)
{
    rules(cf);
    passdb_tables(cf, state, out);
    passdb_directory(cf, state, out);
    userdb(cf, state, out);
}

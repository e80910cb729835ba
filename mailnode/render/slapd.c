/* The embedded directory: slapd/slapd.conf and, for each user domain, slapd/tree-NAME.ldif.
 *
 * Started as root, which it gives up by itself, with slapd_urls as URLS:
 *
 *     MALLOC_MMAP_THRESHOLD_=1048576 MALLOC_ARENA_MAX=2
 *     /usr/sbin/slapd -d none -s none -u openldap -g openldap -f ROOT/var/lib/mailnode/engine/current/slapd/slapd.conf -h "URLS"
 *
 * (-d keeps it in the foreground; without the first setting each bind leaves 7 MB behind.)  Before its first start each user
 * domain's folder (slapd_folder; openldap 0700) is made and its tree loaded, as openldap, while slapd does not run:
 *
 *     /usr/sbin/slapadd -q -w -f .../slapd/slapd.conf -b dc=NAME,dc=mailnode -l .../slapd/tree-NAME.ldif
 *
 * A load that was cut off leaves a data.mdb that is not whole: what says that it is done must be written after it.  Checked by
 *
 *     /usr/sbin/slaptest -u -Q -f .../slapd/slapd.conf        (quiet, opens no database)
 *
 * There is no password of an administrator: over ldapi the peer's uid decides.
 *     root       the rootdn: slapcat's friend, for repairs by hand
 *     mailagent  writes people and groups, sets passwords, reads none
 *     dovecot    finds people; binds as them with what they typed
 *
 * A replica (a node of 'replicas') copies the whole directory over LDAPS (RFC 4533, refresh and persist), by SASL EXTERNAL with
 * the pair that its node shares with the one that holds it; it takes no changes, and its tree is not loaded but copied.
 *
 * Source: slapd.conf(5), slapd.access(5), slapo-ppolicy(5), slapo-unique(5), slapo-syncprov(5).
 */
#include "render/slapd.h"

#include "base/alloc.h"
#include "base/proc.h"
#include "render/ldif.h"
#include "render/render.h"
#include "render/slapdconf.h"
#include "tables/places.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char readers[] = "openldap";

static const char root_dn[] = "cn=root,dc=mailnode";
static const char agent_dn[] = "dn.exact=cn=agent,dc=mailnode";
static const char dovecot_dn[] = "dn.exact=cn=dovecot,dc=mailnode";

/* ---- what others must know --------------------------------------------------------- */

Error *slapd_uids(NodeState *state)
{
    gid_t gid = 0;

    Error *err = proc_user("mailagent", &state->uid_mailagent, &gid);
    return err ? err : proc_user("dovecot", &state->uid_dovecot, &gid);
}

/* The one that replicas copy from here; NULL: none is. */
static const DirectoryState *provided(const NodeState *state)
{
    for (size_t i = 0; i < state->n_directories; i++)
        if (!state->directories[i].replica && state->directories[i].stated->n_replicas)
            return &state->directories[i];
    return NULL;
}

static bool serves_ldaps(const NodeState *state)
{
    for (size_t i = 0; state->certificate && i < state->n_directories; i++)
        if (!state->directories[i].replica && state->directories[i].stated->n_listen)
            return true;
    return false;
}

char *slapd_pair(const NodeState *state, const char *user_domain, uint64_t number)
{
    return xasprintf(PLACE_REPLICATION "/%s-%" PRIu64 ".pem", state->root, user_domain, number);
}

char *slapd_urls(const NodeState *state)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    DEFER(xfree) char *socket = xasprintf(PLACE_LDAPI, state->root);
    DEFER(buf_done) Buf urls = {0};

    buf_append_text(&urls, "ldapi://");
    for (const char *at = socket; *at; at++)
        if (strchr(plain, *at))
            buf_append(&urls, at, 1);
        else
            buf_printf(&urls, "%%%02X", (unsigned char)*at);
    for (size_t i = 0; serves_ldaps(state) && i < state->n_directories; i++) {
        const Mail__UserDomain *stated = state->directories[i].stated;
        for (size_t k = 0; !state->directories[i].replica && k < stated->n_listen; k++) {
            bool six = strchr(stated->listen[k], ':');
            DEFER(xfree) char *url = xasprintf(six ? " ldaps://[%s]:636" : " ldaps://%s:636", stated->listen[k]);
            const char *there = strstr(buf_text(&urls), url);
            if (!there || (there[strlen(url)] && there[strlen(url)] != ' ')) /* two may share an address */
                buf_append_text(&urls, url);
        }
    }
    return xstrdup(buf_text(&urls));
}

char *slapd_folder(const NodeState *state, const char *user_domain)
{
    return xasprintf(PLACE_SLAPD_DATA "/%s", state->root, user_domain);
}

/* ---- slapd.conf -------------------------------------------------------------------- */

static void modules(SlapdConf *conf)
{
    slapdconf(conf, "modulepath", "/usr/lib/ldap");
    slapdconf(conf, "moduleload", "back_mdb");
    slapdconf(conf, "moduleload", "syncprov");
    slapdconf(conf, "moduleload", "ppolicy");
    slapdconf(conf, "moduleload", "unique");
    slapdconf(conf, "moduleload", "argon2", "m=7168", "t=5", "p=1"); /* 11 ms and 7 MB for each bind */
    slapdconf(conf, "moduleload", "pw-sha2");                        /* hashes that were brought along */
    slapdconf(conf, "include", "/etc/ldap/schema/core.schema");
    slapdconf(conf, "include", "/etc/ldap/schema/cosine.schema");
    slapdconf(conf, "include", "/etc/ldap/schema/inetorgperson.schema");
    slapdconf(conf, "include", "/etc/ldap/schema/nis.schema");
}

static void limits(SlapdConf *conf)
{
    slapdconf_heading(conf, "what a stranger can cost");
    slapdconf(conf, "threads", "8");
    slapdconf(conf, "sizelimit", "500");
    slapdconf(conf, "timelimit", "30");
    slapdconf(conf, "writetimeout", "30");
    slapdconf(conf, "conn_max_pending", "100");
    slapdconf(conf, "sockbuf_max_incoming", "65536");
}

/* "gidNumber=994+uidNumber=995,cn=peercred,cn=external,cn=auth": any group, this user.  slapd.conf eats backslashes. */
static void who_connects(SlapdConf *conf, uid_t uid, const char *dn)
{
    DEFER(xfree)
    char *peer = xasprintf("^gidNumber=[0-9]*[+]uidNumber=%lu,cn=peercred,cn=external,cn=auth$", (unsigned long)uid);

    slapdconf(conf, "authz-regexp", peer, dn);
}

static void identities(const NodeState *state, SlapdConf *conf)
{
    if (!state->uid_mailagent || !state->uid_dovecot) {
        fileset_refuse(conf->set,
                       error_new(ERROR_INVALID, "slapd.conf: the uids of mailagent and dovecot are not known"));
        return;
    }
    slapdconf_heading(conf, "passwords travel over ldapi and TLS alone; on ldapi the peer's uid says who it is");
    slapdconf(conf, "localSSF", "128");
    slapdconf(conf, "security", "simple_bind=128", "update_ssf=128");
    slapdconf(conf, "disallow", "bind_anon");
    slapdconf(conf, "password-hash", "{ARGON2}");
    who_connects(conf, 0, root_dn);
    who_connects(conf, state->uid_mailagent, "cn=agent,dc=mailnode");
    who_connects(conf, state->uid_dovecot, "cn=dovecot,dc=mailnode");
}

/* What mail-ldap asks whether a copy is connected to what it copies. */
static void monitor(const NodeState *state, SlapdConf *conf)
{
    bool any = false;

    for (size_t i = 0; i < state->n_directories; i++)
        any |= state->directories[i].replica;
    if (!any)
        return;
    slapdconf_heading(conf, "are the copies connected to what they copy?");
    slapdconf(conf, "moduleload", "back_monitor");
    slapdconf(conf, "database", "monitor");
    slapdconf(conf, "access", "to", "dn.subtree=cn=Monitor", "by", agent_dn, "read", "by", "*", "none");
}

static const char tls_ciphers[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

/* Path of the pair of a user domain with replicas. */
static char *pair_of(const NodeState *state, const DirectoryState *directory, SlapdConf *conf)
{
    if (!directory->stated->replication)
        fileset_refuse(conf->set,
                       error_new(ERROR_INVALID, "user-domain %s: replicas without a certificate", directory->name));
    return slapd_pair(state, directory->name, directory->stated->replication);
}

/* Whoever shows the certificate may read everything and change nothing.  Not on ldapi, and not in the words of a certificate:
 * nobody else is anybody. */
static void replicas_known(const NodeState *state, const DirectoryState *directory, SlapdConf *conf)
{
    DEFER(xfree) char *pair = pair_of(state, directory, conf);
    DEFER(xfree) char *subject = xasprintf("^cn=%s,o=mailnode replica$", directory->name);
    DEFER(xfree) char *replica = xasprintf(DIRECTORY_REPLICA, directory->name);

    slapdconf_heading(conf, "LDAPS, for replicas too: they and we trust this one certificate");
    slapdconf(conf, "TLSCertificateFile", pair);
    slapdconf(conf, "TLSCertificateKeyFile", pair);
    slapdconf(conf, "TLSCACertificateFile", pair);
    slapdconf(conf, "TLSVerifyClient", "try");
    slapdconf(conf, "TLSCipherSuite", tls_ciphers);
    slapdconf(conf, "authz-regexp", subject, replica);
    slapdconf(conf, "authz-regexp", ".*", "cn=nobody,dc=mailnode");
}

static void tls(const NodeState *state, SlapdConf *conf)
{
    if (!serves_ldaps(state))
        return;
    if (provided(state)) {
        replicas_known(state, provided(state), conf);
        return;
    }
    DEFER(xfree) char *certificate = xasprintf("%s/ldap-cert.pem", state->certificate);
    DEFER(xfree) char *key = xasprintf("%s/ldap-key.pem", state->certificate);

    slapdconf_heading(conf, "LDAPS");
    slapdconf(conf, "TLSCertificateFile", certificate);
    slapdconf(conf, "TLSCertificateKeyFile", key);
    slapdconf(conf, "TLSVerifyClient", "never");
    slapdconf(conf, "TLSCipherSuite", tls_ciphers);
}

/* The database's name, its people and its groups. */
typedef struct Tree {
    char *suffix, *people, *groups;
} Tree;

static Tree tree_of(const char *name)
{
    char *suffix = xasprintf(DIRECTORY_SUFFIX, name);

    return (Tree){suffix, xasprintf(DIRECTORY_PEOPLE ",%s", suffix), xasprintf(DIRECTORY_GROUPS ",%s", suffix)};
}

static void tree_done(Tree *tree)
{
    free(tree->suffix);
    free(tree->people);
    free(tree->groups);
}

/* What the module argon2 makes with the figures of modules(); which variant depends on the library that it was built with.
 * slapd.conf eats backslashes. */
static const char own_hash[] =
    "val.regex=^[{]ARGON2[}][$]argon2id?[$]v=19[$]m=7168,t=5,p=1[$][A-Za-z0-9+/]{22}[$][A-Za-z0-9+/]{43}$";

/* The first line that fits counts.  "=w" writes without reading; "=xw" is to compare at a bind, and to write; "=xz" to
 * compare, and to take away. */
static void access_to(const Tree *tree, SlapdConf *conf)
{
    DEFER(xfree) char *person = xasprintf("dn.one=%s", tree->people), *group = xasprintf("dn.one=%s", tree->groups);
    DEFER(xfree) char *people = xasprintf("dn.base=%s", tree->people), *groups = xasprintf("dn.base=%s", tree->groups);
    DEFER(xfree) char *suffix = xasprintf("dn.base=%s", tree->suffix);

    /* A person adds only what slapd makes of a password that it was given (RFC 3062): a hash of another form could cost
     * gigabytes at each login. */
    slapdconf(conf, "access", "to", person, "attrs=userPassword", own_hash, "by", agent_dn, "=w", "by", "self", "=xw",
              "by", "anonymous", "auth", "by", "*", "none");
    slapdconf(conf, "access", "to", person, "attrs=userPassword", "by", agent_dn, "=w", "by", "self", "=xz", "by",
              "anonymous", "auth", "by", "*", "none");
    slapdconf(conf, "access", "to", "attrs=userPassword,pwdHistory,pwdFailureTime", "by", "*", "none");
    slapdconf(conf, "access", "to", person, "attrs=entry,objectClass,uid,entryUUID", "by", agent_dn, "write", "by",
              dovecot_dn, "read", "by", "self", "read", "by", "*", "none");
    slapdconf(conf, "access", "to", person, "by", agent_dn, "write", "by", "self", "read", "by", "*", "none");
    slapdconf(conf, "access", "to", group, "by", agent_dn, "write", "by", "*", "none");
    slapdconf(conf, "access", "to", people, "attrs=entry", "by", agent_dn, "read", "by", dovecot_dn, "read", "by", "*",
              "none");
    slapdconf(conf, "access", "to", groups, "attrs=entry", "by", agent_dn, "read", "by", "*", "none");
    slapdconf(conf, "access", "to", people, "attrs=children", "by", agent_dn, "write", "by", "*", "none");
    slapdconf(conf, "access", "to", groups, "attrs=children", "by", agent_dn, "write", "by", "*", "none");
    slapdconf(conf, "access", "to", suffix, "attrs=entry,objectClass,entryUUID,contextCSN", "by", agent_dn, "read",
              "by", "*", "none");
    slapdconf(conf, "access", "to", "*", "by", "*", "none");
}

static void unique(const Tree *tree, SlapdConf *conf)
{
    DEFER(xfree) char *uids = xasprintf("ldap:///%s?uid?sub", tree->people);
    DEFER(xfree) char *numbers = xasprintf("ldap:///%s?uidNumber?sub", tree->people);
    DEFER(xfree) char *cns = xasprintf("ldap:///%s?cn?sub", tree->groups);

    slapdconf(conf, "overlay", "unique");
    slapdconf(conf, "unique_uri", uids);
    slapdconf(conf, "unique_uri", numbers);
    slapdconf(conf, "unique_uri", cns);
}

static void overlays(const Tree *tree, bool replica, SlapdConf *conf)
{
    DEFER(xfree) char *policy = xasprintf("cn=default,ou=PPolicy,%s", tree->suffix);

    slapdconf(conf, "overlay", "syncprov"); /* mail-ldap is told what changes */
    slapdconf(conf, "syncprov-checkpoint", "1", "1");
    slapdconf(conf, "syncprov-sessionlog", "5000");
    if (!replica)
        unique(tree, conf);
    slapdconf(conf, "overlay", "ppolicy");
    slapdconf(conf, "ppolicy_default", policy);
}

/* The copy has no server to refer writers to: mailctl asks the node that holds the directory.  network-timeout, since a node that
 * is off would let a stop of ours wait for minutes; a handshake that gets no answer then takes CPU time instead (libldap with
 * GnuTLS), until the other mail-engine has seen to its slapd.  No 'timeout', which a stop would wait for. */
static void copied(const NodeState *state, const DirectoryState *directory, size_t number, const Tree *tree,
                   SlapdConf *conf)
{
    DEFER(xfree) char *pair = pair_of(state, directory, conf);
    const char *host = directory->stated->n_listen ? directory->stated->listen[0] : "";
    DEFER(xfree) char *rid = xasprintf("rid=%03zu", number);
    DEFER(xfree)
    char *provider = xasprintf(strchr(host, ':') ? "provider=ldaps://[%s]:636" : "provider=ldaps://%s:636", host);
    DEFER(xfree) char *base = xasprintf("searchbase=%s", tree->suffix);
    DEFER(xfree) char *key = xasprintf("tls_key=%s", pair), *certificate = xasprintf("tls_cert=%s", pair);
    DEFER(xfree) char *trusted = xasprintf("tls_cacert=%s", pair);

    slapdconf(conf, "syncrepl", rid, provider, base, "type=refreshAndPersist", "retry=1 5 5 +", "keepalive=60:3:10",
              "network-timeout=5", "attrs=*,+", "schemachecking=off", "bindmethod=sasl", "saslmech=external", key,
              certificate, trusted, "tls_reqcert=demand", "tls_protocol_min=3.3");
}

/* Everything, hashes too: a replica that lacked them could let nobody in. */
static void copied_from(const char *name, SlapdConf *conf)
{
    DEFER(xfree) char *replica = xasprintf("dn.exact=" DIRECTORY_REPLICA, name);

    slapdconf(conf, "limits", replica, "size=unlimited", "time=unlimited");
    slapdconf(conf, "access", "to", "*", "by", replica, "read", "by", "*", "break");
}

static void database(const NodeState *state, size_t index, SlapdConf *conf)
{
    const DirectoryState *directory = &state->directories[index];
    const char *name = directory->name;
    DEFER(tree_done) Tree tree = tree_of(name);
    DEFER(xfree) char *folder = slapd_folder(state, name);
    DEFER(xfree) char *heading = xasprintf(directory->replica ? "user domain %s, a copy" : "user domain %s", name);

    slapdconf_heading(conf, heading);
    slapdconf(conf, "database", "mdb");
    slapdconf(conf, "suffix", tree.suffix);
    slapdconf(conf, "rootdn", root_dn);
    slapdconf(conf, "directory", folder);
    slapdconf(conf, "maxsize", "1073741824"); /* of a sparse file: 10,000 users take 15 MiB */
    slapdconf(conf, "index", "objectClass,entryUUID,entryCSN", "eq");
    slapdconf(conf, "index", "uid,cn", "eq");
    slapdconf(conf, "index", "uidNumber,gidNumber,memberUid,mail", "eq");
    slapdconf(conf, "limits", agent_dn, "size=unlimited", "time=unlimited");
    if (directory == provided(state))
        copied_from(name, conf);
    access_to(&tree, conf);
    if (directory->replica)
        copied(state, directory, index + 1, &tree, conf);
    overlays(&tree, directory->replica, conf);
}

/* ---- the tree ---------------------------------------------------------------------- */

static void unit(Ldif *ldif, const char *dn, const char *name)
{
    ldif_entry(ldif, dn);
    ldif_add(ldif, "objectClass", "organizationalUnit");
    ldif_add(ldif, "ou", name);
}

/* Fifty wrong passwords in five minutes stop a guesser for a minute; a telephone with an old password does not get there. */
static void policy(Ldif *ldif, const char *dn)
{
    static const char *const rules[][2] = {
        {"objectClass", "device"}, /* pwdPolicy is auxiliary */
        {"objectClass", "pwdPolicy"},
        {"cn", "default"},
        {"pwdAttribute", "userPassword"},
        {"pwdCheckQuality", "1"},
        {"pwdMinLength", "8"},
        {"pwdInHistory", "0"},
        {"pwdLockout", "TRUE"},
        {"pwdMaxFailure", "50"},
        {"pwdMaxRecordedFailure", "50"},
        {"pwdFailureCountInterval", "300"},
        {"pwdLockoutDuration", "60"},
        {"pwdSafeModify", "FALSE"},
        {"pwdAllowUserChange", "TRUE"},
    };

    ldif_entry(ldif, dn);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        ldif_add(ldif, rules[i][0], rules[i][1]);
}

static void tree_write(const char *name, FileSet *out)
{
    DEFER(tree_done) Tree tree = tree_of(name);
    DEFER(xfree) char *path = xasprintf("slapd/tree-%s.ldif", name);
    DEFER(xfree) char *policies = xasprintf("ou=PPolicy,%s", tree.suffix);
    DEFER(xfree) char *usual = xasprintf("cn=default,%s", policies);
    Ldif ldif = {fileset_add(out, path, readers)};

    ldif_entry(&ldif, tree.suffix);
    ldif_add(&ldif, "objectClass", "dcObject");
    ldif_add(&ldif, "objectClass", "organization");
    ldif_add(&ldif, "dc", name);
    ldif_add(&ldif, "o", name);
    unit(&ldif, tree.people, strchr(DIRECTORY_PEOPLE, '=') + 1);
    unit(&ldif, tree.groups, strchr(DIRECTORY_GROUPS, '=') + 1);
    unit(&ldif, policies, "PPolicy");
    policy(&ldif, usual);
}

void render_slapd(const NodeState *state, FileSet *out)
{
    SlapdConf conf = {out, fileset_add(out, "slapd/slapd.conf", readers)};
    DEFER(xfree) char *urls = slapd_urls(state);

    slapdconf_heading(&conf, "Written by mail-engine: changes are lost with the next one.");
    modules(&conf);
    limits(&conf);
    identities(state, &conf);
    tls(state, &conf);
    slapdconf_heading(&conf, "before anybody is known: that it is there, and what it speaks");
    slapdconf(&conf, "access", "to", "dn.base=", "by", "*", "read");
    slapdconf(&conf, "access", "to", "dn.base=cn=Subschema", "by", "users", "read", "by", "*", "none");
    monitor(state, &conf);
    for (size_t i = 0; i < state->n_directories; i++) {
        database(state, i, &conf);
        if (!state->directories[i].replica) /* its tree comes with the rest */
            tree_write(state->directories[i].name, out);
    }
    fileset_restart_on(out, "slapd", "listens on", urls);
}

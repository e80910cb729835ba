#include "render/dovecot.h"

#include "base/alloc.h"
#include "render/render.h"
#include "tables/places.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define DICT_SHARES "dovecot/dict-shares.conf"

/* ---- the whole ---------------------------------------------------------------------- */

static void set_place(DovecotConf *cf, const char *name, const char *place, const NodeState *state)
{
    DEFER(xfree) char *path = dovecot_place(place, state);

    dovecotconf_set(cf, name, path);
}

static void identity(DovecotConf *cf, const NodeState *state)
{
    DEFER(xfree) char *name = xasprintf("mailnode-%s", state->node);
    DEFER(xfree) char *postmaster = xasprintf("postmaster@%s", state->instance->hostname);

    dovecotconf_set(cf, "instance_name", name);
    dovecotconf_set(cf, "hostname", state->instance->hostname);
    dovecotconf_set(cf, "postmaster_address", postmaster);
    dovecotconf_set(cf, "login_greeting", "ready");
}

static void places(DovecotConf *cf, const NodeState *state)
{
    set_place(cf, "base_dir", PLACE_RUN_DOVECOT, state);
    set_place(cf, "state_dir", PLACE_DOVECOT_STATE, state);
    set_place(cf, "log_path", PLACE_LOG "/dovecot.log", state);
    dovecotconf_set(cf, "log_timestamp", "%Y-%m-%dT%H:%M:%S ");
}

static void listen_on(DovecotConf *cf, const NodeState *state)
{
    DEFER(buf_done) Buf addresses = {0};

    for (size_t i = 0; i < state->instance->n_listen; i++)
        buf_printf(&addresses, "%s%s", i ? ", " : "", state->instance->listen[i]);
    dovecotconf_set(cf, "protocols", "imap pop3 lmtp sieve");
    dovecotconf_set(cf, "listen", addresses.size ? buf_text(&addresses) : "*, ::");
}

/* No network is trusted (QUERY_PASSDB has the rest of that).  A reload lets sessions live: without the last line they are
 * gone within 6 s. */
static void tls(DovecotConf *cf, const NodeState *state)
{
    assert(state->certificate);
    DEFER(xfree) char *certificate = xasprintf("%s/cert.pem", state->certificate);
    DEFER(xfree) char *key = xasprintf("%s/key.pem", state->certificate);

    dovecotconf_set(cf, "ssl", "required");
    dovecotconf_file(cf, "ssl_cert", certificate);
    dovecotconf_file(cf, "ssl_key", key);
    dovecotconf_set(cf, "ssl_min_protocol", "TLSv1.2");
    dovecotconf_yes(cf, "disable_plaintext_auth", true);
    dovecotconf_set(cf, "login_trusted_networks", "");
    dovecotconf_yes(cf, "shutdown_clients", false);
}

/* ---- mail --------------------------------------------------------------------------- */

/* Postfix has taken the tag off; with '+' here mail of the user a+b went to a.  date.save: backups make links, which
 * changes the time that expiry would go by otherwise. */
static void mail(DovecotConf *cf, const NodeState *state)
{
    DEFER(xfree) char *folder = dovecot_place(PLACE_MAIL, state);

    dovecotconf_set(cf, "mail_uid", "vmail");
    dovecotconf_set(cf, "mail_gid", "vmail");
    dovecotconf_number(cf, "first_valid_uid", 1);
    dovecotconf_expanded(cf, "mail_home", folder, "/%Ln");
    dovecotconf_set(cf, "mail_location", "maildir:~/Maildir");
    dovecotconf_set(cf, "recipient_delimiter", "");
    dovecotconf_set(cf, "mail_always_cache_fields", "date.save");
    dovecotconf_set(cf, "mail_plugins", "quota quota_clone acl");
    dovecotconf_number(cf, "mail_max_userip_connections", 50);
}

static void folder(DovecotConf *cf, const char *label, const char *name)
{
    DEFER(xfree) char *special_use = xasprintf("\\%s", label);

    dovecotconf_section(cf, "mailbox", label);
    if (strcmp(label, name) != 0)
        dovecotconf_set(cf, "name", name);
    dovecotconf_set(cf, "special_use", special_use);
    dovecotconf_set(cf, "auto", "subscribe");
    dovecotconf_end(cf);
}

static const char *const folders_of_all[] = {"Drafts", "Sent", "Trash"};
enum { N_FOLDERS_OF_ALL = sizeof folders_of_all / sizeof *folders_of_all };

#define PUBLIC_FOLDERS "Public"
#define SHARED_FOLDERS "Shared"

static bool is_below(const char *name, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(name, folder, len) == 0 && (!name[len] || name[len] == '/');
}

static void junk_folder(DovecotConf *cf, const char *name)
{
    if (is_below(name, PUBLIC_FOLDERS) || is_below(name, SHARED_FOLDERS)) {
        fileset_refuse(cf->files,
                       error_new(ERROR_INVALID, "junk-folder '%s': %s are there", name,
                                 is_below(name, PUBLIC_FOLDERS) ? "public mailboxes" : "folders that users share"));
        return;
    }
    for (size_t i = 0; i < N_FOLDERS_OF_ALL; i++)
        if (strcmp(folders_of_all[i], name) == 0) {
            fileset_refuse(cf->files, error_new(ERROR_INVALID, "junk-folder '%s' is there for another purpose", name));
            return;
        }
    folder(cf, "Junk", name);
}

static void folders(DovecotConf *cf, const NodeState *state)
{
    dovecotconf_section(cf, "namespace", "inbox");
    dovecotconf_yes(cf, "inbox", true);
    dovecotconf_set(cf, "separator", "/");
    for (size_t i = 0; i < N_FOLDERS_OF_ALL; i++)
        folder(cf, folders_of_all[i], folders_of_all[i]);
    if (state->settings->junk)
        junk_folder(cf, state->settings->junk_folder);
    dovecotconf_end(cf);
}

/* A store of its own: in a user's it would be seen through what users share, too.  INDEXPVT holds \Seen alone, for each
 * user at his home; what is in the names of the files stays there, and counts again when it is switched back. */
static void public_mailboxes(DovecotConf *cf, const NodeState *state)
{
    DEFER(xfree) char *folder = dovecot_place(PLACE_PUBLIC, state);
    DEFER(xfree) char *location = xasprintf("maildir:%s", folder);

    dovecotconf_section(cf, "namespace", "public");
    dovecotconf_set(cf, "type", "public");
    dovecotconf_set(cf, "separator", "/");
    dovecotconf_set(cf, "prefix", PUBLIC_FOLDERS "/");
    dovecotconf_expanded(cf, "location", location, state->settings->shared_seen ? "" : ":INDEXPVT=~/public-seen");
    dovecotconf_set(cf, "list", "children");
    dovecotconf_yes(cf, "subscriptions", false);
    dovecotconf_end(cf);

    /* mail-engine writes the lists of rights beside the mail.  They are looked at again after this time, so that a session
     * that is open learns what has changed. */
    dovecotconf_section(cf, "plugin", NULL);
    dovecotconf_set(cf, "acl", "vfile::cache_secs=1");
    dovecotconf_end(cf);
}

/* What users share of their own, by SETACL: below Shared/NAME for whom the list of a folder has a line.  Whose home that is
 * says userdb, so a name that is no user's leads nowhere.  The dict says whose are to be looked at for LIST, no more:
 * what may be seen and read, the lists beside the mail decide. */
static void shared_folders(DovecotConf *cf, const NodeState *state)
{
    dovecotconf_section(cf, "namespace", "shared");
    dovecotconf_set(cf, "type", "shared");
    dovecotconf_set(cf, "separator", "/");
    dovecotconf_expanded(cf, "prefix", SHARED_FOLDERS, "/%%n/");
    dovecotconf_expanded(cf, "location", "maildir:",
                         state->settings->shared_seen ? "%%h/Maildir" : "%%h/Maildir:INDEXPVT=~/shared-seen.%%n");
    dovecotconf_set(cf, "list", "children");
    dovecotconf_yes(cf, "subscriptions", false);
    dovecotconf_end(cf);

    dovecotconf_section(cf, "plugin", NULL);
    dovecotconf_set(cf, "acl_shared_dict", "proxy::shares");
    dovecotconf_end(cf);
}

/* 'from' has a folder that 'to' may see. */
static void shared_with(DovecotConf *sql, const char *pattern, const char *table, bool to)
{
    dovecotconf_section(sql, "map", NULL);
    dovecotconf_set(sql, "pattern", pattern);
    dovecotconf_set(sql, "table", table);
    dovecotconf_set(sql, "value_field", "there");
    dovecotconf_section(sql, "fields", NULL);
    dovecotconf_set(sql, "from_user", "$from");
    if (to)
        dovecotconf_set(sql, "to_name", "$to");
    dovecotconf_end(sql);
    dovecotconf_end(sql);
}

static void shares(DovecotConf *cf, const NodeState *state, FileSet *out)
{
    DovecotConf sql = dovecotconf_in(out, DICT_SHARES, "dovecot");
    DEFER(xfree) char *database = dovecot_place(PLACE_SHARES "/shares.db", state);
    DEFER(xfree) char *dict = dovecot_place("%s/var/lib/mailnode/engine/current/" DICT_SHARES, state);
    DEFER(xfree) char *driver = xasprintf("sqlite:%s", dict);

    dovecotconf_set(&sql, "connect", database);
    shared_with(&sql, "shared/shared-boxes/user/$to/$from", "shared_user", true);
    shared_with(&sql, "shared/shared-boxes/group/$to/$from", "shared_group", true);
    shared_with(&sql, "shared/shared-boxes/anyone/$from", "shared_anyone", false);
    dovecotconf_section(cf, "dict", NULL);
    dovecotconf_set(cf, "shares", driver);
    dovecotconf_end(cf);
}

/* What does not fit is put off: the queue has it, and the user may make room.  Dovecot adds up as it saves (maildirsize,
 * which it counts anew when it is long, or full for a quarter of an hour): counting folders costs each delivery a look
 * through the INBOX.  The agent reads the files. */
static void quota(DovecotConf *cf, const NodeState *state)
{
    DEFER(xfree) char *folder = dovecot_place(PLACE_USAGE, state);
    DEFER(xfree) char *files = xasprintf("file:%s/%%Ln.usage", folder);

    dovecotconf_yes(cf, "quota_full_tempfail", true);
    dovecotconf_section(cf, "plugin", NULL);
    dovecotconf_set(cf, "quota", "maildir:User quota");
    dovecotconf_set(cf, "quota_clone_dict", files);
    dovecotconf_end(cf);
}

/* ---- protocols ---------------------------------------------------------------------- */

static void protocols(DovecotConf *cf)
{
    dovecotconf_section(cf, "protocol", "imap");
    dovecotconf_set(cf, "mail_plugins", "quota quota_clone imap_quota acl imap_acl");
    dovecotconf_end(cf);

    /* Postfix writes the address that was meant into X-Original-To; here it is NAME@u.internal already. */
    dovecotconf_section(cf, "protocol", "lmtp");
    dovecotconf_set(cf, "mail_plugins", "quota quota_clone sieve acl"); /* a user's rules file only where he may */
    dovecotconf_set(cf, "lmtp_hdr_delivery_address", "none");
    dovecotconf_end(cf);
}

static void overrides_include(DovecotConf *cf, const Overrides *overrides, FileSet *out)
{
    for (size_t i = 0; overrides && i < overrides->n[OVERRIDE_DOVECOT]; i++)
        dovecot_override(cf, &overrides->files[OVERRIDE_DOVECOT][i], out);
}

char *dovecot_place(const char *place, const NodeState *state)
{
    size_t size = strlen(place) + strlen(state->root) + 1;
    char *path = xmalloc(size);
    size_t at = strlen(state->root);

    assert(strncmp(place, "%s/", 3) == 0 && !strchr(place + 2, '%'));
    memcpy(path, state->root, at);
    memcpy(path + at, place + 2, strlen(place + 2) + 1);
    return path;
}

void render_dovecot(const NodeState *state, const Overrides *overrides, FileSet *out)
{
    DovecotConf cf = dovecotconf_in(out, "dovecot/dovecot.conf", "dovecot");

    identity(&cf, state);
    places(&cf, state);
    listen_on(&cf, state);
    tls(&cf, state);
    mail(&cf, state);
    folders(&cf, state);
    public_mailboxes(&cf, state);
    shared_folders(&cf, state);
    shares(&cf, state, out);
    quota(&cf, state);
    dovecot_sieve(&cf, state, out);
    dovecot_auth(&cf, state, out);
    protocols(&cf);
    dovecot_services(&cf, state);
    overrides_include(&cf, overrides, out);
}

#include "base/alloc.h"
#include "render/antivirus.h"
#include "render/dkim.h"
#include "render/render.h"
#include "render/rspamd_override.h"
#include "render/ucl.h"
#include "tables/places.h"

#define GROUP "_rspamd"
#define LOCAL(file) "rspamd/local.d/" file

/* One scan ends before the filter gives it up, that before the task, and that before Postfix (milter_content_timeout,
 * 300 s): each learns the cause from the one behind it.  MaxScanTime of clamd.conf is 60 s. */
enum { SCAN_SECONDS = 70, TASK_SECONDS = 90, MILTER_SECONDS = 120 };

/* A message as Rspamd gets it has our own Received on top; clamd.conf has the same room. */
enum { HEADER_BYTES = 1024 * 1024 };

/* ---- rspamd.conf ------------------------------------------------------------------- */

static void section(Ucl *ucl, const char *name, const char *stock, const char *ours, const char *override)
{
    ucl_open(ucl, name, NULL);
    ucl_include(ucl, UCL_STOCK, stock);
    ucl_include(ucl, UCL_OURS, ours);
    ucl_include(ucl, UCL_OVERRIDE, override);
    ucl_close(ucl);
}

/* Scans by itself: there is no other worker. */
static void proxy_worker(Ucl *ucl, const char *root)
{
    ucl_open(ucl, "worker", "rspamd_proxy");
    ucl_text(ucl, "bind_socket", PLACE_MILTER_SOCKET " mode=0660 owner=_rspamd group=postfix", root);
    ucl_number(ucl, "count", 2);
    ucl_yes_no(ucl, "milter", true);
    ucl_seconds(ucl, "timeout", MILTER_SECONDS);
    ucl_text(ucl, "spam_header", "X-Spam");
    ucl_yes_no(ucl, "discard_on_reject", false);
    ucl_yes_no(ucl, "quarantine_on_reject", false);
    ucl_open(ucl, "upstream", "local");
    ucl_yes_no(ucl, "default", true);
    ucl_yes_no(ucl, "self_scan", true);
    ucl_close(ucl);
    ucl_include(ucl, UCL_OVERRIDE, "$LOCAL_CONFDIR/override.d/worker-proxy.inc");
    ucl_close(ucl);
}

/* Without a password: who may open the socket may ask. */
static void controller_worker(Ucl *ucl, const char *root)
{
    ucl_open(ucl, "worker", "controller");
    ucl_text(ucl, "bind_socket", PLACE_RSPAMD_CONTROLLER " mode=0660 owner=_rspamd group=vmail", root);
    ucl_number(ucl, "count", 1);
    ucl_include(ucl, UCL_OVERRIDE, "$LOCAL_CONFDIR/override.d/worker-controller.inc");
    ucl_close(ucl);
}

static void main_file(const NodeState *state, FileSet *out)
{
    Ucl ucl = ucl_in(out, "rspamd/rspamd.conf", GROUP);

    ucl_comment(&ucl, "Rspamd of this node: Debian's rules, with what Mailnode says in local.d");
    ucl_include(&ucl, UCL_STOCK, "$CONFDIR/common.conf");
    ucl_blank(&ucl);
    section(&ucl, "options", "$CONFDIR/options.inc", "$LOCAL_CONFDIR/local.d/options.inc",
            "$LOCAL_CONFDIR/override.d/options.inc");
    section(&ucl, "logging", "$CONFDIR/logging.inc", "$LOCAL_CONFDIR/local.d/logging.inc",
            "$LOCAL_CONFDIR/override.d/logging.inc");
    if (state->filter->antivirus) {
        ucl_open(&ucl, "mailnode_antivirus", NULL);
        ucl_include(&ucl, UCL_OURS, "$LOCAL_CONFDIR/local.d/mailnode_antivirus.conf");
        ucl_close(&ucl);
    }
    ucl_open(&ucl, "mailnode_dkim", NULL);
    ucl_include(&ucl, UCL_OURS, "$LOCAL_CONFDIR/local.d/mailnode_dkim.conf");
    ucl_close(&ucl);
    proxy_worker(&ucl, state->root);
    controller_worker(&ucl, state->root);
}

/* ---- options ----------------------------------------------------------------------- */

/* All that Rspamd writes.  The variable DBDIR, from whose folder stock files include further configuration, does not
 * lead there: root reads it, and it can hold Lua. */
static void written(Ucl *ucl, const char *root)
{
    static const char *const names[][2] = {
        {"cache_file", "symbols.cache"},
        {"history_file", "history"},
        {"rrd", "rspamd.rrd"},
        {"stats_file", "stats.ucl"},
    };
    static const char *const folders[] = {"tempdir", "hs_cache_dir", "maps_cache_dir"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ucl_text(ucl, names[i][0], PLACE_RSPAMD_DATA "/%s", root, names[i][1]);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        ucl_text(ucl, folders[i], PLACE_RSPAMD_DATA, root);
    ucl_text(ucl, "control_socket", PLACE_RSPAMD_DATA "/control.sock mode=0600", root);
    ucl_null(ucl, "dynamic_conf"); /* thresholds are stated, not kept in a file of the filter */
}

/* A resolver that is away or cut off costs one message at most 3 s for each step of its questions. */
static void resolver(Ucl *ucl, const char *loopback)
{
    DEFER(xfree) char *server = xasprintf("%s:%d", loopback, PORT_DNS);

    ucl_open(ucl, "dns", NULL);
    ucl_list(ucl, "nameserver", (const char *const[]){server}, 1);
    ucl_seconds(ucl, "timeout", 1);
    ucl_number(ucl, "retransmits", 2);
    ucl_number(ucl, "sockets", 4);
    ucl_close(ucl);
}

static void options(const NodeState *state, FileSet *out)
{
    Ucl ucl = ucl_in(out, LOCAL("options.inc"), GROUP);

    written(&ucl, state->root);
    resolver(&ucl, state->loopback);
    ucl_list(&ucl, "local_addrs", NULL, 0); /* nobody is spared for where he sits */
    ucl_number(&ucl, "max_message", state->settings->message_size + HEADER_BYTES);
    ucl_seconds(&ucl, "task_timeout", TASK_SECONDS);
    ucl_yes_no(&ucl, "soft_reject_on_timeout", true);
}

static void logging(FileSet *out)
{
    Ucl ucl = ucl_in(out, LOCAL("logging.inc"), GROUP);

    ucl_text(&ucl, "type", "console");
    ucl_text(&ucl, "level", "info");
    ucl_yes_no(&ucl, "color", false);
}

/* ---- verdicts ---------------------------------------------------------------------- */

/* Rspamd adds scores as binary fractions: 2.70 and 3.30 made less than 6.00.  Sums of hundredths are safe from that by less
 * than a hundredth. */
static void threshold(Ucl *ucl, const char *name, uint32_t hundredths)
{
    ucl_ten_thousandths(ucl, name, 100 * (uint64_t)hundredths - 1);
}

static void actions(const Mail__Filter *filter, FileSet *out)
{
    Ucl ucl = ucl_in(out, LOCAL("actions.conf"), GROUP);

    threshold(&ucl, "add_header", filter->spam_flag);
    threshold(&ucl, "reject", filter->deny);
    ucl_null(&ucl, "greylist");
    ucl_null(&ucl, "rewrite_subject");
    ucl_open(&ucl, "discard", NULL); /* unknown otherwise: an infected message would be delivered */
    ucl_list(&ucl, "flags", (const char *const[]){"no_threshold"}, 1);
    ucl_close(&ucl);
}

static void headers(FileSet *out)
{
    Ucl ucl = ucl_in(out, LOCAL("milter_headers.conf"), GROUP);

    ucl_list(&ucl, "use", (const char *const[]){"x-spamd-result"}, 1);
    ucl_yes_no(&ucl, "skip_local", false);
    ucl_yes_no(&ucl, "skip_authenticated", false);
    ucl_yes_no(&ucl, "remove_upstream_spam_flag", true);
}

/* The plugin's own section.  Rspamd loads plugins.d/NAME.lua for it. */
static void antivirus(const NodeState *state, FileSet *out)
{
    const Mail__Filter *filter = state->filter;
    Ucl ucl = ucl_in(out, LOCAL("mailnode_antivirus.conf"), GROUP);

    ucl_text(&ucl, "socket", PLACE_CLAMD_SOCKET, state->root);
    ucl_number(&ucl, "timeout", SCAN_SECONDS);
    ucl_text(&ucl, "infected", "%s", filter->infected == MAIL__INFECTED__REJECT ? "reject" : "discard");
    ucl_text(&ucl, "away", "%s", filter->scanner_away == MAIL__SCANNER_AWAY__PASS ? "pass" : "soft reject");
    buf_append_text(fileset_add(out, "rspamd/plugins.d/mailnode_antivirus.lua", GROUP), antivirus_lua);
}

/* Which domains sign is data: the agent's files in the folder. */
static void signing(const NodeState *state, FileSet *out)
{
    Ucl ucl = ucl_in(out, LOCAL("mailnode_dkim.conf"), GROUP);

    ucl_text(&ucl, "folder", PLACE_DKIM, state->root);
    buf_append_text(fileset_add(out, "rspamd/plugins.d/mailnode_dkim.lua", GROUP), dkim_lua);
}

/* ---- modules ----------------------------------------------------------------------- */

/* What speaks to servers of others about our mail, what is a setting of ours and off, and what signs otherwise than we do. */
static void modules_off(FileSet *out)
{
    static const char *const names[] = {
        LOCAL("arc.conf"),           LOCAL("asn.conf"),
        LOCAL("dkim_signing.conf"),  LOCAL("external_services.conf"),
        LOCAL("fuzzy_check.conf"),   LOCAL("greylist.conf"),
        LOCAL("mx_check.conf"),      LOCAL("neural.conf"),
        LOCAL("rspamd_update.conf"), LOCAL("url_redirector.conf"),
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        Ucl ucl = ucl_in(out, names[i], GROUP);
        ucl_yes_no(&ucl, "enabled", false);
    }
}

/* X-Spam is our own word: what another server said there is removed, and counts as little. */
static void symbols(FileSet *out)
{
    Ucl ucl = ucl_in(out, LOCAL("groups.conf"), GROUP);

    ucl_open(&ucl, "symbols", NULL);
    ucl_open(&ucl, "SPAM_FLAG", NULL);
    ucl_number(&ucl, "weight", 0);
    ucl_close(&ucl);
    ucl_close(&ucl);
}

static void redis(const char *root, FileSet *out)
{
    Ucl ucl = ucl_in(out, LOCAL("redis.conf"), GROUP);

    ucl_text(&ucl, "servers", PLACE_REDIS_SOCKET, root);
}

void render_rspamd(const NodeState *state, const Overrides *overrides, FileSet *out)
{
    main_file(state, out);
    options(state, out);
    logging(out);
    actions(state->filter, out);
    headers(out);
    if (state->filter->antivirus)
        antivirus(state, out);
    signing(state, out);
    modules_off(out);
    symbols(out);
    redis(state->root, out);
    if (overrides)
        rspamd_override(overrides, out);
}

#include "base/alloc.h"
#include "render/maincf.h"
#include "render/mastercf.h"
#include "render/postfix_override.h"
#include "render/render.h"
#include "tables/places.h"
#include "tables/queries.h"
#include "tables/winner.h"

#include <stdlib.h>
#include <string.h>

#define GROUP "postfix"
#define MAP "sqlite:" PLACE_TABLES "/maps/%s.cf"

enum { PORT_SMTP = 25, PORT_SUBMISSION = 587, PORT_SUBMISSIONS = 465 };

/* ---- main.cf, by subject ----------------------------------------------------------- */

/* The folders of Debian's package stay; all that is written lies below the root. */
static void places(const NodeState *state, MainCf *cf)
{
    maincf_section(cf, "Written by mail-engine; what is changed here is put right again.");
    maincf_plain(cf, "compatibility_level", "3.6");
    maincf_plain(cf, "command_directory", "/usr/sbin");
    maincf_plain(cf, "daemon_directory", "/usr/lib/postfix/sbin");
    maincf_plain(cf, "shlib_directory", "/usr/lib/postfix");
    maincf_plain(cf, "meta_directory", "/etc/postfix");
    maincf_plain(cf, "mail_owner", "postfix");
    maincf_plain(cf, "setgid_group", "postdrop");
    maincf_set(cf, "queue_directory", PLACE_QUEUE, state->root);
    maincf_set(cf, "data_directory", PLACE_POSTFIX_DATA, state->root);
    /* Postfix writes its log by its service 'postlog': there need be no syslog. */
    maincf_set(cf, "maillog_file", PLACE_LOG "/postfix.log", state->root);
    maincf_set(cf, "maillog_file_prefixes", PLACE_LOG, state->root);
    /* Short ids are used again: the log would mix two messages. */
    maincf_plain(cf, "enable_long_queue_ids", "yes");
    /* An smtpd that finds no Dovecot to ask about logins ends, and master leaves the port unanswered for so long: 60 s by
     * default, long after Dovecot is back. */
    maincf_plain(cf, "service_throttle_time", "2s");
}

static void names(const NodeState *state, MainCf *cf)
{
    maincf_section(cf, "Names");
    maincf_set(cf, "myhostname", "%s", state->instance->hostname);
    maincf_set(cf, "smtpd_banner", "%s ESMTP", state->instance->hostname);
    maincf_plain(cf, "append_dot_mydomain", "no");
    maincf_plain(cf, "biff", "no");
    /* Nobody reads what Postfix would tell its postmaster about itself: the log has it. */
    maincf_plain(cf, "notify_classes", "");
}

static bool is_ipv6(const char *address)
{
    return strchr(address, ':') != NULL;
}

/* Mail leaves from an address that we listen on.  From 127.0.0.1 it would not come far; other addresses of 127.0.0.0/8 are
 * nodes of a test, which reach each other. */
static const char *source_address(const Mail__Instance *instance, bool ipv6)
{
    const char *test_address = NULL;

    for (size_t i = 0; i < instance->n_listen; i++) {
        const char *address = instance->listen[i];
        if (is_ipv6(address) != ipv6 || strcmp(address, "127.0.0.1") == 0 || strcmp(address, "::1") == 0)
            continue;
        if (strncmp(address, "127.", 4) != 0)
            return address;
        if (!test_address)
            test_address = address;
    }
    return test_address;
}

static bool ipv4_only(const Mail__Instance *instance)
{
    for (size_t i = 0; i < instance->n_listen; i++)
        if (is_ipv6(instance->listen[i]))
            return false;
    return instance->n_listen > 0;
}

/* master.cf says which addresses are listened on.  An address in inet_interfaces that no interface has, as 127.0.1.1, ends
 * every program of Postfix without a word: there it is always 'all', and ours are known as those of a proxy, so that mail
 * to one of them is a loop and not a connection. */
static void addresses(const NodeState *state, MainCf *cf, FileSet *out)
{
    const char *protocols = ipv4_only(state->instance) ? "ipv4" : "all";
    const char *ipv4 = source_address(state->instance, false);
    const char *ipv6 = source_address(state->instance, true);

    maincf_section(cf, "Addresses");
    maincf_plain(cf, "inet_interfaces", "all");
    maincf_plain(cf, "inet_protocols", protocols);
    fileset_restart_on(out, "postfix", "inet_protocols", protocols);
    maincf_list(cf, "proxy_interfaces");
    for (size_t i = 0; i < state->instance->n_listen; i++)
        maincf_item(cf, "", "%s", state->instance->listen[i]);
    if (ipv4)
        maincf_set(cf, "smtp_bind_address", "%s", ipv4);
    if (ipv6)
        maincf_set(cf, "smtp_bind_address6", "%s", ipv6);
}

/* One limit for all daemons.  Dovecot counts the quotas: Postfix shall not. */
static void message_size(const NodeState *state, MainCf *cf)
{
    maincf_section(cf, "Sizes and times");
    maincf_number(cf, "message_size_limit", state->settings->message_size, "");
    maincf_plain(cf, "mailbox_size_limit", "0");
}

static void queue_times(const NodeState *state, MainCf *cf)
{
    maincf_number(cf, "maximal_queue_lifetime", state->settings->queue_lifetime, "s");
    maincf_number(cf, "bounce_queue_lifetime", state->settings->queue_lifetime, "s");
    maincf_number(cf, "delay_warning_time", state->settings->delay_warning, "s");
    maincf_plain(cf, "maximal_backoff_time", "3600s"); /* F-128: the last try is at most 70 minutes late */
}

/* ---- whose mail it is -------------------------------------------------------------- */

static void map(const NodeState *state, MainCf *cf, const char *words, const char *name)
{
    maincf_item(cf, words, MAP, state->root, name);
}

/* The key of a group or forward that went between two lookups leads nowhere: that is no reason to bounce.  smtpd accepts
 * <postmaster> without a domain unasked (RFC 5321 4.5.1), and completes it with our host name: where that is no domain of
 * ours, the sender is told, and we do not look for ourselves in the DNS. */
static void transports(const NodeState *state, MainCf *cf)
{
    maincf_list(cf, "transport_maps");
    maincf_words(cf, "inline:{ { " EXPAND_DOMAIN " = retry:4.3.0 the address has just changed } }");
    maincf_enclosed(cf, "inline:{ { ", state->instance->hostname, " = error:5.1.1 no such address } }");
    map(state, cf, "", "own");
    map(state, cf, "", "transport");
    maincf_list(cf, "sender_dependent_default_transport_maps");
    map(state, cf, "", "sender_transport");
    map(state, cf, "", "default_rule");
}

/* No domain is Postfix's own.  Addresses of ours come to NAME@u.internal, a mailbox, or to addresses elsewhere. */
static void classes(const NodeState *state, MainCf *cf)
{
    maincf_section(cf, "Whose mail it is: mail.db says, live");
    maincf_plain(cf, "mydestination", "");
    maincf_plain(cf, "alias_maps", "");
    maincf_plain(cf, "alias_database", "");
    maincf_plain(cf, "local_recipient_maps", "");
    maincf_plain(cf, "local_transport", "error:5.1.1 no such address"); /* mail to one of our addresses by its number */
    maincf_plain(cf, "relay_domains", "");
    maincf_list(cf, "virtual_alias_domains");
    map(state, cf, "", "alias_domains");
    maincf_list(cf, "virtual_alias_maps");
    map(state, cf, "", "alias");
    map(state, cf, "", "expand");
    map(state, cf, "", "catchall");
    maincf_plain(cf, "virtual_alias_expansion_limit", "200000");
    maincf_list(cf, "virtual_mailbox_domains");
    maincf_words(cf, MAILBOX_DOMAIN);
    maincf_words(cf, EXPAND_DOMAIN);
    maincf_plain(cf, "virtual_mailbox_maps", "");
    maincf_set(cf, "virtual_transport", "lmtp:unix:" PLACE_LMTP_SOCKET, state->root);
    transports(state, cf);
}

/* Found one by one, each by a wrong result without it. */
static void addresses_as_written(MainCf *cf)
{
    maincf_plain(cf, "recipient_delimiter", "+");
    maincf_plain(cf, "propagate_unmatched_extensions", ""); /* else forwards become ext+tag@ */
    maincf_plain(cf, "enable_original_recipient", "no");    /* else three addresses of one mailbox give three copies */
    maincf_plain(cf, "duplicate_filter_limit", "0");        /* else who is met as the 1,001st may get two copies */
    maincf_plain(cf, "lmtp_destination_recipient_limit", "1");
    maincf_plain(cf, "parent_domain_matches_subdomains", ""); /* else every subdomain is relayed for */
    maincf_plain(cf, "allow_min_user", "yes");                /* nothing is executed with an address in it */
    maincf_plain(cf, "allow_percent_hack", "no");
    maincf_plain(cf, "swap_bangpath", "no");
    maincf_plain(cf, "smtputf8_enable", "no"); /* Dovecot's LMTP has no SMTPUTF8: such mail would bounce behind us */
}

/* ---- who may send what to whom ----------------------------------------------------- */

/* Answers of the map 'known' that a text would not do for: 'over_quota' is what the settings say, now for mail that comes,
 * while what was accepted before waits; 'internal_...' tells a stranger that the address is internal, and others what
 * they would be told of any. */
static void restriction_classes(const NodeState *state, MainCf *cf)
{
    const struct {
        const char *name, *reply;
    } closed[] = {{"over_quota", state->settings->over_quota == MAIL__SETTINGS__OVER_QUOTA__REJECT
                                     ? "552 5.2.2 mailbox is full"
                                     : "452 4.2.2 mailbox is full, try again"},
                  {"gone", VERDICT_GONE},
                  {"closed", VERDICT_CLOSED},
                  {"nobody", VERDICT_NOBODY}};
    enum { N_CLOSED = sizeof closed / sizeof *closed };
    char *internal[N_CLOSED];

    maincf_list(cf, "smtpd_restriction_classes");
    maincf_words(cf, "internal_only");
    for (size_t i = 0; i < N_CLOSED; i++) {
        internal[i] = xasprintf("internal_%s", closed[i].name);
        maincf_words(cf, closed[i].name);
        maincf_words(cf, internal[i]);
    }
    maincf_list(cf, "internal_only");
    maincf_words(cf, "permit_mynetworks");
    maincf_words(cf, "permit_sasl_authenticated");
    maincf_words(cf, "check_recipient_access static:{550 5.7.1 internal address}");
    for (size_t i = 0; i < N_CLOSED; i++) {
        DEFER(xfree) char *reply = xasprintf("check_recipient_access static:{%s}", closed[i].reply);
        DEFER(xfree) char *login = xasprintf("check_sasl_access static:%s", closed[i].name);
        maincf_list(cf, closed[i].name);
        maincf_words(cf, reply);
        maincf_list(cf, internal[i]);
        maincf_words(cf, login);
        map(state, cf, "check_client_access ", "strangers");
        maincf_words(cf, closed[i].name);
        free(internal[i]);
    }
}

/* smtpd keeps the class of an address for as long as it lives: only maps decide, never the class. */
static void recipients(const NodeState *state, MainCf *cf)
{
    maincf_section(cf, "Who may send to whom");
    /* Asked with whole addresses, live; an access map would be asked with their front parts, too, and of IPv6 these are
     * other addresses. */
    maincf_list(cf, "mynetworks");
    map(state, cf, "", "clients");
    maincf_plain(cf, "smtpd_delay_reject", "yes");
    maincf_plain(cf, "smtpd_reject_unlisted_recipient", "no");
    maincf_list(cf, "smtpd_relay_restrictions");
    map(state, cf, "check_recipient_access ", "gate");
    maincf_words(cf, "permit_mynetworks");
    maincf_words(cf, "permit_sasl_authenticated");
    map(state, cf, "check_recipient_access ", "ours");
    maincf_words(cf, "check_recipient_access static:{554 5.7.1 relay access denied}");
    maincf_words(cf, "reject");
    maincf_list(cf, "smtpd_recipient_restrictions");
    map(state, cf, "check_recipient_access ", "known");
    map(state, cf, "check_recipient_access ", "rest");
    restriction_classes(state, cf);
}

/* Used by the services submission and submissions alone.  What a login may do is data: the map 'login' answers with a
 * restriction or a refusal, at each recipient. */
static void submission(const NodeState *state, MainCf *cf)
{
    maincf_section(cf, "Logins: only where master.cf turns them on");
    maincf_plain(cf, "smtpd_sasl_auth_enable", "no");
    maincf_plain(cf, "smtpd_sasl_type", "dovecot");
    maincf_set(cf, "smtpd_sasl_path", PLACE_AUTH_SOCKET, state->root);
    maincf_plain(cf, "smtpd_sasl_security_options", "noanonymous");
    maincf_plain(cf, "smtpd_sasl_mechanism_filter", "plain, login");
    maincf_plain(cf, "smtpd_tls_auth_only", "yes");
    maincf_list(cf, "smtpd_sender_login_maps");
    map(state, cf, "", "senders");
    maincf_list(cf, "mua_client_restrictions");
    maincf_words(cf, "permit_sasl_authenticated");
    maincf_words(cf, "check_client_access static:{530 5.7.0 authentication required}");
    maincf_words(cf, "reject");
    maincf_list(cf, "mua_sender_restrictions");
    map(state, cf, "check_sasl_access ", "login");
    maincf_list(cf, "mua_relay_restrictions");
    map(state, cf, "check_recipient_access ", "gate");
    maincf_words(cf, "permit_sasl_authenticated");
    maincf_words(cf, "reject");
}

/* ---- the rest ---------------------------------------------------------------------- */

static void tls(const NodeState *state, MainCf *cf)
{
    maincf_section(cf, "TLS");
    maincf_set(cf, "smtpd_tls_chain_files", "%s/chain.pem", state->certificate);
    maincf_plain(cf, "smtpd_tls_security_level", "may");
    maincf_plain(cf, "smtpd_tls_protocols", ">=TLSv1.2");
    maincf_plain(cf, "smtpd_tls_mandatory_protocols", ">=TLSv1.2");
    maincf_plain(cf, "smtpd_tls_loglevel", "1");
    maincf_plain(cf, "smtpd_tls_received_header", "yes");
    maincf_plain(cf, "smtp_tls_security_level", "may");
    maincf_plain(cf, "smtp_tls_mandatory_protocols", ">=TLSv1.2");
    maincf_plain(cf, "smtp_tls_loglevel", "1");
    maincf_plain(cf, "smtp_tls_CApath", "/etc/ssl/certs"); /* for relay rules that verify */
}

/* Of the services rr-LEVEL alone. */
static void relay_logins(const NodeState *state, MainCf *cf)
{
    maincf_section(cf, "Relay rules: the login belongs to the destination, and only rr-LEVEL of master.cf look one up");
    maincf_plain(cf, "smtp_sasl_auth_enable", "no");
    maincf_plain(cf, "smtp_sender_dependent_authentication", "no");
    maincf_plain(cf, "smtp_sasl_security_options", "noanonymous");
    maincf_list(cf, "relay_login_maps");
    map(state, cf, "", "relay_login");
}

/* Nothing passes unfiltered: while the filter is away mail is put off. */
static void filter(const NodeState *state, MainCf *cf)
{
    maincf_section(cf, "The filter");
    maincf_list(cf, "smtpd_milters");
    maincf_item(cf, "", "unix:" PLACE_MILTER_SOCKET, state->root);
    maincf_plain(cf, "milter_default_action", "tempfail");
}

/* Lines are not broken and 8-bit text is not recoded on the way out: either would break the signature.  RFC 6376 5.3 asks
 * for it to be done before; servers that take neither are gone. */
static void as_signed(MainCf *cf)
{
    maincf_section(cf, "What was signed leaves as it is");
    maincf_plain(cf, "smtp_line_length_limit", "0");
    maincf_plain(cf, "disable_mime_output_conversion", "yes");
}

/* The first three are off by default in this version. */
static void strict(MainCf *cf)
{
    maincf_section(cf, "What clients may not do");
    maincf_plain(cf, "smtpd_forbid_bare_newline", "normalize");
    maincf_plain(cf, "smtpd_forbid_bare_newline_exclusions", "");
    maincf_plain(cf, "smtpd_forbid_unauth_pipelining", "yes");
    maincf_plain(cf, "smtpd_forbidden_commands", "CONNECT, GET, POST, regexp:{{/^[^A-Z]/ Bogus}}");
    maincf_plain(cf, "smtpd_helo_required", "yes");
    maincf_plain(cf, "disable_vrfy_command", "yes");
    maincf_plain(cf, "fast_flush_domains", "");
    maincf_plain(cf, "smtpd_etrn_restrictions", "reject");
    maincf_plain(cf, "smtpd_discard_ehlo_keywords", "etrn, silent-discard");
}

static void main_cf(const NodeState *state, const Overrides *overrides, FileSet *out)
{
    MainCf *cf = maincf_new(out, "postfix/main.cf", GROUP);

    places(state, cf);
    names(state, cf);
    addresses(state, cf, out);
    message_size(state, cf);
    queue_times(state, cf);
    classes(state, cf);
    addresses_as_written(cf);
    recipients(state, cf);
    submission(state, cf);
    tls(state, cf);
    relay_logins(state, cf);
    filter(state, cf);
    as_signed(cf);
    strict(cf);
    postfix_override(overrides, cf, out);
    maincf_finish(&cf);
}

/* ---- master.cf --------------------------------------------------------------------- */

static void submission_options(MasterCf *cf, const char *name)
{
    mastercf_option(cf, "syslog_name", name);
    mastercf_option(cf, "smtpd_sasl_auth_enable", "yes");
    mastercf_option(cf, "smtpd_client_restrictions", "$mua_client_restrictions");
    mastercf_option(cf, "smtpd_sender_restrictions", "$mua_sender_restrictions");
    mastercf_option(cf, "smtpd_relay_restrictions", "$mua_relay_restrictions");
    mastercf_option(cf, "milter_macro_daemon_name", "ORIGINATING"); /* the filter signs what says so */
}

static void listeners(MasterCf *cf, const char *address)
{
    mastercf_listener(cf, address, PORT_SMTP, "smtpd");
    mastercf_listener(cf, address, PORT_SUBMISSION, "smtpd");
    mastercf_option(cf, "smtpd_tls_security_level", "encrypt");
    submission_options(cf, "postfix/submission");
    mastercf_listener(cf, address, PORT_SUBMISSIONS, "smtpd");
    mastercf_option(cf, "smtpd_tls_wrappermode", "yes");
    submission_options(cf, "postfix/submissions");
}

/* Automatic replies and what Sieve sends on: filtered when it came, and not to be signed. */
static void reinject(const NodeState *state, MasterCf *cf)
{
    mastercf_listener(cf, state->loopback, PORT_REINJECT, "smtpd");
    mastercf_option(cf, "syslog_name", "postfix/reinject");
    mastercf_option(cf, "mynetworks", "127.0.0.0/8");
    mastercf_option(cf, "smtpd_client_restrictions", "permit_mynetworks, reject");
    mastercf_option(cf, "smtpd_tls_security_level", "none");
    mastercf_option(cf, "smtpd_milters", "");
}

static void internal_services(MasterCf *cf)
{
    static const struct {
        const char *name;
        MasterCfAccess access;
        const char *wakeup, *limit, *command;
    } services[] = {
        {"pickup", MASTERCF_PUBLIC, "60", "1", "pickup"},
        {"cleanup", MASTERCF_PUBLIC, "-", "0", "cleanup"},
        {"qmgr", MASTERCF_PUBLIC, "300", "1", "qmgr"},
        {"tlsmgr", MASTERCF_PRIVATE, "1000?", "1", "tlsmgr"},
        {"rewrite", MASTERCF_PRIVATE, "-", "-", "trivial-rewrite"},
        {"bounce", MASTERCF_PRIVATE, "-", "0", "bounce"},
        {"defer", MASTERCF_PRIVATE, "-", "0", "bounce"},
        {"trace", MASTERCF_PRIVATE, "-", "0", "bounce"},
        {"verify", MASTERCF_PRIVATE, "-", "1", "verify"},
        {"flush", MASTERCF_PUBLIC, "1000?", "0", "flush"},
        {"proxymap", MASTERCF_PRIVATE, "-", "-", "proxymap"},
        {"proxywrite", MASTERCF_PRIVATE, "-", "1", "proxymap"},
        {"smtp", MASTERCF_PRIVATE, "-", "-", "smtp"},
        {"relay", MASTERCF_PRIVATE, "-", "-", "smtp"},
        {"showq", MASTERCF_PUBLIC, "-", "-", "showq"},
        {"error", MASTERCF_PRIVATE, "-", "-", "error"},
        {"retry", MASTERCF_PRIVATE, "-", "-", "error"},
        {"discard", MASTERCF_PRIVATE, "-", "-", "discard"},
        /* O: the recipient as it was before expansion, with its tag, in a header */
        {"lmtp", MASTERCF_PRIVATE, "-", "-", "lmtp flags=O"},
        {"anvil", MASTERCF_PRIVATE, "-", "1", "anvil"},
        {"scache", MASTERCF_PRIVATE, "-", "1", "scache"},
    };

    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        mastercf_service(cf, services[i].name, "unix", services[i].access, services[i].wakeup, services[i].limit,
                         services[i].command);
    mastercf_service(cf, "postlog", "unix-dgram", MASTERCF_PUBLIC, "-", "1", "postlogd");
}

/* What a relay rule chooses from: a change of a rule is a row, never a service. */
static void relay_services(MasterCf *cf)
{
    static const struct {
        const char *name, *level;
        bool wrapped;
    } levels[] = {
        {"may", "may", false},           {"encrypt", "encrypt", false},
        {"verify", "verify", false},     {"wrap-encrypt", "encrypt", true},
        {"wrap-verify", "verify", true},
    };

    for (size_t i = 0; i < 2 * (sizeof levels / sizeof *levels); i++) {
        bool login = i % 2;
        DEFER(xfree) char *name = xasprintf("%s-%s", login ? "rr" : "rn", levels[i / 2].name);
        mastercf_service(cf, name, "unix", MASTERCF_PRIVATE, "-", "-", "smtp");
        mastercf_option(cf, "smtp_tls_security_level", levels[i / 2].level);
        if (levels[i / 2].wrapped)
            mastercf_option(cf, "smtp_tls_wrappermode", "yes");
        if (!login)
            continue;
        mastercf_option(cf, "smtp_sasl_auth_enable", "yes");
        mastercf_option(cf, "smtp_sasl_password_maps", "$relay_login_maps");
    }
}

static void master_cf(const NodeState *state, FileSet *out)
{
    DEFER(mastercf_free) MasterCf *cf = mastercf_new(out, "postfix/master.cf", GROUP);

    if (!state->instance->n_listen)
        listeners(cf, NULL);
    for (size_t i = 0; i < state->instance->n_listen; i++)
        listeners(cf, state->instance->listen[i]);
    reinject(state, cf);
    internal_services(cf);
    relay_services(cf);
}

void render_postfix(const NodeState *state, const Overrides *overrides, FileSet *out)
{
    main_cf(state, overrides, out);
    master_cf(state, out);
}

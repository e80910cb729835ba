#include "render/postfix_override.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* '*' at the end: all that begin so.  instead: how to say it to mailnode. */
static const struct {
    const char *name;
    const char *instead;
} ours[] = {
    /* where it lives, and as whom */
    {"alternate_config_directories", NULL},
    {"command_directory", NULL},
    {"compatibility_level", NULL},
    {"config_directory", NULL},
    {"daemon_directory", NULL},
    {"data_directory", NULL},
    {"default_privs", NULL},
    {"import_environment", NULL},
    {"mail_owner", NULL},
    {"maillog_file", NULL},
    {"maillog_file_prefixes", NULL},
    {"master_service_disable", NULL},
    {"meta_directory", NULL},
    {"multi_instance_*", NULL},
    {"queue_directory", NULL},
    {"setgid_group", NULL},
    {"shlib_directory", NULL},
    /* what is stated of the instance */
    {"bounce_queue_lifetime", "mailctl settings set queue-lifetime=..."},
    {"delay_warning_time", "mailctl settings set delay-warning=..."},
    {"inet_interfaces", "mailctl instance set NAME listen=..."},
    {"inet_protocols", "mailctl instance set NAME listen=..."},
    {"maximal_queue_lifetime", "mailctl settings set queue-lifetime=..."},
    {"message_size_limit", "mailctl settings set message-size=..."},
    {"mailbox_size_limit", NULL},
    {"myhostname", "mailctl instance set NAME hostname=..."},
    {"proxy_interfaces", "mailctl instance set NAME listen=..."},
    /* who may send what to whom: the tables say */
    {"allow_min_user", NULL},
    {"allow_percent_hack", NULL},
    {"duplicate_filter_limit", NULL},
    {"enable_original_recipient", NULL},
    {"internal_only", NULL},
    {"local_transport", NULL},
    {"mua_*", NULL},
    {"mydestination", "mailctl domain add DOMAIN"},
    {"mynetworks", NULL},
    {"mynetworks_style", NULL},
    {"over_quota", "mailctl settings set over-quota=..."},
    {"parent_domain_matches_subdomains", NULL},
    {"propagate_unmatched_extensions", NULL},
    {"recipient_delimiter", NULL},
    {"relay_domains", "mailctl domain add DOMAIN"},
    {"smtpd_delay_reject", NULL},
    {"smtpd_recipient_restrictions", NULL},
    {"smtpd_reject_unlisted_recipient", NULL},
    {"smtpd_relay_before_recipient_restrictions", NULL},
    {"smtpd_relay_restrictions", NULL},
    {"smtpd_restriction_classes", NULL},
    {"smtpd_sender_login_maps", "mailctl policy set sender-login-match=..."},
    {"swap_bangpath", NULL},
    {"transport_maps", NULL},
    {"virtual_alias_domains", "mailctl domain add DOMAIN"},
    {"virtual_alias_maps", "mailctl address add ADDRESS to=..."},
    {"virtual_mailbox_domains", NULL},
    {"virtual_mailbox_maps", NULL},
    {"virtual_transport", NULL},
    {"lmtp_destination_recipient_limit", NULL},
    {"enable_long_queue_ids", NULL},
    /* logins, the filter, and what must not be smuggled */
    {"milter_default_action", NULL},
    {"smtpd_forbid_bare_newline*", NULL},
    {"smtpd_forbid_unauth_pipelining", NULL},
    {"smtpd_milter_maps", NULL},
    {"smtpd_milters", NULL},
    {"relay_login_maps", NULL},
    {"sender_dependent_default_transport_maps", "mailctl relay add sender SUBJECT host=..."},
    {"sender_dependent_relayhost_maps", "mailctl relay add sender SUBJECT host=..."},
    {"default_transport", "mailctl relay add default host=..."},
    {"relayhost", "mailctl relay add default host=..."},
    {"smtp_sasl_*", "mailctl relay set ... user=NAME password=@FILE"},
    {"smtp_sender_dependent_authentication", NULL},
    {"smtp_tls_policy_maps", "mailctl relay set ... tls=..."},
    {"smtpd_sasl_*", NULL},
    {"smtpd_tls_auth_only", NULL},
    {"smtpd_tls_cert_file", "mailctl tls set follow-certificate=... follow-key=..."},
    {"smtpd_tls_chain_files", "mailctl tls set follow-certificate=... follow-key=..."},
    {"smtpd_tls_dcert_file", NULL},
    {"smtpd_tls_dkey_file", NULL},
    {"smtpd_tls_eccert_file", NULL},
    {"smtpd_tls_eckey_file", NULL},
    {"smtpd_tls_key_file", "mailctl tls set follow-certificate=... follow-key=..."},
    {"smtpd_tls_wrappermode", NULL},
};

static bool name_matches(const char *pattern, const char *name)
{
    size_t len = strlen(pattern);

    if (pattern[len - 1] == '*')
        return strncmp(pattern, name, len - 1) == 0;
    return strcmp(pattern, name) == 0;
}

/* ---- refused ----------------------------------------------------------------------- */

static bool is_ours(const char *name, const char *origin, FileSet *out)
{
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (!name_matches(ours[i].name, name))
            continue;
        Error *err = error_new(ERROR_INVALID, "%s: %s belongs to mailnode", origin, name);
        if (ours[i].instead)
            err = error_hint(err, "%s", ours[i].instead);
        fileset_refuse(out, err);
        return true;
    }
    return false;
}

/* ---- logical lines ----------------------------------------------------------------- */

/* From postconf(5): a line that begins with a blank continues the one before; comments and empty lines may stand between. */

typedef struct Lines {
    const char *at;
    size_t number; /* of the line at 'at', from 1 */
} Lines;

typedef struct Logical {
    char *text; /* as written, with the comments in it: its lines are those of the file */
    Buf said;   /* without them */
    size_t number;
} Logical;

static void logical_done(Logical *line)
{
    free(line->text);
    buf_done(&line->said);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static size_t line_len(const char *line)
{
    return strcspn(line, "\n");
}

/* Empty, or a comment. */
static bool says_nothing(const char *line)
{
    size_t len = line_len(line), blanks = 0;

    while (blanks < len && is_blank(line[blanks]))
        blanks++;
    return blanks == len || line[blanks] == '#';
}

static void lines_next(Lines *lines)
{
    lines->at += line_len(lines->at);
    if (*lines->at == '\n')
        lines->at++;
    lines->number++;
}

/* False: no more. */
static bool lines_read(Lines *lines, Logical *out)
{
    while (*lines->at && says_nothing(lines->at))
        lines_next(lines);
    if (!*lines->at)
        return false;

    const char *from = lines->at, *to = from;
    out->number = lines->number;
    do {
        if (!says_nothing(lines->at)) {
            buf_append_text(&out->said, out->said.size ? "\n" : "");
            buf_append(&out->said, lines->at, line_len(lines->at));
            to = lines->at + line_len(lines->at);
        }
        lines_next(lines);
    } while (*lines->at && (is_blank(*lines->at) || says_nothing(lines->at)));
    out->text = xstrndup(from, (size_t)(to - from));
    return true;
}

/* What stands before '='; NULL: no entry. */
static char *name_of(const char *said)
{
    size_t len = strcspn(said, " \t\r\v\f\n=");
    size_t gap = strspn(said + len, " \t\r\v\f\n");

    return len && said[len + gap] == '=' ? xstrndup(said, len) : NULL;
}

static void file_merge(const OverrideFile *file, MainCf *cf, FileSet *out)
{
    Lines lines = {file->text, 1};

    for (;;) {
        DEFER(logical_done) Logical line = {0};
        if (!lines_read(&lines, &line))
            return;
        DEFER(xfree) char *origin = xasprintf("%s, line %zu", file->name, line.number);
        DEFER(xfree) char *name = name_of(buf_text(&line.said));
        if (is_blank(line.text[0])) { /* it would continue a line of ours; the words are Postfix's */
            fileset_refuse(out, error_new(ERROR_INVALID, "%s: logical line must not start with whitespace", origin));
            return;
        }
        if (name && is_ours(name, origin, out))
            return;
        maincf_foreign(cf, name, line.text, origin);
    }
}

void postfix_override(const Overrides *overrides, MainCf *cf, FileSet *out)
{
    for (size_t i = 0; overrides && i < overrides->n[OVERRIDE_POSTFIX]; i++)
        file_merge(&overrides->files[OVERRIDE_POSTFIX][i], cf, out);
}

#include "render/rspamd_override.h"

#include "base/alloc.h"

#include <stdbool.h>
#include <string.h>

/* ---- files ------------------------------------------------------------------------- */

/* Of these there is nothing to override: each is a setting. */
static const struct {
    const char *file, *setting;
} kept[] = {
    {"actions.conf", "mailctl filter set spam-flag=... deny=..."},
    {"antivirus.conf", "mailctl filter set antivirus=... infected=... scanner-away=..."},
    {"dkim_signing.conf", "mailctl dkim enable|disable DOMAIN"},
    {"force_actions.conf", NULL},
    {"greylist.conf", NULL},
    {"milter_headers.conf", NULL},
    {"redis.conf", NULL},
    {"rmilter_headers.conf", NULL},
    {"worker-fuzzy.inc", NULL},
    {"worker-normal.inc", NULL},
};

/* What Debian's configuration (Rspamd 3.4) reads from override.d, and ours. */
static const char *const read_by_rspamd[] = {
    "antivirus_group.conf",
    "arc.conf",
    "asn.conf",
    "aws_s3.conf",
    "bimi.conf",
    "chartable.conf",
    "classifier-bayes.conf",
    "clickhouse.conf",
    "composites.conf",
    "content_group.conf",
    "dcc.conf",
    "dkim.conf",
    "dmarc.conf",
    "elastic.conf",
    "emails.conf",
    "excessb64_group.conf",
    "excessqp_group.conf",
    "external_relay.conf",
    "external_services.conf",
    "external_services_group.conf",
    "forged_recipients.conf",
    "fuzzy_check.conf",
    "fuzzy_group.conf",
    "groups.conf",
    "headers_group.conf",
    "hfilter.conf",
    "hfilter_group.conf",
    "history_redis.conf",
    "http_headers.conf",
    "logging.inc",
    "maillist.conf",
    "metadata_exporter.conf",
    "metric_exporter.conf",
    "metrics.conf",
    "mid.conf",
    "mime_types.conf",
    "mime_types_group.conf",
    "mua_group.conf",
    "multimap.conf",
    "mx_check.conf",
    "neural.conf",
    "neural_group.conf",
    "once_received.conf",
    "options.inc",
    "p0f.conf",
    "phishing.conf",
    "phishing_group.conf",
    "policies_group.conf",
    "ratelimit.conf",
    "rbl.conf",
    "rbl_group.conf",
    "regexp.conf",
    "replies.conf",
    "reputation.conf",
    "rspamd_update.conf",
    "settings.conf",
    "spamassassin.conf",
    "spamtrap.conf",
    "spf.conf",
    "statistic.conf",
    "statistics_group.conf",
    "subject_group.conf",
    "surbl.conf",
    "surbl_group.conf",
    "trie.conf",
    "url_redirector.conf",
    "whitelist.conf",
    "whitelist_group.conf",
    "worker-controller.inc",
    "worker-proxy.inc",
};

static Error *file_allowed(const char *file)
{
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (strcmp(kept[i].file, file) != 0)
            continue;
        Error *err = error_new(ERROR_INVALID, "this file belongs to mailnode");
        return kept[i].setting ? error_hint(err, "%s", kept[i].setting) : err;
    }
    for (size_t i = 0; i < sizeof read_by_rspamd / sizeof read_by_rspamd[0]; i++)
        if (strcmp(read_by_rspamd[i], file) == 0)
            return NULL;
    return error_hint(error_new(ERROR_INVALID, "Rspamd reads no override of this name"),
                      "name it as the file in /etc/rspamd/modules.d, or options.inc, logging.inc, worker-proxy.inc, "
                      "worker-controller.inc");
}

/* ---- words ------------------------------------------------------------------------- */

/* file NULL: in all of them. */
static const struct {
    const char *file, *word;
} refused[] = {
    {NULL, "bind_socket"},
    {NULL, "control_socket"},
    {NULL, "soft_reject_on_timeout"},
    {"logging.inc", "filename"},
    {"logging.inc", "type"},
    {"options.inc", "cache_file"},
    {"options.inc", "dynamic_conf"},
    {"options.inc", "gtube_patterns"},
    {"options.inc", "history_file"},
    {"options.inc", "local_addrs"},
    {"options.inc", "maps_cache_dir"},
    {"options.inc", "max_message"},
    {"options.inc", "pidfile"},
    {"options.inc", "rrd"},
    {"options.inc", "stats_file"},
    {"options.inc", "task_timeout"},
    {"options.inc", "tempdir"},
    {"worker-controller.inc", "enable_password"},
    {"worker-controller.inc", "password"},
    {"worker-controller.inc", "secure_ip"},
    {"worker-proxy.inc", "discard_on_reject"},
    {"worker-proxy.inc", "milter"},
    {"worker-proxy.inc", "mirror"},
    {"worker-proxy.inc", "quarantine_on_reject"},
    {"worker-proxy.inc", "self_scan"},
    {"worker-proxy.inc", "spam_header"},
    {"worker-proxy.inc", "upstream"},
};

static bool of_word(char c)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Anywhere, also in quotes: a key may stand in them. */
static bool word_in(const char *line, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = line; (at = strstr(at, word)); at += len)
        if ((at == line || !of_word(at[-1])) && !of_word(at[len]))
            return true;
    return false;
}

static Error *line_allowed(const char *file, const char *line)
{
    line += strspn(line, " \t");
    if (*line == '#')
        return NULL;
    if (strstr(line, ".include") || strstr(line, ".load"))
        return error_new(ERROR_INVALID, "an override includes no other files");
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if ((!refused[i].file || strcmp(refused[i].file, file) == 0) && word_in(line, refused[i].word))
            return error_new(ERROR_INVALID, "%s belongs to mailnode", refused[i].word);
    return NULL;
}

static Error *text_allowed(const OverrideFile *override)
{
    DEFER(xfree) char *text = xstrdup(override->text);
    char *rest = text;
    unsigned number = 1;

    for (char *line; (line = strsep(&rest, "\n")); number++) {
        Error *err = line_allowed(override->file, line);
        if (err)
            return error_in(err, "%s, line %u", override->name, number);
    }
    return NULL;
}

void rspamd_override(const Overrides *overrides, FileSet *out)
{
    for (size_t i = 0; i < overrides->n[OVERRIDE_RSPAMD]; i++) {
        const OverrideFile *override = &overrides->files[OVERRIDE_RSPAMD][i];
        Error *err = error_in(file_allowed(override->file), "%s", override->name);
        if (!err)
            err = text_allowed(override);
        if (err) {
            fileset_refuse(out, err);
            continue;
        }
        DEFER(xfree) char *path = xasprintf("rspamd/override.d/%s", override->file);
        buf_append_text(fileset_add(out, path, "_rspamd"), override->text);
    }
}

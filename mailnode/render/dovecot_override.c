/* What the node's root adds: read as Dovecot will read it, far enough to know what it sets */
#include "render/dovecot.h"

#include "base/alloc.h"

#include <string.h>

enum { DEPTH_MAX = 16 };

/* What the product stands on, wherever it is set. */
static const char *const kept[] = {
    "auth_cache_negative_ttl",
    "auth_cache_verify_password_with_worker",
    "auth_master_user_separator",
    "auth_mechanisms",
    "auth_username_chars",
    "auth_username_format",
    "auth_username_translation",
    "base_dir",
    "default_internal_group",
    "default_internal_user",
    "default_login_user",
    "disable_plaintext_auth",
    "first_valid_uid",
    "haproxy_trusted_networks",
    "inet_listener",
    "instance_name",
    "last_valid_uid",
    "listen",
    "lmtp_rcpt_check_quota",
    "log_path",
    "login_trusted_networks",
    "mail_always_cache_fields",
    "mail_gid",
    "mail_home",
    "mail_location",
    "mail_uid",
    "passdb",
    "protocols",
    "quota",
    "quota_clone_dict",
    "quota_full_tempfail",
    "quota_vsizes",
    "recipient_delimiter",
    "separator",
    "shutdown_clients",
    "sieve_before",
    "ssl",
    "ssl_alt_cert",
    "ssl_alt_key",
    "ssl_cert",
    "ssl_key",
    "ssl_min_protocol",
    "state_dir",
    "submission_host",
    "userdb",
};

/* These only of the namespace that holds INBOX. */
static const char *const kept_of_inbox[] = {"inbox", "prefix", "location", "list", "hidden", "type"};

typedef struct Reading {
    const OverrideFile *file;
    size_t line; /* where the logical line begins */
    unsigned depth;
    unsigned inbox_depth; /* of what is in namespace inbox; 0: not in it */
} Reading;

static Error *wrong(const Reading *reading, const char *what)
{
    return error_new(ERROR_INVALID, "%s:%zu: %s", reading->file->name, reading->line, what);
}

static bool in_list(const char *const *list, size_t n, const char *name, size_t len)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(list[i]) == len && memcmp(list[i], name, len) == 0)
            return true;
    return false;
}

/* 'service/auth/...' is another way to say what sections say. */
static Error *name_look(const Reading *reading, const char *name, size_t len)
{
    for (size_t at = 0, end; at < len; at = end + 1) {
        for (end = at; end < len && name[end] != '/';)
            end++;
        bool ours = in_list(kept, sizeof kept / sizeof *kept, name + at, end - at) ||
                    (reading->inbox_depth && reading->depth == reading->inbox_depth &&
                     in_list(kept_of_inbox, sizeof kept_of_inbox / sizeof *kept_of_inbox, name + at, end - at));
        if (ours)
            return error_hint(error_new(ERROR_INVALID, "%s:%zu: '%.*s' cannot be overridden: the product stands on it",
                                        reading->file->name, reading->line, (int)(end - at), name + at),
                              "remove the line");
    }
    return NULL;
}

static size_t blank_len(const char *text)
{
    return strspn(text, " \t");
}

static Error *section_begin(Reading *reading, const char *name, size_t len, const char *label)
{
    if (reading->depth == DEPTH_MAX)
        return wrong(reading, "too many sections in each other");
    reading->depth++;
    if (len == strlen("namespace") && memcmp(name, "namespace", len) == 0 &&
        (strncmp(label, "inbox ", 6) == 0 || strncmp(label, "inbox\t", 6) == 0 || strncmp(label, "\"inbox\"", 7) == 0))
        reading->inbox_depth = reading->depth;
    return NULL;
}

static Error *section_end(Reading *reading)
{
    if (reading->depth == 0)
        return wrong(reading, "'}' without a section");
    if (reading->inbox_depth == reading->depth)
        reading->inbox_depth = 0;
    reading->depth--;
    return NULL;
}

/* One logical line without comment and blanks around it. */
static Error *line_look(Reading *reading, const char *line)
{
    size_t len = strcspn(line, " \t=");
    const char *rest = line + len + blank_len(line + len);

    if (*line == '\0')
        return NULL;
    if (*line == '!')
        return wrong(reading, "an override includes nothing: put the file beside this one");
    if (strcmp(line, "}") == 0)
        return section_end(reading);
    Error *err = name_look(reading, line, len);
    if (err || *rest == '=')
        return err;
    if (*rest == '\0' || line[strlen(line) - 1] != '{')
        return wrong(reading, "write NAME = VALUE, or NAME {");
    return section_begin(reading, line, len, rest);
}

/* As the parser does: quotes hide '#', a backslash in them hides a quote. */
static size_t content_len(const char *line, size_t size)
{
    size_t len = 0;

    for (char quote = '\0'; len < size; len++) {
        if (quote && line[len] == '\\' && len + 1 < size)
            len++;
        else if (quote)
            quote = line[len] == quote ? '\0' : quote;
        else if (line[len] == '"' || line[len] == '\'')
            quote = line[len];
        else if (line[len] == '#')
            break;
    }
    while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t'))
        len--;
    return len;
}

/* False: it goes on in the next line. */
static bool line_add(Buf *logical, const char *line, size_t size)
{
    size_t blank = 0;

    while (blank < size && (line[blank] == ' ' || line[blank] == '\t'))
        blank++;
    size_t len = content_len(line + blank, size - blank);
    bool whole = len == 0 || line[blank + len - 1] != '\\';
    buf_append(logical, line + blank, whole ? len : len - 1);
    return whole;
}

static Error *text_look(Reading *reading)
{
    DEFER(buf_done) Buf logical = {0};
    size_t line = 0;
    bool whole = true;
    Error *err = NULL;

    for (const char *at = reading->file->text; !err && *at;) {
        size_t size = strcspn(at, "\n");
        line++;
        if (whole)
            reading->line = line;
        whole = line_add(&logical, at, size - (size > 0 && at[size - 1] == '\r'));
        if (whole) {
            err = line_look(reading, buf_text(&logical));
            buf_clear(&logical);
        }
        at += size + (at[size] == '\n');
    }
    if (!err && !whole)
        err = wrong(reading, "the last line goes on");
    if (!err && reading->depth)
        err = wrong(reading, "a section has no '}'");
    return err;
}

void dovecot_override(DovecotConf *cf, const OverrideFile *file, FileSet *out)
{
    DEFER(xfree) char *name = xasprintf("override-%s", file->file);
    DEFER(xfree) char *path = xasprintf("dovecot/%s", name);
    Reading reading = {.file = file};

    Error *err = text_look(&reading);
    if (err) {
        fileset_refuse(out, err);
        return;
    }
    buf_append_text(fileset_add(out, path, NULL), file->text);
    dovecotconf_include(cf, name);
}

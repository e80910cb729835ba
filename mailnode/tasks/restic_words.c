#include "tasks/restic_words.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- trouble ---- */

const char *restic_trouble_name(ResticTrouble trouble)
{
    static const char *const names[] = {
        [RESTIC_FINE] = "fine",           [RESTIC_MISSING] = "missing",
        [RESTIC_LOCKED] = "locked",       [RESTIC_WRONG_PASSWORD] = "wrong password",
        [RESTIC_LOGIN] = "login refused", [RESTIC_UNREACHABLE] = "unreachable",
        [RESTIC_DAMAGED] = "damaged",     [RESTIC_FULL] = "full",
        [RESTIC_OTHER] = "failed",
    };

    return names[trouble];
}

typedef struct Sign {
    const char *words;
    ResticTrouble means;
} Sign;

/* In this order: "Is there a repository" ends also what is said of a refused login or a server that is away, and a retry
 * of a full storage speaks of requests that failed. */
static const Sign signs[] = {
    {"wrong password or no key found", RESTIC_WRONG_PASSWORD},
    {"already locked", RESTIC_LOCKED},
    {"no space left on device", RESTIC_FULL},
    {"isk quota exceeded", RESTIC_FULL},
    {"(507)", RESTIC_FULL},
    {"507 Insufficient", RESTIC_FULL},
    {"QuotaExceeded", RESTIC_FULL},
    {"(401)", RESTIC_LOGIN},
    {"(403)", RESTIC_LOGIN},
    {"401 Unauthorized", RESTIC_LOGIN},
    {"403 Forbidden", RESTIC_LOGIN},
    {"request signature we calculated", RESTIC_LOGIN},
    {"Access Key Id you provided", RESTIC_LOGIN},
    {"Access Denied", RESTIC_LOGIN},
    {"AccessDenied", RESTIC_LOGIN},
    {"Host key verification failed", RESTIC_LOGIN},
    {"REMOTE HOST IDENTIFICATION HAS CHANGED", RESTIC_LOGIN},
    {"Permission denied (", RESTIC_LOGIN}, /* ssh, with the methods in brackets */
    {"Too many authentication failures", RESTIC_LOGIN},
    {"onnection refused", RESTIC_UNREACHABLE},
    {"onnection timed out", RESTIC_UNREACHABLE},
    {"onnection reset", RESTIC_UNREACHABLE},
    {"onnection closed", RESTIC_UNREACHABLE},
    {"connection lost", RESTIC_UNREACHABLE},
    {"no such host", RESTIC_UNREACHABLE},
    {"Could not resolve hostname", RESTIC_UNREACHABLE},
    {"i/o timeout", RESTIC_UNREACHABLE},
    {"Client.Timeout", RESTIC_UNREACHABLE},
    {"TLS handshake timeout", RESTIC_UNREACHABLE},
    {"network is unreachable", RESTIC_UNREACHABLE},
    {"Network is unreachable", RESTIC_UNREACHABLE},
    {"o route to host", RESTIC_UNREACHABLE},
    {"x509:", RESTIC_UNREACHABLE},
    {"server gave HTTP response to HTTPS client", RESTIC_UNREACHABLE},
    {"HTTP response (5", RESTIC_UNREACHABLE},
    {"unable to start the sftp session", RESTIC_UNREACHABLE},
    {"ciphertext verification failed", RESTIC_DAMAGED},
    {"repository contains errors", RESTIC_DAMAGED},
    {"invalid data returned", RESTIC_DAMAGED},
    {"unable to load index", RESTIC_DAMAGED},
    {"unable to load tree", RESTIC_DAMAGED},
    {"not found in repository", RESTIC_DAMAGED},
    {"not found in index", RESTIC_DAMAGED},
    {"config cannot be loaded", RESTIC_DAMAGED},
    {"config or key", RESTIC_DAMAGED},
    {"unexpected EOF", RESTIC_DAMAGED},
    {"does not match id", RESTIC_DAMAGED},
};

/* Only what is said of the config file: anything else that is missing is damage. */
static bool says_missing(const char *words)
{
    static const char *const gone[] = {"no such file", "does not exist", "not found", "(404)", "not exist", "NoSuch"};

    if (!strstr(words, "Is there a repository at the following location") &&
        !strstr(words, "unable to open config file"))
        return false;
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        if (strstr(words, gone[i]))
            return true;
    return false;
}

static ResticTrouble said(const char *words)
{
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (strstr(words, signs[i].words))
            return signs[i].means;
    return says_missing(words) ? RESTIC_MISSING : RESTIC_OTHER;
}

ResticTrouble restic_trouble_of(int exit, const char *words)
{
    ResticTrouble trouble = said(words);

    if (exit == 0)
        return RESTIC_FINE;
    if (exit == 11)
        return RESTIC_LOCKED;
    if (exit == 12)
        return RESTIC_WRONG_PASSWORD;
    if (exit == 10 && trouble == RESTIC_OTHER)
        return RESTIC_MISSING;
    return trouble;
}

char *restic_literal(const char *path)
{
    char *pattern = xmalloc(2 * strlen(path) + 1), *to = pattern;

    for (; *path; path++) {
        if (strchr("\\*?[]", *path))
            *to++ = '\\';
        *to++ = *path;
    }
    *to = '\0';
    return pattern;
}

/* ---- small forms ---- */

bool restic_id_valid(const char *text)
{
    return strspn(text, "0123456789abcdef") == 64 && text[64] == '\0';
}

static bool digits(const char **at, unsigned n, int *ret_number)
{
    int number = 0;

    for (; n; n--, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        number = number * 10 + (**at - '0');
    }
    *ret_number = number;
    return true;
}

static bool sign(const char **at, char wanted)
{
    return **at == wanted && (*at)++;
}

/* Z or +HH:MM, to the end. */
static bool offset_read(const char *at, int *ret_seconds)
{
    int hours = 0, minutes = 0;

    *ret_seconds = 0;
    if (strcmp(at, "Z") == 0)
        return true;
    int way = *at == '-' ? -1 : 1;
    if (*at != '-' && *at != '+')
        return false;
    at++;
    if (!digits(&at, 2, &hours) || !sign(&at, ':') || !digits(&at, 2, &minutes) || *at || hours > 23 || minutes > 59)
        return false;
    *ret_seconds = way * (hours * 3600 + minutes * 60);
    return true;
}

bool restic_time_read(const char *text, uint64_t *ret_seconds)
{
    struct tm tm = {0};
    int offset = 0;

    if (!digits(&text, 4, &tm.tm_year) || !sign(&text, '-') || !digits(&text, 2, &tm.tm_mon) || !sign(&text, '-') ||
        !digits(&text, 2, &tm.tm_mday) || !sign(&text, 'T') || !digits(&text, 2, &tm.tm_hour) || !sign(&text, ':') ||
        !digits(&text, 2, &tm.tm_min) || !sign(&text, ':') || !digits(&text, 2, &tm.tm_sec))
        return false;
    if (tm.tm_year < 1970 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
        tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    if (sign(&text, '.'))
        text += strspn(text, "0123456789");
    if (!offset_read(text, &offset))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    time_t seconds = timegm(&tm) - offset;
    if (seconds < 0)
        return false;
    *ret_seconds = (uint64_t)seconds;
    return true;
}

void restic_json_free(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

static const char *text_in(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

/* 0 is left out by restic. */
static uint64_t number_in(const json_t *object, const char *name)
{
    json_int_t number = json_integer_value(json_object_get(object, name));

    return number > 0 ? (uint64_t)number : 0;
}

/* ---- snapshots ---- */

/* Texts of a list; what is none is left out. */
static const char *const *texts_in(const json_t *object, const char *name, size_t *ret_n)
{
    const json_t *list = json_object_get(object, name);
    size_t n = json_array_size(list);
    const char **texts = xcalloc(n + 1, sizeof *texts);

    *ret_n = 0;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text)
            texts[(*ret_n)++] = text;
    }
    return texts;
}

static int newest_first(const void *a, const void *b)
{
    const ResticSnapshot *one = a, *other = b;

    if (one->time_s != other->time_s)
        return one->time_s < other->time_s ? 1 : -1;
    int order = strcmp(other->time_text, one->time_text);
    return order ? order : strcmp(one->id, other->id);
}

static Error *snapshot_read(const json_t *object, ResticSnapshot *ret)
{
    *ret = (ResticSnapshot){
        .id = text_in(object, "id"), .time_text = text_in(object, "time"), .host = text_in(object, "hostname")};
    if (!restic_id_valid(ret->id) || !restic_time_read(ret->time_text, &ret->time_s))
        return error_new(ERROR_DAMAGED, "restic named a snapshot without id and time");
    ret->tags = texts_in(object, "tags", &ret->n_tags);
    ret->paths = texts_in(object, "paths", &ret->n_paths);
    return NULL;
}

Error *restic_snapshots_read(const char *text, size_t size, ResticSnapshots *ret_snapshots)
{
    DEFER(restic_snapshots_done) ResticSnapshots read = {.kept = json_loadb(text, size, JSON_DECODE_ANY, NULL)};

    if (!json_is_array(read.kept) && !json_is_null(read.kept)) /* 0.14 says null for none */
        return error_new(ERROR_DAMAGED, "restic's list of snapshots is none");
    size_t n = json_array_size(read.kept);
    read.list = xcalloc(n + 1, sizeof *read.list);
    for (; read.n < n; read.n++) {
        Error *err = snapshot_read(json_array_get(read.kept, read.n), &read.list[read.n]);
        if (err)
            return err;
    }
    if (n)
        qsort(read.list, n, sizeof *read.list, newest_first);
    *ret_snapshots = read;
    read = (ResticSnapshots){0}; /* NOLINT(clang-analyzer-deadcode.DeadStores): DEFER looks at it */
    return NULL;
}

void restic_snapshots_done(ResticSnapshots *snapshots)
{
    for (size_t i = 0; i < snapshots->n; i++) {
        free((void *)snapshots->list[i].tags);
        free((void *)snapshots->list[i].paths);
    }
    xfree(&snapshots->list);
    snapshots->n = 0;
    restic_json_free(&snapshots->kept);
}

static Error *newest(const ResticSnapshots *snapshots, uint64_t at_s, const ResticSnapshot **ret)
{
    for (size_t i = 0; i < snapshots->n; i++) {
        if (!at_s || snapshots->list[i].time_s <= at_s) {
            *ret = &snapshots->list[i];
            return NULL;
        }
    }
    return error_new(ERROR_NOT_FOUND,
                     at_s ? "there is no snapshot from that time or before" : "there is no snapshot yet");
}

/* With as many digits as tell them apart. */
static Error *several(const char *wanted, const char *one, const char *other)
{
    size_t alike = strlen(wanted);

    while (one[alike] && one[alike] == other[alike])
        alike++;
    int shown = alike < 8 ? 8 : (int)alike + 1;
    return error_hint(error_new(ERROR_CONFLICT, "several snapshots begin with %s", wanted),
                      "%.*s and %.*s: write more of it", shown, one, shown, other);
}

Error *restic_snapshot_choose(const ResticSnapshots *snapshots, const char *wanted, uint64_t at_s,
                              const ResticSnapshot **ret_snapshot)
{
    size_t len = strlen(wanted);
    const ResticSnapshot *found = NULL;

    if (at_s || strcmp(wanted, "latest") == 0)
        return newest(snapshots, at_s, ret_snapshot);
    if (len < 4 || len > 64 || strspn(wanted, "0123456789abcdef") != len)
        return error_new(ERROR_INVALID, "a snapshot is 'latest', or 4 to 64 digits (0-9, a-f) of its id");
    for (size_t i = 0; i < snapshots->n; i++) {
        if (strncmp(snapshots->list[i].id, wanted, len) != 0)
            continue;
        if (found)
            return several(wanted, found->id, snapshots->list[i].id);
        found = &snapshots->list[i];
    }
    if (!found)
        return error_new(ERROR_NOT_FOUND, "there is no snapshot %s", wanted);
    *ret_snapshot = found;
    return NULL;
}

/* ---- lines ---- */

static char type_of(const char *type)
{
    return strcmp(type, "file") == 0 ? 'f' : strcmp(type, "dir") == 0 ? 'd' : strcmp(type, "symlink") == 0 ? 'l' : 'o';
}

Error *restic_node_read(const char *line, size_t size, ResticNode *ret_node, bool *ret_is, json_t **ret_line)
{
    DEFER(restic_json_free) json_t *object = json_loadb(line, size, 0, NULL);
    const char *kind = text_in(object, "struct_type");
    bool is = strcmp(kind, "node") == 0;

    if (!is && strcmp(kind, "snapshot") != 0)
        return error_new(ERROR_DAMAGED, "restic's list has a line that is none of it");
    ResticNode node = {.path = text_in(object, "path"),
                       .type = type_of(text_in(object, "type")),
                       .size = number_in(object, "size"),
                       .mode = number_in(object, "mode"),
                       .mtime = text_in(object, "mtime")};
    if (is && node.path[0] != '/')
        return error_new(ERROR_DAMAGED, "restic's list has a line without path");
    *ret_is = is;
    *ret_node = node;
    *ret_line = object;
    object = NULL;
    return NULL;
}

/* 8 digits of 0.14, 64 of others; anything else is none, and none is made of what is too long. */
static void short_id_read(const char *text, char ret_id[65])
{
    size_t len = strlen(text);

    if (len >= 8 && len <= 64 && strspn(text, "0123456789abcdef") == len)
        memcpy(ret_id, text, len + 1);
}

ResticStep restic_step_read(const char *line, size_t size)
{
    DEFER(restic_json_free) json_t *object = json_loadb(line, size, 0, NULL);
    const char *type = text_in(object, "message_type");
    ResticStep step = {0};

    if (strcmp(type, "status") == 0) {
        step.kind = RESTIC_STEP_STATUS;
        step.files = number_in(object, "files_done");
        step.bytes = number_in(object, "bytes_done");
        step.of_bytes = number_in(object, "total_bytes");
    } else if (strcmp(type, "summary") == 0) {
        step.kind = RESTIC_STEP_SUMMARY;
        step.files = number_in(object, "total_files_processed");
        step.bytes = number_in(object, "total_bytes_processed");
        step.added = number_in(object, "data_added");
        short_id_read(text_in(object, "snapshot_id"), step.snapshot);
    } else if (strcmp(type, "error") == 0 && strcmp(text_in(object, "during"), "scan") != 0) {
        step.kind = RESTIC_STEP_ERROR; /* "scan" is only the estimate of what is to come */
        step.item = xstrdup(text_in(object, "item"));
    }
    return step;
}

#include "settings.h"

#include "base/alloc.h"
#include "base/path.h"
#include "model/nearest.h"

#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>

enum { SETTINGS_FILE_MAX = 64 * 1024 };

static const struct {
    const char *name, *variable;
} names[N_SETTINGS] = {
    [SETTING_SOCKET] = {"socket", "MAILCTL_SOCKET"},
    [SETTING_INSTANCE] = {"instance", "MAILCTL_INSTANCE"},
    [SETTING_OUTPUT] = {"output", "MAILCTL_OUTPUT"},
    [SETTING_IDENTITY] = {"identity", "MAILCTL_IDENTITY"},
};

const char *setting_name(SettingId id)
{
    return names[id].name;
}

void setting_put(Settings *settings, SettingId id, const char *value, const char *from)
{
    free(settings->of[id].value);
    free(settings->of[id].from);
    settings->of[id] = (Setting){.value = xstrdup(value), .from = xstrdup(from)};
}

const char *setting_get(const Settings *settings, SettingId id)
{
    return settings->of[id].value;
}

void settings_done(Settings *settings)
{
    for (size_t i = 0; i < N_SETTINGS; i++) {
        free(settings->of[i].value);
        free(settings->of[i].from);
    }
    *settings = (Settings){0};
}

static Error *key_find(const char *key, SettingId *ret_id)
{
    Nearest nearest;

    nearest_init(&nearest, key);
    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (strcmp(names[i].name, key) == 0) {
            *ret_id = (SettingId)i;
            return NULL;
        }
        nearest_offer(&nearest, names[i].name);
    }
    Error *err = error_new(ERROR_INVALID, "unknown setting '%s'", key);
    return nearest_found(&nearest) ? error_hint(err, "did you mean %s?", nearest_found(&nearest)) : err;
}

/* What was read so far: a flat mapping of words to words, and nothing else. */
typedef struct Reading {
    const char *file;
    Settings *settings;
    char *key;
    int depth;
} Reading;

static Error *scalar_take(Reading *reading, struct fy_token *token, const char *place)
{
    SettingId id = N_SETTINGS;

    if (!reading->depth)
        return error_new(ERROR_INVALID, "'key: value' is wanted");
    size_t len = 0;
    const char *text = fy_token_get_text(token, &len);
    char *word = xstrndup(text ? text : "", text ? len : 0);
    if (!reading->key) {
        reading->key = word;
        return key_find(word, &id);
    }
    Error *err = key_find(reading->key, &id);
    if (!err)
        setting_put(reading->settings, id, word, place);
    free(word);
    free(reading->key);
    reading->key = NULL;
    return err;
}

static Error *event_take(Reading *reading, struct fy_event *event)
{
    const struct fy_mark *mark = fy_event_start_mark(event);
    DEFER(xfree) char *place = xasprintf("%s:%d", reading->file, mark ? mark->line + 1 : 1);
    Error *err = NULL;

    switch (event->type) {
    case FYET_MAPPING_START:
        if (reading->depth++)
            err = error_new(ERROR_INVALID, "'key: value' is wanted");
        break;
    case FYET_MAPPING_END:
        reading->depth--;
        break;
    case FYET_SEQUENCE_START:
    case FYET_ALIAS:
        err = error_new(ERROR_INVALID, "'key: value' is wanted");
        break;
    case FYET_SCALAR:
        err = scalar_take(reading, event->scalar.value, place);
        break;
    default:
        break;
    }
    return error_in(err, "%s", place);
}

Error *settings_read(const char *file, const char *text, Settings *settings)
{
    const struct fy_parse_cfg config = {.flags = FYPCF_QUIET | FYPCF_DEFAULT_PARSE};
    Reading reading = {.file = file, .settings = settings};
    struct fy_parser *parser = fy_parser_create(&config);
    Error *err = NULL;

    if (!parser || fy_parser_set_string(parser, text, strlen(text)) != 0) {
        fy_parser_destroy(parser);
        return error_new(ERROR_SYSTEM, "%s: no YAML parser", file);
    }
    for (struct fy_event *event; !err && (event = fy_parser_parse(parser)) != NULL;) {
        err = event_take(&reading, event);
        fy_parser_event_free(parser, event);
    }
    if (!err && fy_parser_get_stream_error(parser))
        err = error_new(ERROR_INVALID, "%s: not YAML", file);
    fy_parser_destroy(parser);
    free(reading.key);
    return err;
}

Error *settings_load(const char *root, Settings *settings)
{
    const char *home = getenv("HOME");
    Path socket = path_in(root, "run/mailnode/controller/mailctl.sock");

    setting_put(settings, SETTING_SOCKET, socket.text, "default");
    setting_put(settings, SETTING_OUTPUT, "table", "default");
    if (home && *home == '/' && strlen(home) < PATH_SIZE - 32) {
        DEFER(xfree) char *file = xasprintf("%s/.config/mailctl.yaml", home);
        DEFER(buf_done) Buf content = {0};
        Error *err = file_read(file, SETTINGS_FILE_MAX, &content);

        if (!err)
            err = settings_read(file, buf_text(&content), settings);
        else if (err->code == ERROR_NOT_FOUND || err->code == ERROR_SYSTEM)
            error_free(&err); /* as another user HOME may be somebody else's */
        if (err)
            return err;
    }
    for (size_t i = 0; i < N_SETTINGS; i++) {
        const char *value = getenv(names[i].variable);
        if (value && *value)
            setting_put(settings, (SettingId)i, value, names[i].variable);
    }
    return NULL;
}

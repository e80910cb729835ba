/* settings.h - where mailctl's own settings come from: flag, then MAILCTL_*, then ~/.config/mailctl.yaml, then default */
#pragma once
#include "base/error.h"

typedef enum SettingId { SETTING_SOCKET, SETTING_INSTANCE, SETTING_OUTPUT, SETTING_IDENTITY, N_SETTINGS } SettingId;

typedef struct Setting {
    char *value; /* NULL: not set */
    char *from;  /* "--instance", "MAILCTL_INSTANCE", "/root/.config/mailctl.yaml:2", "default" */
} Setting;

typedef struct Settings {
    Setting of[N_SETTINGS];
} Settings;

const char *setting_name(SettingId id); /* "socket" */

/* Defaults, then the file if there is one, then the environment.  INVALID names file and line. */
CHECKED Error *settings_load(const char *root, Settings *settings);
void settings_done(Settings *settings);

void setting_put(Settings *settings, SettingId id, const char *value, const char *from);
const char *setting_get(const Settings *settings, SettingId id); /* NULL: not set */

/* The same from the text of a file, for settings_load and tests. */
CHECKED Error *settings_read(const char *file, const char *text, Settings *settings);

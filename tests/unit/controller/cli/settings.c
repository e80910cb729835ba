#include "settings.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void files(void **state)
{
    static const struct {
        const char *text, *instance, *error; /* error NULL: read */
    } cases[] = {
        {"instance: main\noutput: json\n", "main", NULL},
        {"# nothing\n", NULL, NULL},
        {"", NULL, NULL},
        {"{instance: main}\n", "main", NULL},
        {"instance: main\nsockt: /x\n", NULL, "x.yaml:2: unknown setting 'sockt'"},
        {"- instance\n", NULL, "x.yaml:1: 'key: value' is wanted"},
        {"instance: {a: b}\n", NULL, "x.yaml:1: 'key: value' is wanted"},
        {"just words\n", NULL, "x.yaml:1: 'key: value' is wanted"},
        {"instance: [\n", NULL, "x.yaml"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Settings settings = {0};
        DEFER(error_free) Error *err = settings_read("x.yaml", cases[i].text, &settings);
        const char *instance = setting_get(&settings, SETTING_INSTANCE);
        if (!err != !cases[i].error || (err && strncmp(err->what, cases[i].error, strlen(cases[i].error)) != 0))
            fail_msg("%zu: %s", i, err ? err->what : "no error");
        if (!err && (!instance != !cases[i].instance || (instance && strcmp(instance, cases[i].instance) != 0)))
            fail_msg("%zu: instance %s", i, instance ? instance : "(none)");
        settings_done(&settings);
    }
}

/* flag > environment > file > default; the flag is the command line's part. */
static void which_one_wins(void **state)
{
    char home[] = "/tmp/unit-settings-XXXXXX", path[64];
    Settings settings = {0};

    (void)state;
    assert_non_null(mkdtemp(home));
    snprintf(path, sizeof path, "%s/.config", home);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/.config/mailctl.yaml", home);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("instance: of-file\noutput: yaml\n", file);
    fclose(file);
    setenv("HOME", home, 1);
    setenv("MAILCTL_INSTANCE", "of-environment", 1);
    setenv("MAILCTL_SOCKET", "", 1); /* empty is not set */

    assert_null(settings_load("/tmp", &settings));
    assert_string_equal(setting_get(&settings, SETTING_INSTANCE), "of-environment");
    assert_string_equal(settings.of[SETTING_INSTANCE].from, "MAILCTL_INSTANCE");
    assert_string_equal(setting_get(&settings, SETTING_OUTPUT), "yaml");
    assert_non_null(strstr(settings.of[SETTING_OUTPUT].from, "mailctl.yaml:2"));
    assert_string_equal(setting_get(&settings, SETTING_SOCKET), "/tmp/run/mailnode/controller/mailctl.sock");
    assert_string_equal(settings.of[SETTING_SOCKET].from, "default");
    assert_null(setting_get(&settings, SETTING_IDENTITY));
    settings_done(&settings);

    unlink(path);
    unsetenv("HOME");
    unsetenv("MAILCTL_INSTANCE");
    assert_null(settings_load("/", &settings));
    assert_null(setting_get(&settings, SETTING_INSTANCE));
    assert_string_equal(setting_get(&settings, SETTING_OUTPUT), "table");
    settings_done(&settings);
    snprintf(path, sizeof path, "%s/.config", home);
    rmdir(path);
    rmdir(home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(which_one_wins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

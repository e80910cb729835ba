/* expect.h - what every unit test says of an Error, and the folder that it leaves behind */
#pragma once
#include "base/alloc.h"
#include "base/error.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What cmocka does not say: nothing after a failure is reached. */
__attribute__((noreturn)) void _fail(const char *file, int line);

static inline void ok(Error *err)
{
    if (err)
        fail_msg("%s: %s", error_code_name(err->code), err->what);
}

/* Takes err: with this code, and these words somewhere in it. */
static inline void fails(Error *err, ErrorCode code, const char *words)
{
    if (!err)
        fail_msg("went well, wanted: %s", words);
    if (err->code != code || !strstr(err->what, words))
        fail_msg("%s: %s\nwanted %s: %s", error_code_name(err->code), err->what, error_code_name(code), words);
    error_free(&err);
}

/* With all that is in it; 0, as a teardown answers. */
static inline int folder_remove(const char *path)
{
    DIR *dir = opendir(path);

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        DEFER(xfree) char *name = xasprintf("%s/%s", path, entry->d_name);
        if (entry->d_type == DT_DIR)
            folder_remove(name);
        else
            unlink(name);
    }
    if (dir)
        closedir(dir);
    return rmdir(path);
}

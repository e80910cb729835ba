#include "stage.h"

#include "base/alloc.h"
#include "base/path.h"
#include "model/secret_field.h"
#include "seal/state_file.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

typedef struct Stage {
    Journal *journal;
    StateFile *file;
} Stage;

static Error *secrets_stage(Stage *stage, const Object *object)
{
    SecretUse uses[OBJECT_SECRETS_MAX];
    size_t n = object_secrets(object, uses);
    Error *err = NULL;

    for (size_t i = 0; !err && i < n; i++) {
        DEFER(secret_free) Secret *secret = NULL;
        err = journal_secret(stage->journal, uses[i].id, &secret);
        if (!err && secret)
            state_file_secret(stage->file, uses[i].id, secret_data(secret), secret_size(secret));
    }
    return err;
}

static Error *object_stage(void *context, const Object *object)
{
    Stage *stage = context;

    state_file_object(stage->file, object);
    return secrets_stage(stage, object);
}

Error *stage_write(Journal *journal, const char *folder, const char *name)
{
    DEFER(state_file_free) StateFile *file = state_file_new(journal_wanted(journal)->revision);
    Stage stage = {.journal = journal, .file = file};
    TablesView view = journal_view(journal, NULL);
    Error *err = folder_make(folder, 0700, (uid_t)-1, (gid_t)-1);

    for (size_t i = 0; !err && i < n_kinds; i++)
        err = view.objects.each(view.objects.self, kinds[i], NULL, NULL, object_stage, &stage);
    if (err)
        return error_in(err, "state for the backup");
    size_t size = 0;
    const void *bytes = state_file_end(file, &size);
    DEFER(xfree) char *path = xasprintf("%s/%s", folder, name);
    return file_write(path, bytes, size, 0600, (gid_t)-1);
}

Error *stage_link(const char *path, const char *folder, const char *name)
{
    DEFER(xfree) char *to = xasprintf("%s/%s", folder, name);

    return link(path, to) == 0 ? NULL : error_system("%s", to);
}

void stage_remove(const char *folder, const char *name)
{
    DEFER(xfree) char *path = xasprintf("%s/%s", folder, name);

    unlink(path);
}

void stage_sweep(const char *folder)
{
    DEFER(dir_close) DIR *dir = opendir(folder);

    for (const struct dirent *entry; dir && (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            stage_remove(folder, entry->d_name);
}

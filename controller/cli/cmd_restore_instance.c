/* restore instance: all mail of an instance, back onto the node that it is placed on */
#include "task.h"

#include <string.h>

static const char *value_of(const Line *line, const char *field)
{
    for (size_t i = 0; i < line->n_fields; i++)
        if (strcmp(line->fields[i].field, field) == 0 && line->fields[i].op == MAIL__EDIT_OP__SET)
            return line->fields[i].value;
    return NULL;
}

Error *run_restore_instance(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__TaskNew wish = MAIL__TASK_NEW__INIT;
    Mail__TaskStart start = MAIL__TASK_START__INIT;
    Mail__RestoreInstance restore = MAIL__RESTORE_INSTANCE__INIT;
    const char *destination = value_of(line, "destination"), *snapshot = value_of(line, "snapshot");

    if (!destination || !snapshot)
        return error_hint(cli_usage(cli, "%s= is missing", destination ? "snapshot" : "destination"), "mailctl %s",
                          line->command->example);
    restore.destination = (char *)(uintptr_t)destination;
    restore.snapshot = (char *)(uintptr_t)snapshot;
    restore.has_adopt = restore.adopt = line_has(line, FLAG_ADOPT);
    start.verb_case = MAIL__TASK_START__VERB_RESTORE_INSTANCE;
    start.restore_instance = &restore;
    wish.instance = (char *)(uintptr_t)line->key;
    wish.start = &start;
    return task_run(cli, line, &wish, ret_exit);
}

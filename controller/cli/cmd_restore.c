/* restore: what a backup has comes back.  A task; what would go for it is said by the node, and asked for here. */
#include "task.h"

#include "base/alloc.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static char *field_of(const Line *line, const char *name)
{
    for (size_t i = 0; i < line->n_fields; i++)
        if (strcmp(line->fields[i].field, name) == 0)
            return line->fields[i].value;
    return NULL;
}

/* ---- when ---- */

static Error *when_take(Cli *cli, const Line *line, Mail__RestoreFolder *folder)
{
    const char *at = field_of(line, "at");

    folder->snapshot = field_of(line, "snapshot");
    if (!folder->snapshot == !at)
        return error_hint(cli_usage(cli, at ? "snapshot= and at= say the same thing twice" : "snapshot= is missing"),
                          "snapshot=ID, snapshot=latest or at=2026-11-17");
    if (!at)
        return NULL;
    folder->has_at = true;
    DEFER(error_free) Error *err = moment_parse(at, true, &folder->at); /* a day: what was there at its end */
    return err ? cli_usage(cli, "at=%s", err->what) : NULL;
}

/* ---- the command ---- */

static Error *wish_take(Cli *cli, const Line *line, Mail__RestoreFolder *folder)
{
    folder->mailbox = field_of(line, "mailbox");
    folder->folder = field_of(line, "folder");
    folder->destination = field_of(line, "destination");
    if (!folder->mailbox)
        return error_hint(cli_usage(cli, "mailbox= is missing"), "mailbox=user:NAME or mailbox=public:NAME");
    if (!folder->folder)
        return error_hint(cli_usage(cli, "folder= is missing"), "folder=Projects/2026, or folder=INBOX");
    if (!folder->destination)
        return error_hint(cli_usage(cli, "destination= is missing"), "mailctl destination list");
    return when_take(cli, line, folder);
}

Error *run_restore_folder(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__RestoreFolder folder = MAIL__RESTORE_FOLDER__INIT;
    Mail__TaskStart start = MAIL__TASK_START__INIT;
    Mail__TaskNew wish = MAIL__TASK_NEW__INIT;

    Error *err = wish_take(cli, line, &folder);
    if (err)
        return err;
    folder.has_scan = folder.scan = line_has(line, FLAG_SCAN);
    folder.has_force = folder.force = line_has(line, FLAG_FORCE);
    folder.has_replace = folder.replace = line_has(line, FLAG_YES);
    start.verb_case = MAIL__TASK_START__VERB_RESTORE_FOLDER;
    start.restore_folder = &folder;
    wish.instance = (char *)(uintptr_t)cli_instance(cli);
    wish.start = &start;
    err = task_run(cli, line, &wish, ret_exit);
    if (!err || err->code != ERROR_EXISTS || folder.replace || !isatty(STDIN_FILENO))
        return err;
    Error *no = cli_confirm(cli, err->what);
    error_free(&err);
    if (no)
        return no;
    folder.has_replace = folder.replace = 1;
    return task_run(cli, line, &wish, ret_exit);
}

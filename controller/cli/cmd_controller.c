/* controller init: starts mail-controller itself, which knows how; no shell, no other program's arguments */
#include "cli.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char controller[] = "mail-controller";

/* Beside mailctl where it lies there, as in a build folder; otherwise by PATH. */
static char *beside_us(void)
{
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    if (len <= 0)
        return NULL;
    self[len] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash)
        return NULL;
    *slash = '\0';
    char *path = xasprintf("%s/%s", self, controller);
    if (access(path, X_OK) == 0)
        return path;
    free(path);
    return NULL;
}

Error *run_controller_init(Cli *cli, const Line *line, int *ret_exit)
{
    char *argv[8] = {(char *)controller, (char *)"--init", (char *)"--root", (char *)cli->root};
    size_t n = 4;
    DEFER(xfree) char *path = beside_us();

    (void)ret_exit;
    if (cli->program->remote)
        return cli_usage(cli, "a controller is made on its own machine, with mailctl");
    if (!line->n_fields)
        return error_hint(cli_usage(cli, "listen= is missing: nodes must be told where to find it"), "mailctl %s",
                          line->command->example);
    for (size_t i = 0; i < line->n_fields; i++) {
        if (line->fields[i].op != MAIL__EDIT_OP__SET || n > 4)
            return error_hint(cli_usage(cli, "one address and port is wanted"), "mailctl %s", line->command->example);
        argv[n++] = (char *)"--listen";
        argv[n++] = line->fields[i].value;
    }
    Error *err = cli_flush(cli);
    if (err)
        return err;
    if (path)
        execv(path, argv);
    else
        execvp(controller, argv);
    if (errno == ENOENT)
        return error_hint(error_new(ERROR_NOT_FOUND, "%s is not installed", controller), "it belongs beside mailctl");
    return error_system("%s", path ? path : controller);
}

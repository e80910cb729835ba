#include "engine/bounce.h"

#include "base/path.h"
#include "base/proc.h"
#include "engine/runfile.h"
#include "engine/spawn.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

static Path note_of(const char *root, const Daemon *daemon)
{
    return path_in(root, "var/lib/mailnode/engine/run/%s.bounced", daemon->name);
}

bool daemon_bounced(const char *root, const Daemon *daemon)
{
    return unlink(note_of(root, daemon).text) == 0;
}

/* A descriptor of the process that the run-file names; -1: none lives. */
static Error *process_of(const char *root, const Daemon *daemon, int *ret_pidfd)
{
    Path path = path_in(root, "var/lib/mailnode/engine/run/%s", daemon->name);
    char boot_id[64];
    RunFile file;

    *ret_pidfd = -1;
    Error *err = proc_boot_id(boot_id);
    if (!err)
        err = runfile_read(path.text, &file);
    if (err && err->code == ERROR_NOT_FOUND) {
        error_free(&err);
        return NULL;
    }
    if (err)
        return err;
    *ret_pidfd = spawn_pidfd(file.pid); /* first: from here on it is nobody else's number */
    if (!runfile_alive(&file, boot_id))
        fd_close(ret_pidfd);
    return NULL;
}

Error *daemon_bounce(const char *root, const Daemon *daemon, Msec within_ms)
{
    DEFER(fd_close) int pidfd = -1;

    Error *err = process_of(root, daemon, &pidfd);
    if (err || pidfd < 0)
        return err;
    err = file_write_of_boot(note_of(root, daemon).text, "", 0, 0600);
    if (err)
        return err;
    if (syscall(SYS_pidfd_send_signal, pidfd, daemon->stop_signal, NULL, 0) != 0 && errno != ESRCH)
        return error_in(error_system("signal"), "%s", daemon->name);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    if (poll(&ended, 1, (int)within_ms) != 1)
        return error_new(ERROR_UNAVAILABLE, "%s did not end within %llu s", daemon->title,
                         (unsigned long long)within_ms / 1000);
    return NULL;
}

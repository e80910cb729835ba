#include "tasks/doctor.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Least versions of Debian 12's packages, with what an older one lacks. */
static const struct {
    const char *package, *version, *why;
} floors[] = {
    {"postfix", "3.7.11-0+deb12u1", "SMTP smuggling (CVE-2023-51764) can be switched off from there on"},
    {"dovecot-core", "1:2.3.19.1+dfsg1-2.1+deb12u7",
     "smuggling over LMTP (CVE-2026-33604) and a crash before login in ManageSieve are mended there"},
    {"rspamd", "3.4", "its settings are written for it"},
    {"slapd", "2.5", "it brings {ARGON2}"},
};

/* A look of its own runs in a child: this may wait.  False: it could not be run. */
static bool run(const char *const *argv, Buf *out, int *ret_exit)
{
    int ends[2], status = -1;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (null >= 0 && dup2(null, STDERR_FILENO) >= 0 && dup2(ends[1], STDOUT_FILENO) >= 0)
            execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(ends[1]);
    for (bool more = pid > 0; more;) {
        char chunk[256];
        ssize_t got = read(ends[0], chunk, sizeof chunk);
        more = (got < 0 && errno == EINTR) || (got > 0 && buf_append(out, chunk, (size_t)got));
    }
    close(ends[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return false;
    *ret_exit = WEXITSTATUS(status);
    return *ret_exit != 127;
}

static void look_package(const char *package, const char *floor, const char *why, Findings *out)
{
    DEFER(buf_done) Buf version = {0}, nothing = {0};
    int status = 0;

    buf_init(&version, 256);
    if (!run((const char *const[]){"/usr/bin/dpkg-query", "-W", "-f", "${Version}", "--", package, NULL}, &version,
             &status)) {
        findings_add(out, MAIL__FACT_STATE__UNKNOWN, package, "its version could not be looked at: no dpkg-query");
        return;
    }
    if (status != 0 || version.size == 0) {
        findings_add(out, MAIL__FACT_STATE__BAD, package, "is not installed as a package");
        return;
    }
    const char *have = buf_text(&version);
    if (!run((const char *const[]){"/usr/bin/dpkg", "--compare-versions", have, "lt", floor, NULL}, &nothing,
             &status) ||
        status > 1)
        findings_add(out, MAIL__FACT_STATE__UNKNOWN, package, "its version %s could not be compared", have);
    else if (status == 0)
        findings_add(out, MAIL__FACT_STATE__BAD, package, "is %s, should be %s or newer: %s", have, floor, why);
}

void look_versions(const DoctorView *view, Findings *out)
{
    (void)view;
    for (size_t i = 0; i < sizeof floors / sizeof *floors; i++)
        look_package(floors[i].package, floors[i].version, floors[i].why, out);
}

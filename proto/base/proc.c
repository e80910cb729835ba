#include "base/proc.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

void proc_start(const char *program)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR); /* not close-on-exec: it may become 0, 1 or 2 */
    while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
    umask(027);
    log_init(program, getenv("MAILNODE_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
}

void proc_seal(void)
{
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

Error *proc_user(const char *user, uid_t *ret_uid, gid_t *ret_gid)
{
    const struct passwd *entry = getpwnam(user);

    if (!entry)
        return error_hint(error_new(ERROR_DENIED, "user %s does not exist", user),
                          "make the users of the product: packaging/users");
    *ret_uid = entry->pw_uid;
    *ret_gid = entry->pw_gid;
    return NULL;
}

Error *proc_group(const char *group, gid_t *ret_gid)
{
    const struct group *entry = getgrnam(group);

    if (!entry)
        return error_hint(error_new(ERROR_DENIED, "group %s does not exist", group),
                          "make the users of the product: packaging/users");
    *ret_gid = entry->gr_gid;
    return NULL;
}

Error *proc_become(const char *user)
{
    uid_t uid = 0;
    gid_t gid = 0;

    Error *err = proc_user(user, &uid, &gid);
    if (err)
        return err;
    if (geteuid() == uid && getuid() == uid)
        return NULL;
    if (geteuid() != 0)
        return error_new(ERROR_DENIED, "runs as %s (or is started by root, and becomes it)", user);
    if (initgroups(user, gid) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
        return error_in(error_system("setresuid"), "become %s", user);
    return NULL;
}

Error *proc_boot_id(char ret_id[64])
{
    const char *given = getenv("MAILNODE_BOOT_ID");
    DEFER(buf_done) Buf text = {0};

    if (!given) {
        Error *err = file_read("/proc/sys/kernel/random/boot_id", 64, &text);
        if (err)
            return error_in(err, "boot id");
        given = buf_text(&text);
    }
    size_t len = strcspn(given, "\n");
    if (len == 0 || len >= 64)
        return error_new(ERROR_INVALID, "boot id: between 1 and 63 characters");
    memcpy(ret_id, given, len);
    ret_id[len] = '\0';
    return NULL;
}

int exit_code(ErrorCode code)
{
    switch (code) {
    case ERROR_INVALID:
        return 3;
    case ERROR_NOT_FOUND:
        return 4;
    case ERROR_REFUSED:
        return 5;
    case ERROR_EXISTS:
    case ERROR_CONFLICT:
    case ERROR_DENIED:
        return 6;
    case ERROR_UNSUPPORTED:
        return 7;
    case ERROR_UNAVAILABLE:
        return 11;
    case ERROR_SYSTEM:
    case ERROR_DAMAGED:
        break;
    }
    return 10;
}

int main_fail(const char *program, Error **err)
{
    int code = exit_code((*err)->code);
    DEFER(xfree) char *what = log_escape((*err)->what);

    fprintf(stderr, "%s: %s\n", program, what);
    if ((*err)->hint) {
        DEFER(xfree) char *hint = log_escape((*err)->hint);
        fprintf(stderr, "hint: %s\n", hint);
    }
    error_free(err);
    return code;
}

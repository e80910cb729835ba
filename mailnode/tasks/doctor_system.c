/* What the machine below us is like: its profiles, its disks, its clock. */
#include "tasks/doctor.h"

#include "base/alloc.h"
#include "base/path.h"
#include "tables/places.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>

/* ---- AppArmor: Debian's profiles of clamd and Unbound know their own folders alone ---- */

enum { PROFILES_BYTES_MAX = 1024 * 1024, LOCAL_BYTES_MAX = 64 * 1024 };

static const struct {
    const char *profile, *local;
} profiles[] = {
    {"/usr/sbin/clamd", "usr.sbin.clamd"},
    {"/usr/sbin/unbound", "usr.sbin.unbound"},
};

/* False: there is none. */
static bool text_of(const DoctorView *view, const char *path, size_t limit_bytes, Buf *out)
{
    DEFER(xfree) char *name = xasprintf("%s%s", view->system, path);

    Error *err = file_read(name, limit_bytes, out);
    bool there = !err;
    error_free(&err);
    return there;
}

/* Lines of the kernel: "/usr/sbin/clamd (enforce)"; a profile may have a name of its own: "clamd (enforce)". */
static bool enforced(const char *list, const char *profile)
{
    const char *names[] = {profile, strrchr(profile, '/') + 1};

    for (size_t i = 0; i < 2; i++) {
        DEFER(xfree) char *line = xasprintf("%s (enforce)", names[i]);
        const char *at = strstr(list, line);
        if (at && (at == list || at[-1] == '\n'))
            return true;
    }
    return false;
}

void look_profiles(const DoctorView *view, Findings *out)
{
    DEFER(buf_done) Buf enabled = {0}, list = {0};

    if (!text_of(view, "/sys/module/apparmor/parameters/enabled", 16, &enabled) || buf_text(&enabled)[0] != 'Y')
        return;
    if (!text_of(view, "/sys/kernel/security/apparmor/profiles", PROFILES_BYTES_MAX, &list)) {
        findings_add(out, MAIL__FACT_STATE__UNKNOWN, "profiles",
                     "AppArmor is on, and its list of profiles cannot be read");
        return;
    }
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++) {
        DEFER(buf_done) Buf local = {0};
        DEFER(xfree) char *path = xasprintf("/etc/apparmor.d/local/%s", profiles[i].local);
        if (!enforced(buf_text(&list), profiles[i].profile))
            continue;
        text_of(view, path, LOCAL_BYTES_MAX, &local);
        if (!strstr(buf_text(&local), "mailnode"))
            findings_add(out, MAIL__FACT_STATE__BAD, profiles[i].profile,
                         "its AppArmor profile does not know the folders of Mailnode: install "
                         "/usr/share/mailnode/apparmor/%s as %s, then apparmor_parser -r /etc/apparmor.d/%s",
                         profiles[i].local, path, profiles[i].local);
    }
}

/* ---- disks ---- */

enum { PERCENT_LEAST = 10, BYTES_LEAST_GIB = 1, SYSTEMS_MAX = 16 };

static const char *const disk_places[] = {
    PLACE_ENGINE,     PLACE_TABLES,        PLACE_LOG,         PLACE_MAIL,       PLACE_QUEUE,        PLACE_POSTFIX_DATA,
    PLACE_REDIS_DATA, PLACE_DOVECOT_STATE, PLACE_RSPAMD_DATA, PLACE_CLAMD_DATA, PLACE_UNBOUND_DATA, PLACE_SLAPD_DATA,
};

static void room_in(const char *path, Findings *out)
{
    struct statvfs fs;

    if (statvfs(path, &fs) != 0) {
        findings_add(out, MAIL__FACT_STATE__UNKNOWN, path, "its disk could not be looked at: %s", strerror(errno));
        return;
    }
    uint64_t mib = (uint64_t)fs.f_bavail * fs.f_frsize >> 20;
    uint64_t percent = fs.f_blocks ? (uint64_t)fs.f_bavail * 100 / fs.f_blocks : 100;
    if (percent < PERCENT_LEAST || mib < BYTES_LEAST_GIB * 1024)
        findings_add(out, MAIL__FACT_STATE__DEGRADED, path,
                     "its disk is nearly full: %" PRIu64 " MiB (%" PRIu64 " %%) left", mib, percent);
    uint64_t inodes = fs.f_files ? (uint64_t)fs.f_favail * 100 / fs.f_files : 100;
    if (inodes < PERCENT_LEAST)
        findings_add(out, MAIL__FACT_STATE__DEGRADED, path,
                     "its disk has few inodes left: %" PRIu64 " (%" PRIu64 " %%)", (uint64_t)fs.f_favail, inodes);
}

/* Each file system once, by the first of its folders. */
void look_disk(const DoctorView *view, Findings *out)
{
    dev_t seen[SYSTEMS_MAX];
    size_t n_seen = 0;

    for (size_t i = 0; i < sizeof disk_places / sizeof *disk_places; i++) {
        Path path = path_in(view->root, "%s", disk_places[i] + 3);
        struct stat st;
        size_t at = 0;
        if (stat(path.text, &st) != 0)
            continue; /* a folder that is missing is a finding of its own */
        while (at < n_seen && seen[at] != st.st_dev)
            at++;
        if (at < n_seen)
            continue;
        if (n_seen < SYSTEMS_MAX)
            seen[n_seen++] = st.st_dev;
        room_in(path.text, out);
    }
}

/* ---- the clock ---- */

/* Certificates, greylists and dates of mail go by it.  The kernel knows whether somebody steers it. */
void look_clock(const DoctorView *view, Findings *out)
{
    struct timex clock = {0};
    int state = adjtimex(&clock);
    (void)view;

    if (state < 0)
        findings_add(out, MAIL__FACT_STATE__UNKNOWN, "clock", "could not be looked at: %s", strerror(errno));
    else if (state == TIME_ERROR || (clock.status & STA_UNSYNC))
        findings_add(out, MAIL__FACT_STATE__UNKNOWN, "clock",
                     "the kernel does not know it as synchronised: is a time service running?");
}

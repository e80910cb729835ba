/* S41: what a daemon must read and write, as its uid sees it, and what no other user of the machine may. */
#include "tasks/doctor.h"

#include "base/alloc.h"
#include "base/path.h"
#include "tables/places.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { NEEDS_MAX = 4 };

typedef struct Needs {
    const char *user;
    const char *group;             /* of the rendered files that it reads */
    const char *reads[NEEDS_MAX];  /* places of files, where they are there */
    const char *writes[NEEDS_MAX]; /* places of folders */
    DaemonId daemon;               /* that this is about */
} Needs;

#define MAIL_DB PLACE_TABLES "/mail.db"
#define SECRETS_DB PLACE_RELAY "/secrets.db"

static const Needs all_needs[] = {
    {"postfix",
     "postfix",
     {MAIL_DB, SECRETS_DB},
     {PLACE_POSTFIX_DATA, PLACE_QUEUE "/incoming", PLACE_QUEUE "/active"},
     DAEMON_POSTFIX},
    {"dovecot", "dovecot", {MAIL_DB}, {NULL}, DAEMON_DOVECOT},
    {"vmail", "vmail", {MAIL_DB}, {PLACE_MAIL}, DAEMON_DOVECOT},
    {"_rspamd", "_rspamd", {NULL}, {PLACE_RSPAMD_DATA, PLACE_RUN_RSPAMD}, DAEMON_RSPAMD},
    {"redis", "redis", {NULL}, {PLACE_REDIS_DATA, PLACE_RUN_REDIS}, DAEMON_REDIS},
    {"clamav", "clamav", {NULL}, {PLACE_CLAMD_DATA, PLACE_RUN_CLAMD}, DAEMON_CLAMD},
    {"unbound", "unbound", {NULL}, {PLACE_UNBOUND_DATA}, DAEMON_UNBOUND},
    {"openldap", "openldap", {NULL}, {PLACE_SLAPD_DATA, PLACE_RUN_SLAPD}, DAEMON_SLAPD},
};

static Path place_of(const DoctorView *view, const char *place)
{
    return path_in(view->root, "%s", place + 3); /* behind "%s/" */
}

static Path rendered(const DoctorView *view, const char *path)
{
    return path_in(view->root, "%s/%s", &PLACE_CURRENT[3], path);
}

/* 0, or why not. */
static int open_errno(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

static void must_read(const char *user, const char *path, Findings *out)
{
    int number = open_errno(path);

    if (number)
        findings_add(out, MAIL__FACT_STATE__BAD, path, "%s cannot read it: %s", user, strerror(number));
}

static void must_write(const char *user, const char *path, Findings *out)
{
    if (faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) != 0)
        findings_add(out, MAIL__FACT_STATE__BAD, path, "%s cannot write there: %s", user, strerror(errno));
}

/* Files that come and go with what is stated: without one of them mail goes unsigned, and nobody is told. */
static void must_read_all(const char *user, const char *folder, Findings *out)
{
    DEFER(dir_close) DIR *dir = opendir(folder);

    if (!dir && errno != ENOENT)
        findings_add(out, MAIL__FACT_STATE__BAD, folder, "%s cannot look into it: %s", user, strerror(errno));
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (*entry->d_name != '.') {
            DEFER(xfree) char *path = xasprintf("%s/%s", folder, entry->d_name);
            must_read(user, path, out);
        }
}

static void look_as(const DoctorView *view, const Needs *needs, Findings *out)
{
    const FileSet *files = view->in_force.files;

    if (!view->in_force.state || !daemon_wanted(needs->daemon, view->in_force.state))
        return;
    for (size_t i = 0; i < fileset_count(files); i++) {
        File file = fileset_file(files, i);
        if (file.group && strcmp(file.group, needs->group) == 0)
            must_read(needs->user, rendered(view, file.path).text, out);
    }
    for (size_t i = 0; i < NEEDS_MAX && needs->reads[i]; i++)
        must_read(needs->user, place_of(view, needs->reads[i]).text, out);
    for (size_t i = 0; i < NEEDS_MAX && needs->writes[i]; i++)
        must_write(needs->user, place_of(view, needs->writes[i]).text, out);
    if (needs->daemon == DAEMON_RSPAMD)
        must_read_all(needs->user, place_of(view, PLACE_DKIM).text, out);
    if (needs->daemon == DAEMON_SLAPD)
        must_read_all(needs->user, place_of(view, PLACE_REPLICATION).text, out);
}

void look_rights(const DoctorView *view, Findings *out)
{
    for (size_t i = 0; i < sizeof all_needs / sizeof *all_needs; i++)
        if (strcmp(all_needs[i].user, view->user) == 0)
            look_as(view, &all_needs[i], out);
}

/* ---- everybody else ---- */

static const char *const secret_files[] = {
    MAIL_DB,
    MAIL_DB "-wal",
    SECRETS_DB,
    SECRETS_DB "-wal",
    PLACE_CURRENT "/objects",
    "%s/var/lib/mailnode/agent/node.db",
    "%s/etc/mailnode/node/identity",
};
static const char *const keys[] = {"key.pem", "chain.pem", "ldap-key.pem"};
/* The directory's socket is open to all: slapd asks who they are. */
static const char *const closed_sockets[] = {
    PLACE_RUN "/engine/engine.sock", PLACE_REDIS_SOCKET, PLACE_CLAMD_SOCKET, PLACE_MILTER_SOCKET,
    PLACE_RSPAMD_CONTROLLER,         PLACE_AUTH_SOCKET,  PLACE_LMTP_SOCKET,
};

static void must_not_read(const char *path, Findings *out)
{
    if (open_errno(path) == 0)
        findings_add(out, MAIL__FACT_STATE__BAD, path, "every user of this machine can read it");
}

static const char *const closed_folders[] = {PLACE_DKIM, PLACE_RELAY, PLACE_REPLICATION};

static void must_not_enter(const char *path, Findings *out)
{
    if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0)
        findings_add(out, MAIL__FACT_STATE__BAD, path, "every user of this machine can look into it");
}

static void must_not_connect(const char *path, Findings *out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path) + 1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || size > sizeof address.sun_path)
        findings_add(out, MAIL__FACT_STATE__UNKNOWN, path, "could not be looked at");
    else {
        memcpy(address.sun_path, path, size);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN)
            findings_add(out, MAIL__FACT_STATE__BAD, path, "every user of this machine can connect to it");
    }
    if (fd >= 0)
        close(fd);
}

void look_rights_of_nobody(const DoctorView *view, Findings *out)
{
    const NodeState *state = view->in_force.state;
    size_t n_files = view->in_force.files ? fileset_count(view->in_force.files) : 0;

    for (size_t i = 0; i < n_files; i++)
        must_not_read(rendered(view, fileset_file(view->in_force.files, i).path).text, out);
    for (size_t i = 0; i < sizeof secret_files / sizeof *secret_files; i++)
        must_not_read(place_of(view, secret_files[i]).text, out);
    for (size_t i = 0; state && state->certificate && i < sizeof keys / sizeof *keys; i++) {
        DEFER(xfree) char *key = xasprintf("%s/%s", state->certificate, keys[i]);
        must_not_read(key, out);
    }
    for (size_t i = 0; i < sizeof closed_folders / sizeof *closed_folders; i++)
        must_not_enter(place_of(view, closed_folders[i]).text, out);
    for (size_t i = 0; i < sizeof closed_sockets / sizeof *closed_sockets; i++)
        must_not_connect(place_of(view, closed_sockets[i]).text, out);
}

/* The looks one by one, at a machine and a node that are made up; with the real uids of the daemons. */
#include "tasks/doctor.h"

#include "expect.h"

#include "base/path.h"
#include "base/proc.h"
#include "engine/layout.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static char root[] = "/tmp/doctor.XXXXXX";
static FileSet *files;
static Mail__Instance instance = MAIL__INSTANCE__INIT;
static Mail__Filter filter = MAIL__FILTER__INIT;
static Mail__Settings settings = MAIL__SETTINGS__INIT;
static char address[] = "127.0.200.85";
static char *listen_on[] = {address};
static NodeState node;
static Happened *happened;
static Supervise *supervise;
static Change *change;

static void put(const char *path, const char *text, mode_t mode, const char *group)
{
    Path name = path_in(root, "%s", path);
    char folder[PATH_SIZE];
    gid_t gid = (gid_t)-1;

    snprintf(folder, sizeof folder, "%s", name.text);
    *strrchr(folder, '/') = '\0';
    ok(folder_make(folder, 0755, 0, 0));
    if (group)
        ok(proc_group(group, &gid));
    ok(file_write(name.text, text, strlen(text), mode, gid));
}

static void closed(const char *folder, const char *group)
{
    Path path = path_in(root, "%s", folder);
    gid_t gid = (gid_t)-1;

    ok(proc_group(group, &gid));
    assert_int_equal(chown(path.text, (uid_t)-1, gid), 0);
    assert_int_equal(chmod(path.text, 0750), 0);
}

static int setup(void **state)
{
    (void)state;
    memcpy(root + strlen(root) - 6, "XXXXXX", 6);
    if (!mkdtemp(root) || chmod(root, 0755) != 0)
        return -1;
    ok(layout_make(root));
    happened = happened_new();
    ok(supervise_new(root, happened, &supervise));
    ok(change_new(root, supervise, happened, &change));
    files = fileset_new();
    buf_append_text(fileset_add(files, "redis/redis.conf", "redis"), "x");
    buf_append_text(fileset_add(files, "dovecot/dovecot.conf", NULL), "x");
    put("var/lib/mailnode/engine/current/redis/redis.conf", "x", 0640, "redis");
    put("var/lib/mailnode/engine/current/dovecot/dovecot.conf", "x", 0600, NULL);
    put("var/lib/mailnode/tables/mail.db", "x", 0640, "mailtables");
    put("var/lib/mailnode/tables/relay/secrets.db", "x", 0640, "postfix");
    put("var/lib/mailnode/tables/dkim/example.org.default.key", "x", 0640, "_rspamd");
    closed("var/lib/mailnode/tables/relay", "postfix");
    closed("var/lib/mailnode/tables/dkim", "_rspamd");
    instance.listen = listen_on;
    instance.n_listen = 1;
    filter.antivirus = true;
    node = (NodeState){.root = root,
                       .node = "mx1",
                       .instance_name = "main",
                       .instance = &instance,
                       .settings = &settings,
                       .filter = &filter,
                       .loopback = address};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fileset_free(&files);
    change_free(&change);
    supervise_free(&supervise);
    happened_free(&happened);
    return folder_remove(root);
}

static DoctorView view(const char *user)
{
    return (DoctorView){.root = root,
                        .system = root,
                        .in_force = {.generation = 1, .state = &node, .files = files},
                        .supervise = supervise,
                        .user = user};
}

typedef struct Eyes {
    DoctorView view;
    void (*look)(const DoctorView *view, Findings *out);
} Eyes;

static int look_and_say(void *context)
{
    const Eyes *eyes = context;
    Findings found = {0};
    DEFER(buf_done) Buf lines = {0};

    eyes->look(&eyes->view, &found);
    findings_write(&found, &lines);
    findings_done(&found);
    return write(STDOUT_FILENO, lines.data, lines.size) == (ssize_t)lines.size ? 0 : 1;
}

/* In a child with that user's rights; the lines it found, for the caller to free. */
static char *seen_by(const char *user, void (*look)(const DoctorView *view, Findings *out))
{
    Eyes eyes = {.view = view(user), .look = look};
    const ChildSpec spec = {.user = user, .deadline_ms = 10000};
    DEFER(child_free) Child *child = NULL;

    ok(child_fork(&spec, look_and_say, &eyes, &child));
    while (!child_run(child, clock_ms())) {
        Waiter wake = waiter_start();
        child_wait(child, &wake);
        waiter_block(&wake);
    }
    if (!child_succeeded(child))
        fail_msg("%s: %s", user, child_words(child));
    return xstrdup(child_words(child));
}

static void expect(const char *found, const char *words)
{
    if (*words ? !strstr(found, words) : *found)
        fail_msg("found '%s', wanted '%s'", found, words);
}

static void expect_seen_by(const char *user, void (*look)(const DoctorView *view, Findings *out), const char *words)
{
    DEFER(xfree) char *found = seen_by(user, look);

    expect(found, words);
}

/* ---- rights ---- */

static void daemons_read_and_write_what_is_theirs(void **state)
{
    static const char *const users[] = {"postfix", "dovecot", "vmail", "_rspamd", "redis", "clamav", "unbound"};
    (void)state;
    for (size_t i = 0; i < sizeof users / sizeof *users; i++)
        expect_seen_by(users[i], look_rights, "");
    assert_int_equal(chmod(path_in(root, "var/lib/mailnode/engine/current/redis/redis.conf").text, 0600), 0);
    expect_seen_by("redis", look_rights, "redis cannot read it: Permission denied");
    assert_int_equal(chmod(path_in(root, "var/lib/mailnode/engine").text, 0700), 0);
    expect_seen_by("redis", look_rights, "redis cannot read it: Permission denied");
    assert_int_equal(chmod(path_in(root, "var/lib/mailnode/tables/mail.db").text, 0600), 0);
    expect_seen_by("dovecot", look_rights, "mail.db\tdovecot cannot read it: Permission denied");
    expect_seen_by("vmail", look_rights, "mail.db\tvmail cannot read it: Permission denied");
    assert_int_equal(chmod(path_in(root, "var/lib/mailnode/tables/dkim/example.org.default.key").text, 0600), 0);
    expect_seen_by("_rspamd", look_rights, "example.org.default.key\t_rspamd cannot read it: Permission denied");
    assert_int_equal(chmod(path_in(root, "var/lib/mailnode/tables/dkim").text, 0700), 0);
    expect_seen_by("_rspamd", look_rights, "dkim\t_rspamd cannot look into it: Permission denied");
    assert_int_equal(chmod(path_in(root, "var/lib/mailnode/spool/postfix/incoming").text, 0500), 0);
    expect_seen_by("postfix", look_rights, "incoming\tpostfix cannot write there: Permission denied");
    filter.antivirus = false; /* then nobody needs the scanner's folder */
    assert_int_equal(chmod(path_in(root, "var/lib/mailnode/clamav").text, 0), 0);
    expect_seen_by("clamav", look_rights, "");
}

static void nobody_else_reads_anything(void **state)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    Path socket_path = path_in(root, "run/mailnode/engine/engine.sock");
    (void)state;
    expect_seen_by("nobody", look_rights_of_nobody, "");
    assert_int_equal(chmod(path_in(root, "var/lib/mailnode/engine/current/redis/redis.conf").text, 0644), 0);
    expect_seen_by("nobody", look_rights_of_nobody, "redis.conf\tevery user of this machine can read it");
    assert_int_equal(chmod(path_in(root, "var/lib/mailnode/tables").text, 0755), 0);
    assert_int_equal(chmod(path_in(root, "var/lib/mailnode/tables/dkim").text, 0751), 0);
    expect_seen_by("nobody", look_rights_of_nobody, "dkim\tevery user of this machine can look into it");
    assert_int_equal(chmod(path_in(root, "var/lib/mailnode/tables/mail.db").text, 0644), 0);
    expect_seen_by("nobody", look_rights_of_nobody, "mail.db\tevery user of this machine can read it");

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(to.sun_path, socket_path.text, strlen(socket_path.text) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(chmod(socket_path.text, 0666), 0);
    DEFER(xfree) char *closed = seen_by("nobody", look_rights_of_nobody);
    assert_null(strstr(closed, "engine.sock"));
    assert_int_equal(chmod(path_in(root, "run/mailnode/engine").text, 0755), 0);
    expect_seen_by("nobody", look_rights_of_nobody, "engine.sock\tevery user of this machine can connect to it");
    close(fd);
}

/* ---- the machine ---- */

static void expect_here(void (*look)(const DoctorView *view, Findings *out), const char *words)
{
    Findings found = {0};
    DEFER(buf_done) Buf lines = {0};
    DoctorView here = view(NULL);

    look(&here, &found);
    findings_write(&found, &lines);
    expect(buf_text(&lines), words);
    findings_done(&found);
}

static void profiles_must_know_our_folders(void **state)
{
    (void)state;
    expect_here(look_profiles, ""); /* no AppArmor */
    put("sys/module/apparmor/parameters/enabled", "N\n", 0644, NULL);
    expect_here(look_profiles, "");
    put("sys/module/apparmor/parameters/enabled", "Y\n", 0644, NULL);
    expect_here(look_profiles, "3\tprofiles\tAppArmor is on, and its list of profiles cannot be read");
    put("sys/kernel/security/apparmor/profiles", "man (enforce)\n/usr/sbin/clamd (complain)\n", 0644, NULL);
    expect_here(look_profiles, "");
    put("sys/kernel/security/apparmor/profiles", "man (enforce)\n/usr/sbin/clamd (enforce)\nunbound (complain)\n", 0644,
        NULL);
    expect_here(look_profiles, "2\t/usr/sbin/clamd\tits AppArmor profile does not know the folders of Mailnode");
    put("etc/apparmor.d/local/usr.sbin.clamd", "# nothing yet\n", 0644, NULL);
    expect_here(look_profiles, "2\t/usr/sbin/clamd\t");
    put("etc/apparmor.d/local/usr.sbin.clamd", "/var/lib/mailnode/clamav/** rwk,\n", 0644, NULL);
    expect_here(look_profiles, "");
}

static void packages_are_new_enough(void **state)
{
    (void)state;
    expect_here(look_versions, ""); /* ./check installs Debian 12's newest */
}

static void folders_that_are_missing_are_no_matter_of_disks(void **state)
{
    Findings found = {0};
    DoctorView here = view(NULL);
    (void)state;
    here.root = "/nonexistent";
    look_disk(&here, &found);
    assert_int_equal(found.n, 0);
    findings_done(&found);
}

/* ---- ports ---- */

static void strangers_on_our_ports_are_named(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(4190)};
    char words[64];
    (void)state;
    expect_here(look_ports, "");
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, address, &at.sin_addr);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    snprintf(words, sizeof words, "port 4190 of %s is in use by ", address);
    expect_here(look_ports, words);
    snprintf(words, sizeof words, "port 25 of %s does not answer: Connection refused", address);
    expect_seen_by("nobody", look_answers, words);
    DEFER(xfree) char *found = seen_by("nobody", look_answers);
    assert_null(strstr(found, "port 4190"));
    close(fd);
}

static void nothing_in_force_is_no_finding(void **state)
{
    static void (*const looks[])(const DoctorView *view, Findings *out) = {look_ports, look_answers, look_rights};
    Findings found = {0};
    DoctorView here = view("redis");
    (void)state;
    here.in_force = (InForce){0};
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
        looks[i](&here, &found);
    assert_int_equal(found.n, 0);
    findings_done(&found);
}

/* ---- all of it ---- */

static void everything_is_looked_at(void **state)
{
    Findings found = {0};
    DEFER(buf_done) Buf lines = {0};
    Doctor *doctor = doctor_new(root, change, supervise);
    (void)state;
    assert_int_equal(chmod(path_in(root, "run/mailnode/redis").text, 0777), 0);
    while (!doctor_run(doctor, clock_ms(), &found)) {
        Waiter wake = waiter_start();
        doctor_wait(doctor, &wake);
        waiter_block(&wake);
    }
    doctor_free(&doctor);
    findings_write(&found, &lines);
    expect(buf_text(&lines),
           "run/mailnode/redis\tis redis:_rspamd 0777, should be redis:_rspamd 2750; mailctl node check");
    assert_null(strstr(buf_text(&lines), "could not be looked at"));
    findings_done(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(daemons_read_and_write_what_is_theirs, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_else_reads_anything, setup, teardown),
        cmocka_unit_test_setup_teardown(profiles_must_know_our_folders, setup, teardown),
        cmocka_unit_test_setup_teardown(packages_are_new_enough, setup, teardown),
        cmocka_unit_test_setup_teardown(folders_that_are_missing_are_no_matter_of_disks, setup, teardown),
        cmocka_unit_test_setup_teardown(strangers_on_our_ports_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_in_force_is_no_finding, setup, teardown),
        cmocka_unit_test_setup_teardown(everything_is_looked_at, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

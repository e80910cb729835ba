/* With the real Dovecot: what it forgets, and whose session ends, is its own doing. */
#include "engine/refresh.h"

#include "expect.h"

#include "base/path.h"
#include "base/proc.h"
#include "engine/runfile.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char root[] = "/tmp/refresh.XXXXXX";
static pid_t dovecot;
static unsigned port;

static void folder(const char *name, const char *user)
{
    uid_t uid = 0;
    gid_t gid = 0;

    ok(proc_user(user, &uid, &gid));
    ok(folder_make(path_in(root, "%s", name).text, 0755, uid, gid));
}

static void tables_write(void)
{
    Path path = path_in(root, "var/lib/mailnode/tables/mail.db");
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path.text, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "CREATE TABLE gate(one INTEGER PRIMARY KEY, known TEXT, rest TEXT);"
                                  "CREATE TABLE userdb(name TEXT PRIMARY KEY, login INTEGER NOT NULL) WITHOUT ROWID;"
                                  "INSERT INTO gate VALUES(1, NULL, NULL);"
                                  "INSERT INTO userdb VALUES('alice', 1), ('bob', 0);",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(chmod(path.text, 0644), 0);
}

static void conf_write(void)
{
    DEFER(buf_done) Buf text = {0};

    buf_printf(&text,
               "base_dir = %s/run/mailnode/dovecot\nstate_dir = %s/state\nlog_path = %s/dovecot.log\n"
               "instance_name = refresh%u\nlisten = 127.0.200.82\nprotocols = imap\nssl = no\n"
               "disable_plaintext_auth = no\nauth_cache_size = 1M\nmail_location = maildir:%s/mail/%%u\n"
               "first_valid_uid = 1\ndefault_vsz_limit = 0\n",
               root, root, root, port, root);
    buf_printf(&text, "passdb {\n driver = static\n args = password=x\n}\n"
                      "userdb {\n driver = static\n args = uid=vmail gid=vmail home=/nonexistent\n}\n");
    buf_printf(&text,
               "service imap {\n service_count = 10\n}\nservice imap-login {\n service_count = 0\n"
               " inet_listener imap {\n port = %u\n }\n inet_listener imaps {\n port = 0\n }\n}\n",
               port);
    ok(file_write(path_in(root, "var/lib/mailnode/engine/current/dovecot/dovecot.conf").text, text.data, text.size,
                  0644, (gid_t)-1));
}

static void runfile_make(void)
{
    RunFile file = {.pid = dovecot};
    char state = 0;
    uint64_t ticks = 0;

    ok(proc_boot_id(file.boot_id));
    assert_true(process_look(dovecot, &file.start_time, file.program, &state, &ticks));
    ok(runfile_write(path_in(root, "var/lib/mailnode/engine/run/dovecot").text, &file));
}

static int connected(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, "127.0.200.82", &to.sin_addr);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Reads until 'words' came; false: the connection ended, or nothing came for ten seconds. */
static bool hears(int fd, const char *words)
{
    char text[4096] = "";
    size_t len = 0;

    while (!strstr(text, words)) {
        struct pollfd in = {.fd = fd, .events = POLLIN};
        ssize_t got = poll(&in, 1, 10000) == 1 ? read(fd, text + len, sizeof text - 1 - len) : 0;
        if (got <= 0)
            return false;
        len += (size_t)got;
        text[len] = '\0';
    }
    return true;
}

static void log_show(void)
{
    DEFER(buf_done) Buf text = {0};
    Error *err = file_read(path_in(root, "dovecot.log").text, 65536, &text);

    error_free(&err);
    fprintf(stderr, "%s\n", text.size ? buf_text(&text) : "(no log)");
}

static int start(void **state)
{
    (void)state;
    if (!mkdtemp(root) || chmod(root, 0755) != 0)
        return -1;
    port = 20000 + (unsigned)getpid() % 20000;
    folder("var/lib/mailnode/engine/current/dovecot", "root");
    folder("var/lib/mailnode/engine/run", "root");
    folder("var/lib/mailnode/tables", "root");
    folder("run/mailnode/dovecot", "root");
    folder("state", "root");
    folder("mail", "vmail");
    tables_write();
    conf_write();
    Path conf = path_in(root, "var/lib/mailnode/engine/current/dovecot/dovecot.conf");
    dovecot = fork();
    if (dovecot == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        setsid();
        execl("/usr/sbin/dovecot", "dovecot", "-F", "-c", conf.text, (char *)NULL);
        _exit(127);
    }
    int fd = -1;
    for (Msec until = clock_ms() + 10000; fd < 0 && clock_ms() < until; usleep(10000))
        fd = connected();
    if (fd < 0 || !hears(fd, "* OK")) {
        log_show();
        return -1;
    }
    close(fd);
    runfile_make();
    return 0;
}

static int stop(void **state)
{
    pid_t pids[64];
    (void)state;
    if (dovecot > 0) {
        size_t n = session_pids(dovecot, pids, 64);
        for (size_t i = 0; i < n; i++)
            kill(pids[i], SIGKILL);
        waitpid(dovecot, NULL, 0);
    }
    return folder_remove(root);
}

static int login(const char *user)
{
    char line[100];
    int fd = connected();

    assert_true(fd >= 0);
    int len = snprintf(line, sizeof line, "a LOGIN \"%s\" x\r\n", user);
    assert_int_equal(write(fd, line, (size_t)len), len);
    if (!hears(fd, "a OK")) {
        log_show();
        fail_msg("%s does not log in", user);
    }
    return fd;
}

static bool lives(int fd)
{
    return write(fd, "b NOOP\r\n", 8) == 8 && hears(fd, "b OK");
}

/* False: it has not ended within five seconds. */
static bool over(int fd)
{
    char text[1000];
    struct pollfd in = {.fd = fd, .events = POLLIN};

    for (Msec until = clock_ms() + 5000; clock_ms() < until;)
        if (poll(&in, 1, 5000) == 1 && read(fd, text, sizeof text) <= 0)
            return true;
    return false;
}

static const InForce *running(void)
{
    static NodeState state;
    static InForce in_force;

    state.instance_name = "main";
    in_force.state = &state;
    return &in_force;
}

static Error *refreshed(const InForce *in_force, char *const *users, size_t n)
{
    DEFER(refreshing_free) Refreshing *refreshing = NULL;

    Mail__EngineRefresh wanted = MAIL__ENGINE_REFRESH__INIT;
    wanted.users = (char **)(uintptr_t)users;
    wanted.n_users = n;
    Error *err = refreshing_start(in_force, root, &wanted, &refreshing);
    if (err)
        return err;
    for (Msec until = clock_ms() + 10000; !refreshing_run(refreshing, clock_ms());) {
        Waiter wake = waiter_start();
        refreshing_wait(refreshing, &wake);
        waiter_at(&wake, until);
        waiter_block(&wake);
        if (clock_ms() >= until)
            fail_msg("it does not end");
    }
    return refreshing_error(refreshing);
}

static void sessions_of_the_closed_end(void **state)
{
    static char name_bob[] = "bob", name_alice[] = "alice";
    char *bob[] = {name_bob, name_alice};
    int alice_in = login("alice"), bob_in = login("bob"), carol_in = login("carol"), ip_in = login("127.0.0.1");
    (void)state;
    ok(refreshed(running(), bob, 2));
    assert_true(over(bob_in));
    assert_true(lives(carol_in)); /* was not named */
    assert_true(lives(alice_in)); /* named, and may */

    ok(refreshed(running(), NULL, 0));
    assert_true(over(carol_in)); /* is no user */
    assert_true(over(ip_in));
    assert_true(lives(alice_in)); /* a name that is everybody's address has ended nobody else */
    close(alice_in);
    close(bob_in);
    close(carol_in);
    close(ip_in);
}

static void without_dovecot_it_is_done(void **state)
{
    const InForce nothing = {0};
    Path file = path_in(root, "var/lib/mailnode/engine/run/dovecot");
    (void)state;
    ok(refreshed(&nothing, NULL, 0));
    ok(runfile_remove(file.text));
    ok(refreshed(running(), NULL, 0));
    runfile_make();
}

/* A Dovecot that is not there any more where its run-file says it is, and one that does not answer. */
static void words_of_doveadm_are_the_answer(void **state)
{
    Path conf = path_in(root, "var/lib/mailnode/engine/current/dovecot/dovecot.conf");
    Path aside = path_in(root, "aside.conf");
    (void)state;
    assert_int_equal(rename(conf.text, aside.text), 0);
    fails(refreshed(running(), NULL, 0), ERROR_UNAVAILABLE, "refresh: Fatal: Error reading configuration: stat(");
    assert_int_equal(rename(aside.text, conf.text), 0);
}

static void names_are_looked_at_again(void **state)
{
    static const struct {
        const char *name, *error;
    } rows[] = {
        {"", "refresh: user '': names nobody"},
        {"Alice", "refresh: user 'Alice': not in its one form"},
        {"../x", "refresh: user '../x': '/' is not allowed"},
        {"a@b", "refresh: user 'a@b': '@' is not allowed"},
        {"..", "refresh: user '..': no name of a user or group"},
        {"a\nb", "refresh: user 'a\nb': "},
        {" a", "refresh: user ' a': "},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[20];
        snprintf(name, sizeof name, "%s", rows[i].name);
        char *users[] = {name};
        Error *err = refreshed(running(), users, 1);
        if (!err || !strstr(err->what, rows[i].error))
            fail_msg("'%s': %s", rows[i].name, err ? err->what : "taken");
        fails(err, ERROR_INVALID, rows[i].error);
    }
    char dash[] = "--help";
    char *many[10001], *odd[] = {dash};
    ok(refreshed(running(), odd, 1)); /* a name, not an option */
    for (size_t i = 0; i < 10001; i++)
        many[i] = dash;
    ok(refreshed(running(), many, 10000));
    fails(refreshed(running(), many, 10001), ERROR_INVALID, "refresh: 10001 users, at most 10000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_of_the_closed_end),
        cmocka_unit_test(without_dovecot_it_is_done),
        cmocka_unit_test(words_of_doveadm_are_the_answer),
        cmocka_unit_test(names_are_looked_at_again),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

/* The real restic, on a folder, over REST (rclone) and over sftp (sshd); as root, as jobs run. */
#include "tasks/restic.h"

#include "base/loop.h"
#include "base/path.h"
#include "base/proc.h"
#include "expect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { PATIENCE_MS = 30000 };

static char root[] = "/tmp/restic-XXXXXX";
static char *tree; /* what is backed up */

/* ---- a job that the test plays ---- */

struct Job {
    int ends[2];
    bool end_it; /* as soon as restic runs */
    bool look;   /* at the restic that runs */
    bool looked;
    uint64_t done;
};

static Job job = {.ends = {-1, -1}};

static pid_t child_running(const char *program)
{
    DEFER(buf_done) Buf children = {0};
    DEFER(xfree) char *path = xasprintf("/proc/self/task/%d/children", (int)getpid());
    char name[16] = "";
    char *rest = NULL;

    Error *err = file_read(path, 4096, &children);
    error_free(&err);
    DEFER(xfree) char *pids = xstrdup(buf_text(&children));
    for (char *pid = strtok_r(pids, " ", &rest); pid; pid = strtok_r(NULL, " ", &rest)) {
        DEFER(xfree) char *comm = xasprintf("/proc/%s/comm", pid);
        FILE *file = fopen(comm, "re");
        if (file && fgets(name, sizeof name, file) && strncmp(name, program, strlen(program)) == 0) {
            fclose(file);
            return (pid_t)strtol(pid, NULL, 10);
        }
        if (file)
            fclose(file);
    }
    return 0;
}

/* Empty when it has just ended. */
static void proc_text(pid_t pid, const char *name, Buf *out)
{
    DEFER(xfree) char *path = xasprintf("/proc/%d/%s", (int)pid, name);

    Error *err = file_read(path, 65536, out);
    if (err)
        buf_clear(out);
    error_free(&err);
    for (size_t i = 0; i < out->size; i++)
        if (out->data[i] == '\0')
            out->data[i] = ' ';
}

/* What others on the machine can see of it, and what it may. */
static void look_at(pid_t pid)
{
    DEFER(buf_done) Buf line = {0}, env = {0}, status = {0};

    proc_text(pid, "cmdline", &line);
    proc_text(pid, "environ", &env);
    proc_text(pid, "status", &status);
    if (!line.size || !env.size || !status.size)
        return;
    assert_null(strstr(buf_text(&line), "s3cret"));
    assert_null(strstr(buf_text(&env), "s3cret"));
    assert_null(strstr(buf_text(&env), "LEAK"));
    assert_non_null(strstr(buf_text(&env), "RESTIC_PASSWORD_FILE=/proc/self/fd/"));
    if (strstr(buf_text(&line), " backup ")) {
        assert_non_null(strstr(buf_text(&status), "CapPrm:\t0000000000000004"));
        assert_non_null(strstr(buf_text(&status), "CapEff:\t0000000000000004"));
        assert_non_null(strstr(buf_text(&status), "CapBnd:\t0000000000000004"));
    } else {
        assert_non_null(strstr(buf_text(&status), "CapPrm:\t0000000000000000"));
        assert_non_null(strstr(buf_text(&status), "CapBnd:\t0000000000000000"));
    }
    assert_non_null(strstr(buf_text(&status), "NoNewPrivs:\t1"));
    uid_t uid = 0;
    gid_t gid = 0;
    ok(proc_user("mailbackup", &uid, &gid));
    DEFER(xfree) char *uids = xasprintf("Uid:\t%d\t%d\t%d\t%d", (int)uid, (int)uid, (int)uid, (int)uid);
    assert_non_null(strstr(buf_text(&status), uids));
    job.looked = true;
}

bool job_cancelled(Job *of)
{
    pid_t pid = of->look || of->end_it ? child_running("restic") : 0;

    if (pid && of->look)
        look_at(pid);
    return pid && of->end_it;
}

int job_fd(const Job *of)
{
    return of->ends[0];
}

void job_progress(Job *of, uint64_t done, uint64_t of_all, const char *unit)
{
    (void)of_all;
    (void)unit;
    of->done = done;
}

const char *job_root(const Job *of)
{
    (void)of;
    return root;
}

/* ---- a node's folders, and destinations ---- */

static char *below(const char *path)
{
    return xasprintf("%s/%s", root, path);
}

static void folder(const char *path, const char *user)
{
    DEFER(xfree) char *whole = below(path);
    uid_t uid = 0;
    gid_t gid = 0;

    ok(proc_user(user, &uid, &gid));
    ok(folder_make(whole, 0700, uid, gid));
    assert_int_equal(chown(whole, uid, gid), 0);
}

static void file(const char *path, const char *text)
{
    DEFER(xfree) char *whole = xasprintf("%s/%s", tree, path);

    ok(file_write(whole, text, strlen(text), 0600, (gid_t)-1));
}

static Secret *password;

typedef struct Vault { /* what a test opens */
    Mail__Destination destination;
    char *address;
    Secret *env, *key;
    ResticSpec spec;
    Restic *restic;
} Vault;

static void vault_done(Vault *vault)
{
    restic_free(&vault->restic);
    secret_free(&vault->env);
    secret_free(&vault->key);
    xfree(&vault->address);
}

/* Takes the address. */
static void vault_set(Vault *vault, char *address)
{
    mail__destination__init(&vault->destination);
    vault->address = vault->destination.repository = address;
    vault->spec = (ResticSpec){.job = &job,
                               .instance = "main",
                               .destination_name = "vault",
                               .destination = &vault->destination,
                               .password = password,
                               .answer_s = 20};
}

static void vault_open(Vault *vault, char *address)
{
    vault_set(vault, address);
    vault->spec.env = vault->env;
    vault->spec.ssh_key = vault->key;
    ok(restic_open(&vault->spec, &vault->restic));
}

static char *local(const char *name)
{
    return xasprintf("local:%s/var/lib/mailnode/backup/%s", root, name);
}

static const char *const all[] = {"mail", "state", NULL};
static const char *const tags[] = {"mailnode", "plan=nightly", NULL};

static void back_up(Vault *vault, ResticSummary *ret)
{
    ok(restic_backup(vault->restic, tree, all, tags, ret));
}

/* NOLINTBEGIN(clang-analyzer-valist.Unterminated): the analyzer takes a new secret for an open va_list */
static int make(void **state)
{
    (void)state;
    if (!mkdtemp(root) || chmod(root, 0755) != 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, job.ends) != 0)
        return -1;
    setenv("LEAK", "s3cret", 1);
    folder("run/mailnode/engine", "root");
    folder("var/lib/mailnode/restic", "mailbackup");
    folder("var/lib/mailnode/restic/cache", "mailbackup");
    folder("var/lib/mailnode/restic/tmp", "mailbackup");
    folder("var/lib/mailnode/backup", "mailbackup");
    folder("work", "root");
    folder("work/mail", "root");
    folder("work/state", "root");
    tree = below("work");
    file("state/manifest", "one\ttwo\n");
    file("mail/a", "first message\n");
    password = secret_new("s3cret word", 11);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    secret_free(&password);
    xfree(&tree);
    close(job.ends[0]);
    close(job.ends[1]);
    return folder_remove(root);
}

static int quiet(void **state)
{
    (void)state;
    job.end_it = job.look = job.looked = false;
    return 0;
}

/* ---- the way there and back ---- */

static Error *count_snapshot(void *context, const ResticSnapshot *snapshot)
{
    assert_string_equal(snapshot->host, "main");
    assert_int_equal(snapshot->n_tags, 2);
    (*(size_t *)context)++;
    return NULL;
}

static size_t n_snapshots(Vault *vault)
{
    size_t n = 0;

    ok(restic_snapshots(vault->restic, count_snapshot, &n));
    return n;
}

static Error *note_node(void *context, const ResticNode *node)
{
    buf_printf(context, "%c %s %llu\n", node->type, node->path, (unsigned long long)node->size);
    return NULL;
}

static void restore(Vault *vault, const char *snapshot, const char *target, const char *const *paths, size_t n)
{
    DEFER(xfree) char *whole = below(target);

    folder(target, "mailbackup");
    ok(restic_restore(vault->restic, snapshot, whole, paths, n, NULL, NULL));
}

static bool there(const char *path)
{
    DEFER(xfree) char *whole = below(path);

    return access(whole, F_OK) == 0;
}

/* What every destination must do. */
static void there_and_back(Vault *vault)
{
    static const char *const manifest[] = {"/state/manifest"};
    static const char *const folders[] = {"/state", "/nothing"};
    DEFER(buf_done) Buf text = {0}, list = {0};
    ResticSummary summary = {0};

    ok(restic_init(vault->restic));
    fails(restic_init(vault->restic), ERROR_EXISTS, "vault: init: there is a repository already");
    back_up(vault, &summary);
    assert_true(restic_id_valid(summary.snapshot));
    assert_true(summary.files >= 2 && summary.added > 0);
    ok(restic_dump(vault->restic, summary.snapshot, "/state/manifest", 100, &text));
    assert_string_equal(buf_text(&text), "one\ttwo\n");
    ok(restic_ls(vault->restic, summary.snapshot, folders, 2, note_node, &list));
    assert_string_equal(buf_text(&list), "d /state 0\nf /state/manifest 8\n");
    restore(vault, summary.snapshot, "back", manifest, 1);
    assert_true(there("back/state/manifest"));
    assert_false(there("back/mail"));
    DEFER(xfree) char *back = below("back");
    folder_remove(back);
}

static void test_local(void **state)
{
    DEFER(vault_done) Vault vault = {0};
    ResticSummary summary = {0};
    DEFER(buf_done) Buf text = {0};
    char id[65];
    size_t n = 0;
    (void)state;

    job.look = true;
    vault_open(&vault, local("local"));
    there_and_back(&vault);
    assert_true(job.looked);
    job.look = false;
    back_up(&vault, &summary);
    assert_int_equal(n_snapshots(&vault), 2);
    ok(restic_resolve(vault.restic, "latest", 0, id));
    assert_string_equal(id, summary.snapshot);
    fails(restic_dump(vault.restic, summary.snapshot, "/state/manifest", 3, &text), ERROR_INVALID,
          "more than 3 octets");
    fails(restic_dump(vault.restic, summary.snapshot, "/state/no", 3, &text), ERROR_NOT_FOUND, "not in the snapshot");
    fails(restic_dump(vault.restic, "latest", "/state/manifest", 99, &text), ERROR_INVALID, "not an id");
    ok(restic_forget(vault.restic, "plan=other", &(ResticKeep){.last = 1}, &n));
    assert_int_equal(n, 0);
    ok(restic_forget(vault.restic, "plan=nightly", &(ResticKeep){.daily = 1}, &n));
    assert_int_equal(n, 1);
    ok(restic_prune(vault.restic));
    ok(restic_check(vault.restic, 100));
    assert_int_equal(n_snapshots(&vault), 1);
}

/* restic leaves out what is not there, and says 0. */
static void test_sources_are_looked_at(void **state)
{
    static const char *const gone[] = {"mail", "gone", NULL};
    DEFER(vault_done) Vault vault = {0};
    ResticSummary summary = {0};
    (void)state;

    vault_open(&vault, local("sources"));
    fails(restic_backup(vault.restic, tree, gone, tags, &summary), ERROR_SYSTEM, "work/gone");
}

/* BACKUP.md 4: names that are patterns, or nearly others. */
static const char *const hostile[] = {
    ".A",         ".a",         ".Archive", ".ArchiveOld", ".Archive.2020", ".st",    ".st*ar",
    ".*",         ".**",        ".?",       ".q",          ".[abc]",        ".b",     ".brack[et]",
    ".bracket",   ".[!a]",      ".[",       ".]",          ".back\\slash",  ".\\*",   ".sp ace",
    ". lead",     ".trail ",    ".-dash",   ".!bang",      ".$HOME",        ".$(id)", ".`id`",
    ".new\nline", ".tab\there", ".qu\"ote", ".qu'ote",     ".{a,b}",        ".&AOQ-", ".~",
    ".%s%n",      ".a,b",
};
enum { N_HOSTILE = sizeof hostile / sizeof *hostile };

static void hostile_half(Vault *vault, const char *snapshot, size_t odd)
{
    char *paths[N_HOSTILE];
    size_t n = 0;

    for (size_t i = odd; i < N_HOSTILE; i += 2)
        paths[n++] = xasprintf("/mail/u/%s/cur", hostile[i]);
    restore(vault, snapshot, "names", (const char *const *)paths, n);
    for (size_t i = 0; i < N_HOSTILE; i++) {
        DEFER(xfree) char *is = xasprintf("names/mail/u/%s/cur/message", hostile[i]);
        if (there(is) != (i % 2 == odd))
            fail_msg("'%s' %s", hostile[i], i % 2 == odd ? "did not come" : "came along");
    }
    for (size_t i = 0; i < n; i++)
        free(paths[i]);
    DEFER(xfree) char *names = below("names");
    folder_remove(names);
}

static void test_F_061_hostile_names(void **state)
{
    DEFER(vault_done) Vault vault = {0};
    ResticSummary summary = {0};
    (void)state;

    assert_int_equal(N_HOSTILE, 37);
    for (size_t i = 0; i < N_HOSTILE; i++) {
        DEFER(xfree) char *cur = xasprintf("work/mail/u/%s/cur", hostile[i]);
        DEFER(xfree) char *message = xasprintf("mail/u/%s/cur/message", hostile[i]);
        folder(cur, "root");
        file(message, hostile[i]);
    }
    vault_open(&vault, local("names"));
    ok(restic_init(vault.restic));
    back_up(&vault, &summary);
    hostile_half(&vault, summary.snapshot, 0);
    hostile_half(&vault, summary.snapshot, 1);
}

/* ---- troubles ---- */

static void test_R41_missing_and_wrong_password(void **state)
{
    DEFER(vault_done) Vault vault = {0}, wrong = {0}, holds = {0};
    DEFER(secret_free) Secret *other = secret_new("another one", 11);
    (void)state;

    vault_open(&vault, local("password"));
    fails(restic_probe(vault.restic, 0), ERROR_NOT_FOUND, "vault: open: there is no repository\n    ");
    assert_int_equal(restic_trouble(vault.restic), RESTIC_MISSING);
    ok(restic_init(vault.restic));
    vault_set(&wrong, local("password"));
    wrong.spec.password = other;
    ok(restic_open(&wrong.spec, &wrong.restic));
    fails(restic_probe(wrong.restic, 0), ERROR_DENIED, "wrong password");
    assert_int_equal(restic_trouble(wrong.restic), RESTIC_WRONG_PASSWORD);
    fails(restic_init(wrong.restic), ERROR_DENIED, "wrong password"); /* and makes nothing */
    ok(restic_probe(vault.restic, 0));

    folder("var/lib/mailnode/backup/holds", "mailbackup");
    folder("var/lib/mailnode/backup/holds/main", "mailbackup");
    folder("var/lib/mailnode/backup/holds/main/data", "mailbackup"); /* a repository that lost its config, say */
    vault_open(&holds, local("holds"));
    fails(restic_init(holds.restic), ERROR_EXISTS, "holds something that is no repository");
}

/* A restic that is not ours (user NULL: root's), and holds its lock until it is told to go on. */
static pid_t other_restic(const char *repository, const char *user, const char *host, int *ret_stdin)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        DEFER(xfree) char *path = xasprintf("%s/var/lib/mailnode/backup/%s/main", root, repository);
        DEFER(xfree) char *cache = below(user ? "var/lib/mailnode/restic/cache" : "cache-of-root");
        if (host && (unshare(CLONE_NEWUTS) != 0 || sethostname(host, strlen(host)) != 0))
            _exit(1);
        if (user)
            ok(proc_become(user));
        setenv("RESTIC_PASSWORD", "s3cret word", 1);
        setenv("RESTIC_REPOSITORY", path, 1);
        setenv("RESTIC_CACHE_DIR", cache, 1);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ends[0], 0);
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        execl("/usr/bin/restic", "restic", "backup", "--stdin", (char *)NULL);
        _exit(1);
    }
    close(ends[0]);
    *ret_stdin = ends[1];
    return pid;
}

static size_t n_locks(const char *repository)
{
    DEFER(xfree) char *path = xasprintf("%s/var/lib/mailnode/backup/%s/main/locks", root, repository);
    DEFER(dir_close) DIR *dir = opendir(path);
    size_t n = 0;

    for (const struct dirent *entry; dir && (entry = readdir(dir));)
        n += strlen(entry->d_name) == 64; /* whole ones */
    return n;
}

static void wait_for_lock(const char *repository)
{
    for (Msec until = clock_ms() + PATIENCE_MS; n_locks(repository) == 0;) {
        assert_true(clock_ms() < until);
        usleep(20000);
    }
}

static void test_R41_lock_live_and_stale(void **state)
{
    DEFER(vault_done) Vault vault = {0};
    int in = -1, status = 0;
    (void)state;

    vault_open(&vault, local("locked"));
    ok(restic_init(vault.restic));
    pid_t pid = other_restic("locked", "mailbackup", NULL, &in);
    wait_for_lock("locked");
    fails(restic_check(vault.restic, 0), ERROR_UNAVAILABLE, "locked by another restic");
    assert_int_equal(restic_trouble(vault.restic), RESTIC_LOCKED);
    assert_int_equal(n_locks("locked"), 1);   /* a live one stays */
    assert_int_equal(n_snapshots(&vault), 0); /* and reading goes on */
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    close(in);
    assert_int_equal(n_locks("locked"), 1);
    ok(restic_check(vault.restic, 0)); /* takes the dead one's away */
    assert_int_equal(n_locks("locked"), 0);
}

/* Its lock is for root's eyes alone: ours says at once who it is, lets a live one be, and takes a dead one away. */
static void test_R41_lock_of_root(void **state)
{
    DEFER(vault_done) Vault vault = {0};
    int in = -1, status = 0;
    (void)state;

    vault_open(&vault, local("root"));
    ok(restic_init(vault.restic));
    pid_t pid = other_restic("root", NULL, NULL, &in);
    wait_for_lock("root");
    Msec begun = clock_ms();
    Error *err = restic_check(vault.restic, 0);
    assert_non_null(err);
    if (!strstr(err->what, "locked by another restic") || !strstr(err->what, "by root (UID 0") ||
        !strstr(err->what, "lock was created at"))
        fail_msg("%s", err->what);
    error_free(&err);
    assert_int_equal(restic_trouble(vault.restic), RESTIC_LOCKED);
    assert_true(clock_ms() < begun + 20000); /* not the 300 s of what stands still */
    assert_int_equal(n_locks("root"), 1);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    close(in);
    assert_int_equal(n_locks("root"), 1);
    ok(restic_check(vault.restic, 0));
    assert_int_equal(n_locks("root"), 0);
}

/* Nobody here knows whether a restic of another machine lives: its lock stays, whatever the clocks say. */
static void test_R16_lock_of_another_machine(void **state)
{
    DEFER(vault_done) Vault vault = {0};
    int in = -1, status = 0;
    (void)state;

    vault_open(&vault, local("elsewhere"));
    ok(restic_init(vault.restic));
    pid_t pid = other_restic("elsewhere", "mailbackup", "another-machine", &in);
    wait_for_lock("elsewhere");
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    close(in);
    fails(restic_check(vault.restic, 0), ERROR_UNAVAILABLE, "another-machine");
    assert_int_equal(n_locks("elsewhere"), 1);
}

static void test_R41_damaged(void **state)
{
    static const char *const paths[] = {"/mail"};
    DEFER(vault_done) Vault vault = {0};
    ResticSummary summary = {0};
    (void)state;

    vault_open(&vault, local("damaged"));
    ok(restic_init(vault.restic));
    back_up(&vault, &summary);
    DEFER(xfree) char *data = xasprintf("%s/var/lib/mailnode/backup/damaged/main/data", root);
    DEFER(xfree)
    char *spoil = xasprintf(
        "for f in %s/*/*; do chmod u+w $f; printf XXXX | dd of=$f bs=1 seek=40 conv=notrunc status=none; done", data);
    pid_t pid = fork();
    int status = 0;
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", spoil, (char *)NULL);
        _exit(1);
    }
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    fails(restic_check(vault.restic, 100), ERROR_DAMAGED, "the repository is damaged");
    assert_int_equal(restic_trouble(vault.restic), RESTIC_DAMAGED);
    DEFER(xfree) char *target = below("spoilt");
    folder("spoilt", "mailbackup");
    Error *err = restic_restore(vault.restic, summary.snapshot, target, paths, 1, NULL, NULL);
    assert_non_null(err);
    error_free(&err);
}

static void test_cancelled_takes_its_lock_away(void **state)
{
    DEFER(vault_done) Vault vault = {0};
    ResticSummary summary = {0};
    (void)state;

    vault_open(&vault, local("cancelled"));
    ok(restic_init(vault.restic));
    job.end_it = true;
    fails(restic_backup(vault.restic, tree, all, tags, &summary), ERROR_CONFLICT, "vault: backup: cancelled");
    job.end_it = false;
    assert_int_equal(n_locks("cancelled"), 0);
    assert_int_equal(n_snapshots(&vault), 0);
}

/* ---- over the network ---- */

static pid_t begin(const char *const *argv)
{
    pid_t pid = fork();

    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        execv(argv[0], (char *const *)argv);
        _exit(1);
    }
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* A listener of the test's, or the number of a port that nobody has. */
static int listener(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static uint16_t free_port(void)
{
    uint16_t port = 0;

    close(listener(&port));
    return port;
}

static void wait_for_port(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};

    for (Msec until = clock_ms() + PATIENCE_MS;;) {
        DEFER(fd_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
            return;
        assert_true(clock_ms() < until);
        usleep(20000);
    }
}

static void test_rest(void **state)
{
    DEFER(vault_done) Vault vault = {0}, stranger = {0};
    DEFER(xfree) char *data = below("rest");
    DEFER(xfree) char *config = below("rclone.conf");
    uint16_t port = free_port();
    DEFER(xfree) char *at = xasprintf("127.0.0.1:%u", port);
    const char *const server[] = {"/usr/bin/rclone", "serve", "restic", "--config", config, "--addr", at,
                                  "--user",          "bk",    "--pass", "s3cret/x", data,   NULL};
    (void)state;

    pid_t pid = begin(server);
    wait_for_port(port);
    static const char login[] = "RESTIC_REST_USERNAME=bk\nRESTIC_REST_PASSWORD=s3cret/x\n";
    vault.env = secret_new(login, strlen(login));
    job.look = true;
    vault_open(&vault, xasprintf("rest:http://%s/mail/", at));
    there_and_back(&vault);
    assert_true(job.looked);
    vault_open(&stranger, xasprintf("rest:http://%s/mail/", at));
    fails(restic_init(stranger.restic), ERROR_DENIED, "the storage refuses the login");
    assert_int_equal(restic_trouble(stranger.restic), RESTIC_LOGIN);
    end(pid);
    Error *err = restic_probe(vault.restic, 0);
    assert_non_null(err);
    assert_null(strstr(err->what, "s3cret"));
    fails(err, ERROR_UNAVAILABLE, "vault: open: the storage does not answer");
    assert_int_equal(restic_trouble(vault.restic), RESTIC_UNREACHABLE);
}

/* It takes connections, and says nothing. */
static void test_F_063_silence_has_a_limit(void **state)
{
    DEFER(vault_done) Vault vault = {0};
    uint16_t port = 0;
    DEFER(fd_close) int fd = listener(&port);
    Msec begun = clock_ms();
    (void)state;

    assert_int_equal(listen(fd, 5), 0);
    vault_open(&vault, xasprintf("rest:http://127.0.0.1:%u/mail/", port));
    fails(restic_probe(vault.restic, 1), ERROR_UNAVAILABLE, "does not answer (gave up after 1 s)");
    assert_int_equal(restic_trouble(vault.restic), RESTIC_UNREACHABLE);
    assert_true(clock_ms() - begun < 8000);
}

/* Nothing moves: a backup is not waited for for ever, either. */
static void test_stalled(void **state)
{
    DEFER(vault_done) Vault vault = {0};
    uint16_t port = 0;
    DEFER(fd_close) int fd = listener(&port);
    ResticSummary summary = {0};
    (void)state;

    assert_int_equal(listen(fd, 5), 0);
    vault_set(&vault, xasprintf("rest:http://127.0.0.1:%u/mail/", port));
    vault.spec.stall_s = 2;
    ok(restic_open(&vault.spec, &vault.restic));
    fails(restic_backup(vault.restic, tree, all, tags, &summary), ERROR_UNAVAILABLE, "(nothing moved for 2 s)");
}

static void run_through(const char *const *argv)
{
    int status = 0;

    waitpid(begin(argv), &status, 0);
    assert_int_equal(status, 0);
}

static void keygen(const char *path)
{
    const char *const argv[] = {"/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path, NULL};

    run_through(argv);
}

typedef struct Sshd {
    pid_t pid;
    uint16_t port;
    Buf key;
    char *hosts; /* one line */
} Sshd;

static void sshd_start(Sshd *sshd)
{
    DEFER(xfree) char *host = below("host"), *login = below("login"), *config = below("sshd_config");
    DEFER(xfree) char *public = below("host.pub");
    DEFER(buf_done) Buf text = {0}, host_key = {0};
    const char *const server[] = {"/usr/sbin/sshd", "-D", "-f", config, NULL};

    sshd->port = free_port();
    keygen(host);
    keygen(login);
    buf_printf(&text,
               "Port %u\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s.pub\nStrictModes no\nUsePAM no\n"
               "PermitRootLogin yes\nSubsystem sftp internal-sftp\nForceCommand internal-sftp\nPidFile none\n",
               sshd->port, host, login);
    ok(file_write(config, text.data, text.size, 0600, (gid_t)-1));
    ok(folder_make("/run/sshd", 0755, 0, 0));
    ok(file_read(login, 8192, &sshd->key));
    ok(file_read(public, 8192, &host_key));
    size_t len = strcspn(buf_text(&host_key), "\n");
    sshd->hosts = xasprintf("[127.0.0.1]:%u %.*s", sshd->port, (int)len, buf_text(&host_key));
    sshd->pid = begin(server);
    wait_for_port(sshd->port);
}

static void test_sftp(void **state)
{
    DEFER(vault_done) Vault vault = {0}, stranger = {0}, bare = {0};
    Sshd sshd = {0};
    (void)state;

    sshd_start(&sshd);
    char *address = xasprintf("sftp://root@127.0.0.1:%u/%s/sftp", sshd.port, root);
    char *hosts = sshd.hosts;
    vault.key = secret_new(sshd.key.data, sshd.key.size);
    vault_set(&vault, address);
    vault.destination.known_hosts = &hosts;
    vault.destination.n_known_hosts = 1;
    vault.spec.ssh_key = vault.key;
    ok(restic_open(&vault.spec, &vault.restic));
    there_and_back(&vault);

    DEFER(xfree) char *other = below("other");
    DEFER(buf_done) Buf other_key = {0};
    keygen(other);
    ok(file_read(other, 8192, &other_key));
    stranger.key = secret_new(other_key.data, other_key.size);
    vault_set(&stranger, xstrdup(address));
    stranger.destination.known_hosts = &hosts;
    stranger.destination.n_known_hosts = 1;
    stranger.spec.ssh_key = stranger.key;
    ok(restic_open(&stranger.spec, &stranger.restic));
    fails(restic_probe(stranger.restic, 0), ERROR_DENIED, "the storage refuses the login");
    assert_int_equal(restic_trouble(stranger.restic), RESTIC_LOGIN);
    vault_set(&bare, xstrdup(address));
    fails(restic_open(&bare.spec, &bare.restic), ERROR_INVALID, "vault: sftp: needs ssh-key and known-hosts");
    end(sshd.pid);
    fails(restic_probe(vault.restic, 0), ERROR_UNAVAILABLE, "the storage does not answer");
    buf_done(&sshd.key);
    xfree(&sshd.hosts);
}

#define ONE(test) cmocka_unit_test_setup(test, quiet)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE(test_local),
        ONE(test_sources_are_looked_at),
        ONE(test_F_061_hostile_names),
        ONE(test_R41_missing_and_wrong_password),
        ONE(test_R41_lock_live_and_stale),
        ONE(test_R41_lock_of_root),
        ONE(test_R16_lock_of_another_machine),
        ONE(test_R41_damaged),
        ONE(test_cancelled_takes_its_lock_away),
        ONE(test_rest),
        ONE(test_F_063_silence_has_a_limit),
        ONE(test_stalled),
        ONE(test_sftp),
    };

    return cmocka_run_group_tests(tests, make, clean);
}
/* NOLINTEND(clang-analyzer-valist.Unterminated) */

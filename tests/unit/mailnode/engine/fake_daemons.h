/* fake_daemons.h - three daemons that are this very program, for the tests of supervise
 *
 * ROOT/mode-NAME says how one behaves; ROOT/beat-NAME is what it shows: its pid and the configuration it has taken, anew
 * every few milliseconds.  A probe is right when the beat goes on with the configuration that is wanted of it.
 */
#pragma once
#include "engine/supervise_inside.h"

#include "base/alloc.h"
#include "base/log.h"

#include "expect.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* "one" reloads; "two" needs "one", and is restarted; "three" reads tables. */
#define ONE ((DaemonId)0)
#define TWO ((DaemonId)1)
#define THREE ((DaemonId)2)
#define N_FAKES 3
static const char *const fake_names[N_FAKES] = {"one", "two", "three"};

static char fake_root[64];
static char fake_exe[256];

/* ---- files ------------------------------------------------------------------------- */

static inline Path fake_path(const char *kind, const char *name)
{
    return path_in(fake_root, "%s-%s", kind, name);
}

static inline void fake_put(const char *kind, const char *name, const char *text)
{
    Path path = fake_path(kind, name);
    Path temp = path_in(fake_root, "temp-%s-%s-%d", kind, name, (int)getpid());

    FILE *file = fopen(temp.text, "we");
    fputs(text, file);
    fclose(file);
    rename(temp.text, path.text);
}

static inline void fake_get(const char *kind, const char *name, char ret_text[128])
{
    FILE *file = fopen(fake_path(kind, name).text, "re");
    size_t len = file ? fread(ret_text, 1, 127, file) : 0;

    ret_text[len] = '\0';
    if (file)
        fclose(file);
}

static inline void fake_pause(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* ---- the daemon -------------------------------------------------------------------- */

static volatile sig_atomic_t fake_hup, fake_term;

static inline void fake_on_signal(int number)
{
    if (number == SIGHUP)
        fake_hup = 1;
    else
        fake_term = 1;
}

/* Modes: exit, mute (never answers), die-on-hup, refuse-hup, deaf (ignores SIGTERM), orphan (leaves a child behind that
 * ignores SIGTERM), hang-on-hup. */
static inline int fake_daemon(const char *name)
{
    char mode[128];
    char conf[128];
    char beat[512];
    unsigned long count = 0;
    bool hangs = false;

    prctl(PR_SET_NAME, name);
    alarm(60);
    signal(SIGHUP, fake_on_signal);
    signal(SIGTERM, fake_on_signal);
    fake_get("mode", name, mode);
    fake_get("conf", name, conf);
    if (strcmp(mode, "exit") == 0) {
        printf("the disk of %s is \x1b[31mred\n", name);
        return 3;
    }
    if (strcmp(mode, "deaf") == 0)
        signal(SIGTERM, SIG_IGN);
    if (strcmp(mode, "orphan") == 0 && fork() == 0) {
        signal(SIGTERM, SIG_IGN);
        for (;;)
            pause();
    }
    while (!fake_term) {
        if (fake_hup) {
            fake_hup = 0;
            fake_get("mode", name, mode);
            if (strcmp(mode, "die-on-hup") == 0)
                return 4;
            if (strcmp(mode, "refuse-hup") == 0) {
                puts("a stranger calls himself error: cannot parse new config: not so");
                puts("error: cannot parse new config: bogus");
                fflush(stdout);
            } else {
                fake_get("conf", name, conf);
            }
            hangs = strcmp(mode, "hang-on-hup") == 0;
        }
        snprintf(beat, sizeof beat, "%d %lu %s", (int)getpid(), ++count, conf);
        if (strcmp(mode, "mute") != 0 && !hangs)
            fake_put("beat", name, beat);
        fake_pause(3);
    }
    return 0;
}

/* ---- how supervise sees them ------------------------------------------------------- */

static unsigned fake_wanted_bits = 7;

static inline bool fake_wanted(DaemonId id, const NodeState *state)
{
    (void)state;
    return id < N_FAKES && (fake_wanted_bits >> id & 1);
}

static inline void fake_argv(DaemonId id, const NodeState *state, Argv *out)
{
    (void)state;
    argv_add(out, "%s", fake_exe);
    argv_add(out, "--daemon");
    argv_add(out, "%s", fake_root);
    argv_add(out, "%s", fake_names[id]);
}

static inline bool fake_before(DaemonId id, const NodeState *state, size_t index, DaemonBefore *out)
{
    (void)state;
    if (id != ONE || index > 0)
        return false;
    *out = (DaemonBefore){.name = "data"};
    out->folder = xasprintf("%s/data", fake_root);
    out->file = xasprintf("%s/data/db", fake_root);
    argv_add(&out->argv, "/bin/sh");
    argv_add(&out->argv, "-c");
    argv_add(&out->argv, "test ! -e %s/no-data && echo loaded >> %s", fake_root, out->file);
    return true;
}

typedef struct FakeProbe {
    const char *name;
    Msec until;
} FakeProbe;

static inline bool fake_answers(const char *name)
{
    char conf[128], one[128], two[128];

    fake_get("conf", name, conf);
    fake_get("beat", name, one);
    fake_pause(12);
    fake_get("beat", name, two);
    const char *has = strrchr(two, ' ');
    return strcmp(one, two) != 0 && has && strcmp(has + 1, conf) == 0;
}

/* A machine under load lets it wait. */
static inline bool fake_answers_soon(const char *name)
{
    Msec until = clock_ms() + 2000;

    while (!fake_answers(name)) {
        if (clock_ms() > until)
            return false;
    }
    return true;
}

static inline int fake_probe_run(void *context)
{
    const FakeProbe *probe = context;

    while (!fake_answers(probe->name)) {
        if (clock_ms() > probe->until) {
            dprintf(STDOUT_FILENO, "no beat of %s\n", probe->name);
            return 1;
        }
    }
    return 0;
}

static inline Error *fake_probe(DaemonId id, const NodeState *state, Msec until_ms, Child **ret_child)
{
    FakeProbe probe = {.name = fake_names[id], .until = clock_ms() + (until_ms < 400 ? until_ms : 400)};
    (void)state;

    return child_fork(&(ChildSpec){.deadline_ms = until_ms + 1000}, fake_probe_run, &probe, ret_child);
}

/* A daemon that refuses goes on well with what it has. */
static inline int fake_reloaded_run(void *context)
{
    const FakeProbe *probe = context;
    char mode[128];

    fake_get("mode", probe->name, mode);
    if (strcmp(mode, "refuse-hup") == 0) {
        fake_pause(100);
        return 0;
    }
    return fake_probe_run(context);
}

static inline Error *fake_probe_reloaded(DaemonId id, const NodeState *state, pid_t session, uint64_t after,
                                         Msec until_ms, Child **ret_child)
{
    FakeProbe probe = {.name = fake_names[id], .until = clock_ms() + 300};
    (void)state;
    (void)session;
    (void)after;

    return child_fork(&(ChildSpec){.deadline_ms = until_ms}, fake_reloaded_run, &probe, ret_child);
}

static inline int fake_canary_run(void *context)
{
    char mode[128];

    fake_get("mode", "tables", mode);
    if (strcmp(mode, "unreadable") == 0) {
        dprintf(STDOUT_FILENO, "mail.db: file is not a database\n");
        return 1;
    }
    return context ? 0 : 1;
}

static inline Error *fake_canary(const char *user, const char *root, Child **ret_child)
{
    (void)user;
    return child_fork(&(ChildSpec){.deadline_ms = 5000}, fake_canary_run, (void *)root, ret_child);
}

#define FAKE(name_, title_, needs_, reload_ms_)                                                                        \
    {                                                                                                                  \
        .name = name_, .title = title_, .program = fake_exe, .needs = needs_, .reload_ms = reload_ms_,                 \
        .refusal = "cannot parse new config", .speaker = "error:", .stop_signal = SIGTERM, .stop_ms = 5000,            \
        .start_ms = 10000                                                                                              \
    }

static const Daemon fake_table[N_DAEMONS] = {
    [ONE] = FAKE("one", "One", 0, 8000),
    [TWO] = FAKE("two", "Two", 1U << ONE, 0),
    [THREE] = FAKE("three", "Three", 0, 8000),
    [3] = FAKE("x3", "", 0, 0),
    [4] = FAKE("x4", "", 0, 0),
    [5] = FAKE("x5", "", 0, 0),
    [6] = FAKE("x6", "", 0, 0),
};

static void fake_ports(DaemonId id, const NodeState *state, PortList *out)
{
    (void)id;
    (void)state;
    (void)out;
}

static const SuperviseHow fake_how = {
    .table = fake_table,
    .reads_tables = 1U << THREE,
    .wanted = fake_wanted,
    .argv = fake_argv,
    .ports = fake_ports,
    .before = fake_before,
    .probe = fake_probe,
    .probe_reloaded = fake_probe_reloaded,
    .canary = fake_canary,
};

/* ---- a scene ----------------------------------------------------------------------- */

typedef struct Scene {
    Happened *happened;
    Supervise *supervise;
    NodeState state;
} Scene;

static inline void scene_begin(Scene *scene)
{
    char root[] = "/tmp/fakes-XXXXXX";

    assert_non_null(mkdtemp(root));
    snprintf(fake_root, sizeof fake_root, "%s", root);
    fake_wanted_bits = 7;
    for (int i = 0; i < N_FAKES; i++) {
        fake_put("mode", fake_names[i], "");
        fake_put("conf", fake_names[i], "first");
    }
    fake_put("mode", "tables", "");
    ok(folder_make(path_in(fake_root, "var/log/mailnode").text, 0755, (uid_t)-1, (gid_t)-1));
    ok(folder_make(path_in(fake_root, "var/lib/mailnode/tables").text, 0755, (uid_t)-1, (gid_t)-1));
    ok(file_write(path_in(fake_root, "var/lib/mailnode/tables/mail.db").text, "", 0, 0644, (gid_t)-1));
    *scene = (Scene){.happened = happened_new(), .state = {.root = fake_root}};
    ok(supervise_new_how(fake_root, scene->happened, &fake_how, &scene->supervise));
}

/* As kill -9 of mail-engine would leave it, and the next one finds it. */
static inline void scene_again(Scene *scene)
{
    supervise_free(&scene->supervise);
    ok(supervise_new_how(fake_root, scene->happened, &fake_how, &scene->supervise));
}

static inline void scene_want(Scene *scene)
{
    DEFER(fileset_free) FileSet *files = fileset_new();

    for (int i = 0; i < N_FAKES; i++) {
        DEFER(xfree) char *path = xasprintf("%s/conf", fake_names[i]);
        char conf[128];
        fake_get("conf", fake_names[i], conf);
        buf_append_text(fileset_add(files, path, NULL), conf);
    }
    supervise_want(scene->supervise, &(SuperviseWant){.state = &scene->state, .generation = 7, .files = files});
}

static inline void scene_turn(Scene *scene, Msec until)
{
    supervise_run(scene->supervise, clock_ms());
    Waiter wake = waiter_start();
    supervise_wait(scene->supervise, &wake);
    waiter_at(&wake, until);
    waiter_block(&wake);
}

static inline const char *scene_happenings(const Scene *scene)
{
    static Buf text;
    Mail__Happening *const *list = NULL;
    size_t n = happened_list(scene->happened, 0, clock_ms(), &list);

    buf_clear(&text);
    for (size_t i = 0; i < n; i++)
        buf_printf(&text, "%s: %s\n", list[i]->what, list[i]->text);
    return buf_text(&text);
}

/* Until it stands like this; the words of a failure. */
static inline const char *scene_until(Scene *scene, SuperviseStanding wanted)
{
    Msec until = clock_ms() + 20000;
    const char *why = "";

    while (supervise_standing(scene->supervise, &why) != wanted) {
        if (clock_ms() > until)
            fail_msg("does not come to stand %d: %s\n%s", (int)wanted, why, scene_happenings(scene));
        scene_turn(scene, clock_ms() + 20);
    }
    return why;
}

/* All three run, as they are wanted. */
static inline void scene_running(Scene *scene)
{
    scene_begin(scene);
    scene_want(scene);
    scene_until(scene, STANDING_SETTLED);
}

static inline void scene_until_happened(Scene *scene, const char *words)
{
    Msec until = clock_ms() + 20000;

    while (!strstr(scene_happenings(scene), words)) {
        if (clock_ms() > until)
            fail_msg("'%s' does not happen:\n%s", words, scene_happenings(scene));
        scene_turn(scene, clock_ms() + 20);
    }
}

static inline pid_t scene_pid(const Scene *scene, DaemonId id)
{
    return scene->supervise->units[id].pid;
}

static inline Error *end_of(Scene *scene)
{
    supervise_want_nothing(scene->supervise);
    scene_until(scene, STANDING_SETTLED);
    return NULL;
}

static inline void scene_end(Scene *scene)
{
    if (scene->supervise)
        ok(end_of(scene));
    supervise_free(&scene->supervise);
    happened_free(&scene->happened);
    folder_remove(fake_root);
}

/* Processes of the fakes: this program called as a daemon, below this root. */
static inline size_t fakes_alive(const char *name)
{
    DIR *dir = opendir("/proc");
    size_t n = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[300], line[512] = "";
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        FILE *file = fopen(path, "re");
        if (!file)
            continue;
        size_t len = fread(line, 1, sizeof line - 1, file);
        fclose(file);
        for (size_t i = 0; i < len; i++)
            if (line[i] == '\0')
                line[i] = ' ';
        DEFER(xfree) char *wanted = xasprintf(" --daemon %s %s", fake_root, name);
        if (strstr(line, wanted))
            n++;
    }
    if (dir)
        closedir(dir);
    return n;
}

/* First thing in main: are we one of the daemons? */
static inline bool fake_main(int argc, char **argv, int *ret_code)
{
    ssize_t len = readlink("/proc/self/exe", fake_exe, sizeof fake_exe - 1);

    fake_exe[len > 0 ? len : 0] = '\0';
    if (argc != 4 || strcmp(argv[1], "--daemon") != 0)
        return false;
    snprintf(fake_root, sizeof fake_root, "%s", argv[2]);
    *ret_code = fake_daemon(argv[3]);
    return true;
}

/* mail-engine: the node's root half.  Renders, checks and switches configuration; starts and watches the daemons. */
#include "engine/change.h"
#include "engine/junk.h"
#include "engine/layout.h"
#include "engine/logs.h"
#include "engine/made.h"
#include "tasks/job.h"
#include "tasks/restore_room.h"
#include "tasks/trace.h"
#include "verbs.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/path.h"
#include "base/proc.h"
#include "tables/places.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char program[] = "mail-engine";

enum { HALT_MS = 60000 };

typedef enum Verb { VERB_RUN, VERB_HALT, VERB_TRACE, VERB_JOB } Verb;

typedef struct Args {
    Verb verb;
    const char *root;
    const char *wanted; /* of trace */
} Args;

static const char usage[] = "usage: mail-engine [--root DIR]\n"
                            "       mail-engine halt [--root DIR]\n"
                            "       mail-engine trace [--root DIR] [--] ID\n"
                            "       mail-engine --version | --crash-points\n";

static _Noreturn void wrong_usage(const char *what)
{
    fprintf(stderr, "%s: %s\n%s", program, what, usage);
    exit(2);
}

static Verb verb_of(const char *word)
{
    if (strcmp(word, "halt") == 0)
        return VERB_HALT;
    if (strcmp(word, "trace") == 0)
        return VERB_TRACE;
    if (strcmp(word, "job") == 0) /* started by ourselves (tasks/job_run.h), with a socket as stdin */
        return VERB_JOB;
    wrong_usage("no such verb");
}

static Args args_parse(int argc, char **argv) /* wrong usage ends here, with 2 */
{
    static const struct option options[] = {
        {"root", required_argument, NULL, 'r'},
        {"crash-points", no_argument, NULL, 'c'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    Args args = {.root = "/"};

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'r':
            args.root = optarg;
            break;
        case 'c':
            crash_points_print();
            exit(0);
        case 'v':
            printf("%s %s\n", program, MAILNODE_RELEASE);
            exit(0);
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (optind < argc)
        args.verb = verb_of(argv[optind++]);
    if (args.verb == VERB_TRACE) {
        if (optind == argc)
            wrong_usage("trace: write a queue id, a Message-ID or an address");
        args.wanted = argv[optind++];
    }
    if (optind < argc)
        wrong_usage("too many words");
    return args;
}

/* Everything that a running engine holds, in the order in which it is made. */
typedef struct Engine {
    const char *root; /* as a renderer wants it: "" for "/" */
    Happened *happened;
    Supervise *supervise;
    Change *change;
    Verbs *verbs;
    Logs *logs;
    Junk *junk;
    Made *made;
} Engine;

static void engine_free(Engine *engine) /* the daemons go on */
{
    junk_free(&engine->junk);
    logs_free(&engine->logs);
    verbs_free(&engine->verbs);
    made_free(&engine->made);
    change_free(&engine->change);
    supervise_free(&engine->supervise);
    happened_free(&engine->happened);
}

static Error *root_check(const char *root)
{
    if (geteuid() != 0)
        return error_hint(error_new(ERROR_DENIED, "runs as root alone: it starts daemons as their users"),
                          "systemctl start mail-engine");
    return path_root_check(root);
}

/* The folder of the lock is made before anything else is touched; layout_make puts its mode right. */
static Error *lock_take(const char *root)
{
    Path folder = path_in(root, "%s/engine", &PLACE_RUN[3]);
    Path lock = path_in(root, "%s/engine/lock", &PLACE_RUN[3]);
    uid_t uid = 0;
    gid_t gid = 0;

    Error *err = proc_user("mailagent", &uid, &gid);
    if (!err)
        err = folder_make(folder.text, 0750, 0, gid);
    if (!err)
        err = file_lock(lock.text);
    if (err && err->code == ERROR_CONFLICT)
        err = error_hint(err, "one mail-engine is enough for a node: systemctl status mail-engine");
    return err;
}

static void restore_ended(void *context, const char *text)
{
    (void)context;
    log_warning("a restore was cut off", kv("what", text));
}

/* What a restore has left that died with the machine or with us; one that still runs goes on.  No mail waits for it. */
static void restores_end(const char *root)
{
    Error *err = rooms_sweep(root, restore_ended, NULL);

    log_stop(LOG_LEVEL_ERROR, "restores not looked through", &err);
}

static Error *engine_open(const char *root, Engine *engine)
{
    Error *err = lock_take(root);
    if (!err)
        err = layout_make(root);
    if (err)
        return err;
    engine->root = strcmp(root, "/") == 0 ? "" : root;
    restores_end(engine->root);
    engine->happened = happened_new();
    err = supervise_new(engine->root, engine->happened, &engine->supervise);
    if (!err)
        err = change_new(engine->root, engine->supervise, engine->happened, &engine->change);
    if (!err)
        engine->made = made_new(engine->root, engine->happened);
    if (!err)
        err = verbs_new(&(VerbsParts){.root = engine->root,
                                      .change = engine->change,
                                      .supervise = engine->supervise,
                                      .happened = engine->happened,
                                      .made = engine->made},
                        &engine->verbs);
    if (err)
        return err;
    engine->logs = logs_new(engine->root);
    engine->junk = junk_new(engine->root, engine->happened);
    return NULL;
}

static int run(const Args *args)
{
    DEFER(engine_free) Engine engine = {0};

    Error *err = root_check(args->root);
    if (!err)
        err = engine_open(args->root, &engine);
    if (err)
        return main_fail(program, &err);
    log_info("started", kv("release", MAILNODE_RELEASE), kv("generation", change_in_force(engine.change).generation));
    while (!stop_requested()) {
        Msec now = clock_ms();
        supervise_run(engine.supervise, now); /* what became of the daemons */
        change_run(engine.change, now);       /* the change under way */
        verbs_run(engine.verbs, now);         /* what the agent asks, and the answers */
        logs_run(engine.logs, now);
        junk_run(engine.junk, engine.change, now);
        made_run(engine.made, change_in_force(engine.change).state, now);
        Waiter wake = waiter_start();
        supervise_wait(engine.supervise, &wake);
        change_wait(engine.change, &wake);
        verbs_wait(engine.verbs, &wake);
        logs_wait(engine.logs, &wake);
        junk_wait(engine.junk, &wake);
        made_wait(engine.made, &wake);
        waiter_block(&wake); /* the only place that sleeps */
    }
    log_info("stopped, the daemons go on");
    return 0;
}

/* ---- halt: what SIGTERM does not do ---- */

static Error *halt(Supervise *supervise)
{
    const char *why = NULL;
    Msec until = clock_ms() + HALT_MS;

    supervise_want_nothing(supervise);
    while (supervise_standing(supervise, &why) != STANDING_SETTLED) {
        if (stop_requested() || clock_ms() >= until)
            return error_new(ERROR_UNAVAILABLE, "not all daemons have ended%s%s", why ? ": " : "", why ? why : "");
        Waiter wake = waiter_start();
        supervise_run(supervise, clock_ms());
        supervise_wait(supervise, &wake);
        waiter_at(&wake, until);
        if (supervise_standing(supervise, &why) == STANDING_SETTLED)
            waiter_now(&wake);
        waiter_block(&wake);
    }
    return NULL;
}

static int run_halt(const Args *args)
{
    DEFER(engine_free) Engine engine = {0};

    Error *err = root_check(args->root);
    if (!err)
        err = lock_take(args->root);
    if (!err) {
        engine.root = strcmp(args->root, "/") == 0 ? "" : args->root;
        engine.happened = happened_new();
        err = supervise_new(engine.root, engine.happened, &engine.supervise);
    }
    if (!err)
        err = halt(engine.supervise);
    return err ? main_fail(program, &err) : 0;
}

/* ---- trace: the logs of this node ---- */

static Error *step_print(void *context, TraceStep *step, time_t time)
{
    size_t *n = context;
    (void)time;

    printf("%s  %-11s  %s  %s  %s\n", step->time, step->what, step->program, step->id, buf_text(&step->text));
    ++*n;
    return NULL;
}

static int run_trace(const Args *args)
{
    DEFER(trace_free) Trace *trace = NULL;
    bool more = false;
    size_t n = 0;
    Error *err = root_check(args->root);

    if (!err)
        err = trace_new(args->wanted, &trace);
    if (!err)
        err = trace_node(args->root, trace, step_print, &n, &more);
    if (!err && n == 0)
        err = error_hint(error_new(ERROR_NOT_FOUND, "trace: no line of the logs on this node is about it"),
                         "an address is the whole of it, as in the envelope; a Message-ID is written with its '@'");
    if (err)
        return main_fail(program, &err);
    if (more)
        printf("... and more: ask for one queue id\n");
    return 0;
}

/* ---- job: what mail-engine starts for what takes long ---- */

static int run_job(const Args *args)
{
    Error *err = root_check(args->root);

    if (err)
        return main_fail(program, &err);
    return job_main(strcmp(args->root, "/") == 0 ? "" : args->root, STDIN_FILENO);
}

/* Keys pass through here. */
static void no_core(void)
{
    const struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    proc_seal();
}

int main(int argc, char **argv)
{
    proc_start(program);
    Args args = args_parse(argc, argv);
    no_core();
    stop_on_signals();
    switch (args.verb) {
    case VERB_HALT:
        return run_halt(&args);
    case VERB_TRACE:
        return run_trace(&args);
    case VERB_JOB:
        return run_job(&args);
    case VERB_RUN:
        break;
    }
    return run(&args);
}

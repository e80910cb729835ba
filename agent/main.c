/* mail-agent: the node's unprivileged half.  Parses the network and the directory; keeps node.db and mail.db. */
#include "accounts/accounts.h"
#include "apply.h"
#include "asked.h"
#include "directory.h"
#include "engine.h"
#include "join.h"
#include "journal.h"
#include "link.h"
#include "plans.h"
#include "report.h"
#include "shares.h"
#include "tasks.h"

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
#include <time.h>

static const char program[] = "mail-agent";
static const char user[] = "mailagent", readers[] = "mailtables";

enum { AUDIT_DEFAULT_S = 3600 };

typedef enum Verb { VERB_RUN, VERB_JOIN, VERB_RECOVER } Verb;

typedef struct Args {
    Verb verb;
    const char *root, *accounts, *token;
    unsigned long audit_s;
    bool replace;
} Args;

static const char usage[] = "usage: mail-agent [--root DIR] [--accounts FILE] [--audit-s N]\n"
                            "       mail-agent join [--root DIR] [--replace] [FILE|-]\n"
                            "       mail-agent recover [--root DIR]\n"
                            "       mail-agent --version | --crash-points\n";

static _Noreturn void wrong_usage(const char *what)
{
    fprintf(stderr, "%s: %s\n%s", program, what, usage);
    exit(2);
}

static unsigned long seconds(const char *text)
{
    char *end = NULL;
    unsigned long value = strtoul(text, &end, 10);

    if (!*text || *text < '0' || *text > '9' || *end || value < 1 || value > 1000000)
        wrong_usage("--audit-s: write seconds, 1 to 1000000");
    return value;
}

static Verb verb_named(const char *name)
{
    if (strcmp(name, "join") == 0)
        return VERB_JOIN;
    if (strcmp(name, "recover") == 0)
        return VERB_RECOVER;
    wrong_usage("no such verb");
}

static Args args_parse(int argc, char **argv) /* wrong usage ends here, with 2 */
{
    static const struct option options[] = {
        {"root", required_argument, NULL, 'r'},    {"accounts", required_argument, NULL, 'a'},
        {"audit-s", required_argument, NULL, 's'}, {"replace", no_argument, NULL, 'p'},
        {"crash-points", no_argument, NULL, 'c'},  {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    Args args = {.root = "/", .audit_s = AUDIT_DEFAULT_S, .token = "-"};

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'r':
            args.root = optarg;
            break;
        case 'a':
            args.accounts = optarg;
            break;
        case 's':
            args.audit_s = seconds(optarg);
            break;
        case 'p':
            args.replace = true;
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
        args.verb = verb_named(argv[optind++]);
    if (optind < argc && args.verb == VERB_JOIN)
        args.token = argv[optind++];
    if (optind < argc)
        wrong_usage("too many words");
    if (args.replace && args.verb != VERB_JOIN)
        wrong_usage("--replace belongs to join");
    return args;
}

/* Everything that a running agent holds, in the order in which it is made. */
typedef struct Agent {
    Identity *identity;
    Journal *journal;
    Link *link;
    Engine *engine;
    Directory *directory;
    Accounts *accounts;
    Report *report;
    Usage *usage;
    Apply *apply;
    StoreCopy *copy;
    Jobs *jobs;
    Plans *plans;
    JobTasks *job_tasks;
    Tasks *tasks;
    Asked *asked;
    Path tables, slapd, socket, stage, replication; /* socket: of mail-engine */
    char *complained;                               /* about node.db, said once */
} Agent;

static void agent_free(Agent **agent)
{
    if (!*agent)
        return;
    asked_free(&(*agent)->asked);
    tasks_free(&(*agent)->tasks);
    job_tasks_free(&(*agent)->job_tasks);
    plans_free(&(*agent)->plans);
    jobs_free(&(*agent)->jobs);
    store_copy_free(&(*agent)->copy);
    apply_free(&(*agent)->apply);
    usage_free(&(*agent)->usage);
    report_free(&(*agent)->report);
    accounts_free(&(*agent)->accounts);
    directory_free(&(*agent)->directory);
    engine_free(&(*agent)->engine);
    link_free(&(*agent)->link);
    journal_free(&(*agent)->journal);
    identity_free(&(*agent)->identity);
    free((*agent)->complained);
    free(*agent);
    *agent = NULL;
}

/* -1: its daemon is not installed yet; mail-engine puts the folder right before it starts it. */
static gid_t group_or_none(const char *group)
{
    gid_t gid = (gid_t)-1;
    Error *err = proc_group(group, &gid);

    error_free(&err);
    return gid;
}

/* As root: the folders with their owners, then root is given up for good. */
static Error *become_agent(const char *root, gid_t *ret_readers)
{
    uid_t uid = 0, vmail = 0;
    gid_t gid = 0, unused = 0;

    Error *err = path_root_check(root);
    if (!err)
        err = proc_user(user, &uid, &gid);
    if (!err)
        err = proc_user("vmail", &vmail, &unused);
    if (!err)
        err = proc_group(readers, ret_readers);
    /* setgid: what is made there gets the group. */
    const struct {
        const char *place;
        mode_t mode;
        uid_t uid;
        gid_t gid;
    } folders[] = {
        {"etc/mailnode/node", 0700, uid, gid},
        {"var/lib/mailnode/agent", 0700, uid, gid},
        {"var/lib/mailnode/tables", 0750, uid, *ret_readers},
        {"var/lib/mailnode/tables/relay", 02750, uid, group_or_none("postfix")},
        {"var/lib/mailnode/tables/dkim", 02750, uid, group_or_none("_rspamd")},
        {"var/lib/mailnode/replication", 02750, uid, group_or_none("openldap")},
        {"var/lib/mailnode/usage", 02750, vmail, *ret_readers},
        {"var/lib/mailnode/shares", 02770, uid, *ret_readers},
    };
    for (size_t i = 0; !err && i < sizeof folders / sizeof *folders; i++)
        err = folder_make(path_in(root, "%s", folders[i].place).text, folders[i].mode, folders[i].uid, folders[i].gid);
    return err ? err : proc_become(user);
}

static Error *agent_open(const Args *args, Agent **ret_agent)
{
    DEFER(agent_free) Agent *agent = xcalloc(1, sizeof *agent);
    char boot_id[64];
    gid_t gid = 0;

    Error *err = become_agent(args->root, &gid);
    if (!err)
        err = file_lock(path_in(args->root, "var/lib/mailnode/agent/lock").text);
    if (!err)
        err = identity_read(path_in(args->root, "etc/mailnode/node/identity").text, &agent->identity);
    if (err && err->code == ERROR_NOT_FOUND)
        err = error_hint(err, "on the controller: mailctl node add NAME > token; here: mail-agent join token");
    if (!err)
        err = proc_boot_id(boot_id);
    if (!err)
        err = journal_open(path_in(args->root, "var/lib/mailnode/agent/node.db").text, &agent->journal);
    if (!err)
        err = link_new(agent->identity, agent->journal, boot_id, &agent->link);
    if (err)
        return err;
    agent->tables = path_in(args->root, "var/lib/mailnode/tables");
    agent->replication = path_in(args->root, "var/lib/mailnode/replication");
    agent->socket = path_in(args->root, "run/mailnode/engine/engine.sock");
    agent->engine = engine_new(agent->socket.text);
    snprintf(agent->slapd.text, sizeof agent->slapd.text, PLACE_LDAPI, strcmp(args->root, "/") == 0 ? "" : args->root);
    agent->directory = directory_new(&(DirectoryParts){
        .link = agent->link,
        .journal = agent->journal,
        .node = agent->identity->node,
        .socket = agent->slapd.text,
    });
    agent->accounts = args->accounts
                          ? accounts_new(args->accounts)
                          : accounts_of_mirror(mirror_new(agent->journal, agent->directory, agent->identity->node));
    err = shares_make(path_in(args->root, "var/lib/mailnode/shares").text, gid);
    if (err) /* mail flows without */
        log_warning("folders that users share are not listed", kv("why", err->what));
    error_free(&err);
    agent->usage = usage_new(path_in(args->root, "var/lib/mailnode/usage").text);
    agent->report = report_new(agent->journal);
    err = apply_new(
        &(ApplyParts){
            .link = agent->link,
            .journal = agent->journal,
            .engine = agent->engine,
            .accounts = agent->accounts,
            .usage = agent->usage,
            .report = agent->report,
            .node = agent->identity->node,
            .folder = agent->tables.text,
            .replication = agent->replication.text,
            .gid = gid,
            .audit_ms = args->audit_s * 1000,
        },
        &agent->apply);
    if (err)
        return err;
    agent->stage = path_in(args->root, "var/lib/mailnode/agent/stage");
    agent->copy = store_copy_new(agent->link, path_in(args->root, "var/lib/mailnode/agent/copy").text);
    agent->jobs = jobs_new(&(JobsParts){.socket = agent->socket.text,
                                        .node = agent->identity->node,
                                        .stage = agent->stage.text,
                                        .journal = agent->journal,
                                        .copy = agent->copy});
    agent->plans = plans_new(&(PlansParts){.journal = agent->journal,
                                           .report = agent->report,
                                           .node = agent->identity->node,
                                           .jobs = agent->jobs,
                                           .start = jobs_start});
    agent->job_tasks = job_tasks_new(agent->link, agent->journal, agent->jobs, agent->plans);
    agent->tasks = tasks_new(agent->link, agent->journal, agent->engine, agent->job_tasks, agent->apply, agent->report);
    agent->asked = asked_new(agent->link, agent->journal, agent->apply, agent->usage);
    *ret_agent = agent;
    agent = NULL;
    return NULL;
}

/* node.db first: what waited is written, and a damaged one is begun anew. */
static void journal_mind(Agent *agent, Msec now)
{
    Error *err = journal_run(agent->journal);

    if (err && (!agent->complained || strcmp(agent->complained, err->what) != 0))
        log_error("node.db not written, trying again", kv("why", err->what));
    free(agent->complained);
    agent->complained = err ? xstrdup(err->what) : NULL;
    const char *trouble = err ? err->what : journal_trouble(agent->journal);
    report_fact(agent->report, "node.db", trouble ? MAIL__FACT_STATE__BAD : MAIL__FACT_STATE__GOOD, now, "%s",
                trouble ? trouble : "written");
    error_free(&err);
}

static int run(const Args *args)
{
    DEFER(agent_free) Agent *agent = NULL;

    Error *err = agent_open(args, &agent);
    if (err)
        return main_fail(program, &err);
    log_info("started", kv("node", agent->identity->node), kv("release", MAILNODE_RELEASE),
             kv("revision", journal_wanted(agent->journal)->revision));
    while (!stop_requested()) {
        Msec now = clock_ms();
        journal_mind(agent, now);
        link_run(agent->link, now);     /* what arrived goes to the journal */
        engine_run(agent->engine, now); /* what mail-engine answered */
        directory_run(agent->directory, now);
        accounts_run(agent->accounts, now); /* what the directory says */
        usage_run(agent->usage, now);       /* what Dovecot says */
        apply_run(agent->apply, now);       /* journal to mail-engine, then to the tables */
        store_copy_run(agent->copy, now);   /* what comes of the controller's store */
        jobs_run(agent->jobs, now);         /* what jobs of mail-engine say */
        tasks_run(agent->tasks, now);
        job_tasks_run(agent->job_tasks, now);
        plans_run(agent->plans, now, (uint64_t)time(NULL));
        asked_run(agent->asked, now);
        report_run(agent->report, agent->link, now); /* what is so goes out */
        Waiter wake = waiter_start();
        link_wait(agent->link, &wake);
        engine_wait(agent->engine, &wake);
        directory_wait(agent->directory, &wake);
        accounts_wait(agent->accounts, &wake);
        usage_wait(agent->usage, &wake);
        apply_wait(agent->apply, &wake);
        store_copy_wait(agent->copy, &wake);
        jobs_wait(agent->jobs, &wake);
        tasks_wait(agent->tasks, &wake);
        job_tasks_wait(agent->job_tasks, &wake);
        plans_wait(agent->plans, &wake);
        asked_wait(agent->asked, &wake);
        report_wait(agent->report, agent->link, &wake);
        waiter_block(&wake); /* the only place that sleeps */
    }
    log_info("stopped");
    return 0;
}

static int run_join(const Args *args)
{
    DEFER(buf_done) Buf token = {0};
    gid_t gid = 0;

    Error *err = join_token(args->token, &token);
    if (!err)
        err = become_agent(args->root, &gid);
    if (!err)
        err = join(args->root, buf_text(&token), args->replace);
    wipe(token.data, token.room);
    return err ? main_fail(program, &err) : 0;
}

/* After a power cut a WAL database needs a writer once before unprivileged readers can open it. */
static int run_recover(const Args *args)
{
    DEFER(tables_free) Tables *tables = NULL;
    Digest digest;
    uint64_t revision = 0;
    bool rebuilt = false;
    gid_t gid = 0;

    Error *err = become_agent(args->root, &gid);
    if (!err)
        err = tables_open(path_in(args->root, "var/lib/mailnode/tables").text, gid, &tables, &rebuilt);
    if (!err)
        err = tables_applied(tables, &revision, &digest);
    if (err)
        return main_fail(program, &err);
    printf("mail.db reads, revision %llu%s\n", (unsigned long long)revision,
           rebuilt ? " (emptied: it was damaged)" : "");
    return 0;
}

int main(int argc, char **argv)
{
    proc_start(program);
    Args args = args_parse(argc, argv);
    proc_seal();
    stop_on_signals();
    switch (args.verb) {
    case VERB_JOIN:
        return run_join(&args);
    case VERB_RECOVER:
        return run_recover(&args);
    case VERB_RUN:
        break;
    }
    return run(&args);
}

/* mail-controller: what the administrator wants, who may want it, and what every node says is so. */
#include "copy.h"
#include "door.h"
#include "enrol.h"
#include "events.h"
#include "keypool.h"
#include "nodes.h"
#include "requests.h"
#include "tasks.h"
#include "upkeep.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/path.h"
#include "base/proc.h"
#include "seal/parcel.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char program[] = "mail-controller";
static const char user[] = "mailcontroller";

enum { REPORT_DEFAULT_MS = 10000, REPORT_LEAST_MS = 200, REPORT_MOST_MS = 60000 };

typedef struct Args {
    const char *root, *listen;
    Msec report_ms;
    bool init, restore;
    bool copy;               /* as a child of the controller (copy.h) */
    unsigned long dkim_keys; /* to make, as a child of the controller (keypool.h); 0: run */
} Args;

static const char usage[] = "usage: mail-controller [--root DIR] [--report-ms N]\n"
                            "       mail-controller --init --listen ADDRESS:PORT [--root DIR]\n"
                            "       mail-controller --restore [--root DIR] < COPY 3< PASSWORD\n"
                            "       mail-controller --version | --crash-points\n";

static _Noreturn void wrong_usage(const char *what)
{
    fprintf(stderr, "%s: %s\n%s", program, what, usage);
    exit(2);
}

static bool number(const char *text, unsigned long least, unsigned long most, unsigned long *ret_number)
{
    char *end = NULL;

    if (*text < '0' || *text > '9')
        return false;
    *ret_number = strtoul(text, &end, 10);
    return !*end && *ret_number >= least && *ret_number <= most;
}

static Args args_parse(int argc, char **argv) /* wrong usage ends here, with 2 */
{
    static const struct option options[] = {
        {"root", required_argument, NULL, 'r'},
        {"report-ms", required_argument, NULL, 'm'},
        {"init", no_argument, NULL, 'i'},
        {"listen", required_argument, NULL, 'l'},
        {"crash-points", no_argument, NULL, 'c'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {"dkim-keys", required_argument, NULL, 'k'},
        {"copy", no_argument, NULL, 'y'},
        {"restore", no_argument, NULL, 'o'},
        {NULL, 0, NULL, 0},
    };
    Args args = {.root = "/", .report_ms = REPORT_DEFAULT_MS};
    unsigned long value = 0;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'r':
            args.root = optarg;
            break;
        case 'm':
            if (!number(optarg, REPORT_LEAST_MS, REPORT_MOST_MS, &value))
                wrong_usage("--report-ms: write milliseconds, 200 to 60000");
            args.report_ms = value;
            break;
        case 'i':
            args.init = true;
            break;
        case 'l':
            args.listen = optarg;
            break;
        case 'y':
            args.copy = true;
            break;
        case 'o':
            args.restore = true;
            break;
        case 'k':
            if (!number(optarg, 1, KEYPOOL_MAX, &args.dkim_keys))
                wrong_usage("--dkim-keys: write 1 to 16");
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
        wrong_usage("too many words");
    if (args.init != (args.listen != NULL))
        wrong_usage("--init and --listen belong together");
    if (args.init + args.restore + args.copy > 1)
        wrong_usage("one thing at a time");
    return args;
}

/* As root: the folders with their owners, then root is given up for good. */
static Error *become_controller(const char *root)
{
    Path identity = path_in(root, "etc/mailnode/controller");
    Path store = path_in(root, "var/lib/mailnode/controller");
    Path socket = path_in(root, "run/mailnode/controller");
    uid_t uid = 0;
    gid_t gid = 0;

    Error *err = path_root_check(root);
    if (!err)
        err = proc_user(user, &uid, &gid);
    if (!err)
        err = folder_make(identity.text, 0700, uid, gid);
    if (!err)
        err = folder_make(store.text, 0700, uid, gid);
    if (!err)
        err = folder_make(socket.text, 0755, uid, gid);
    if (!err)
        err = proc_become(user);
    return err ? err : file_lock(path_in(root, "var/lib/mailnode/controller/lock").text);
}

/* ---- init ---- */

typedef struct Listen {
    char address[64]; /* numeric; IPv6 in brackets */
    unsigned long port;
} Listen;

/* The address goes into every join token: it must be one that nodes can reach. */
static bool address_valid(const char *address)
{
    unsigned char octets[16];
    char inner[64];
    size_t len = strlen(address);

    if (address[0] != '[')
        return inet_pton(AF_INET, address, octets) == 1 && strcmp(address, "0.0.0.0") != 0;
    if (len < 4 || address[len - 1] != ']')
        return false;
    memcpy(inner, address + 1, len - 2);
    inner[len - 2] = '\0';
    return inet_pton(AF_INET6, inner, octets) == 1 && strcmp(inner, "::") != 0;
}

static Error *listen_parse(const char *text, Listen *ret_listen)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;

    if (len && len < sizeof ret_listen->address) {
        memcpy(ret_listen->address, text, len);
        ret_listen->address[len] = '\0';
        if (address_valid(ret_listen->address) && number(colon + 1, 1, 65534, &ret_listen->port))
            return NULL;
    }
    return error_hint(error_new(ERROR_INVALID, "--listen '%s': not an address that nodes can reach, and a port", text),
                      "write 192.0.2.1:6464 or [2001:db8::1]:6464");
}

static char **one_endpoint(const Listen *listen, unsigned long port)
{
    char **list = xcalloc(2, sizeof *list);

    list[0] = xasprintf("tcp://%s:%lu", listen->address, port);
    return list;
}

static Identity *identity_make(const Listen *listen)
{
    Identity *identity = xcalloc(1, sizeof *identity);

    curve_keypair(identity->public_key, &identity->secret_key);
    identity->endpoints = one_endpoint(listen, listen->port);
    identity->enrol_endpoints = one_endpoint(listen, listen->port + 1);
    identity->n_endpoints = identity->n_enrol_endpoints = 1;
    return identity;
}

/* One file, written whole or not at all: a second try after a crash makes it, or finds it made. */
static Error *init(const Args *args)
{
    Path path = path_in(args->root, "etc/mailnode/controller/identity");
    DEFER(identity_free) Identity *identity = NULL;
    Listen listen = {.port = 0};

    Error *err = listen_parse(args->listen, &listen);
    if (!err)
        err = become_controller(args->root);
    if (err)
        return err;
    if (access(path.text, F_OK) == 0)
        return error_hint(error_new(ERROR_EXISTS, "there is a controller already: %s", path.text),
                          "nodes know it by this file: keep it, or remove it and join them all again");
    if (copy_restore_broken(args->root))
        return error_hint(error_new(ERROR_CONFLICT, "a restore was broken off here"),
                          "mailctl controller restore FILE, once more");
    identity = identity_make(&listen);
    CRASH_POINT("controller.identity.writing");
    err = identity_write(path.text, identity);
    if (err)
        return err;
    CRASH_POINT("controller.identity.written");
    printf("controller made: nodes at %s, enrolment at %s, key %s\n", identity->endpoints[0],
           identity->enrol_endpoints[0], key_fingerprint(identity->public_key).text);
    return NULL;
}

/* ---- restore ---- */

enum { PASSWORD_FD = 3 };

/* To its end: never on the command line, nor in the environment. */
static Error *password_read(Secret **ret_password)
{
    uint8_t octets[PARCEL_PASSWORD_MAX + 1];
    size_t n = 0;
    ssize_t got = 1;

    while (got > 0 && n < sizeof octets) {
        got = read(PASSWORD_FD, octets + n, sizeof octets - n);
        if (got > 0)
            n += (size_t)got;
    }
    close(PASSWORD_FD);
    if (got >= 0)
        *ret_password = secret_new(octets, n);
    wipe(octets, sizeof octets);
    return got < 0 ? error_system("password, from descriptor %d", PASSWORD_FD) : NULL;
}

static Error *restore(const Args *args)
{
    DEFER(secret_free) Secret *password = NULL;
    DEFER(copy_info_free) Mail__CopyInfo *info = NULL;

    Error *err = password_read(&password);
    if (!err)
        err = become_controller(args->root);
    if (err && err->code == ERROR_CONFLICT)
        err = error_hint(err, "a controller runs here: it can only be restored where there is none");
    if (!err)
        err = copy_restore(args->root, STDIN_FILENO, password, &info);
    if (err)
        return err;
    printf("controller restored: revision %" PRIu64 ", %" PRIu64 " objects, key %s; start mail-controller\n",
           info->revision, info->n_objects, key_fingerprint(info->controller_key).text);
    return NULL;
}

/* ---- run ---- */

/* Everything that a running controller holds, in the order in which it is made. */
typedef struct Controller {
    Identity *identity;
    Store *store;
    Events *events;
    Door *door;
    Nodes *nodes;
    Tasks *tasks;
    Enrol *enrol;
    Requests *requests;
    Upkeep *upkeep;
} Controller;

static void controller_free(Controller **controller)
{
    if (!*controller)
        return;
    upkeep_free(&(*controller)->upkeep);
    requests_free(&(*controller)->requests);
    enrol_free(&(*controller)->enrol);
    tasks_free(&(*controller)->tasks);
    nodes_free(&(*controller)->nodes);
    door_free(&(*controller)->door);
    events_free(&(*controller)->events);
    store_free(&(*controller)->store);
    identity_free(&(*controller)->identity);
    free(*controller);
    *controller = NULL;
}

/* A descriptor per node: at the limit libzmq would spin without a word. */
static void raise_files(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == files.rlim_max)
        return;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        log_warning("the limit of open files stays low", kv("limit", (uint64_t)files.rlim_cur));
}

static Error *open_parts(Controller *controller, const Args *args)
{
    Path store = path_in(args->root, "var/lib/mailnode/controller/store.db");
    Path socket = path_in(args->root, "run/mailnode/controller/mailctl.sock");
    NodesOptions options = {.report_ms = args->report_ms, .root = args->root};

    Error *err = store_open(store.text, &controller->store);
    if (!err)
        err = events_new(controller->store, &controller->events);
    if (!err)
        err = door_new(controller->identity, controller->events, &controller->door);
    if (!err)
        err = nodes_new(controller->store, controller->door, controller->events, &options, &controller->nodes);
    if (!err)
        err = tasks_new(controller->store, controller->nodes, controller->events, &controller->tasks);
    if (err)
        return err;
    nodes_tasks(controller->nodes, controller->tasks);
    controller->enrol = enrol_new(controller->store, controller->door, controller->nodes, controller->events);
    controller->upkeep = upkeep_new(controller->store, controller->nodes, controller->events);
    return requests_new(
        &(RequestsParts){
            .store = controller->store,
            .door = controller->door,
            .nodes = controller->nodes,
            .tasks = controller->tasks,
            .events = controller->events,
            .root = args->root,
            .socket = socket.text,
        },
        &controller->requests);
}

static Error *controller_open(const Args *args, Controller **ret_controller)
{
    DEFER(controller_free) Controller *controller = xcalloc(1, sizeof *controller);

    Error *err = become_controller(args->root);
    if (err)
        return err;
    raise_files();
    err = identity_read(path_in(args->root, "etc/mailnode/controller/identity").text, &controller->identity);
    if (err && err->code == ERROR_NOT_FOUND)
        err = error_hint(err, "mail-controller --init --listen ADDRESS:PORT");
    if (!err) {
        copy_restore_sweep(args->root);
        err = open_parts(controller, args);
    }
    if (err)
        return err;
    *ret_controller = controller;
    controller = NULL;
    return NULL;
}

static void loop(Controller *c)
{
    while (!stop_requested()) {
        Msec now = clock_ms();
        door_run(c->door, now);   /* what has arrived, sorted */
        enrol_run(c->enrol, now); /* who wants to be one of us */
        nodes_run(c->nodes, now); /* what nodes say, what they lack */
        tasks_run(c->tasks, now);
        upkeep_run(c->upkeep, now);
        events_run(c->events, now);     /* what of this shall be kept, in one transaction */
        requests_run(c->requests, now); /* what admins want, in one more, and their answers */
        Waiter wake = waiter_start();
        door_wait(c->door, &wake);
        nodes_wait(c->nodes, &wake);
        tasks_wait(c->tasks, &wake);
        upkeep_wait(c->upkeep, &wake);
        events_wait(c->events, &wake);
        requests_wait(c->requests, &wake);
        waiter_block(&wake); /* the only place that sleeps */
    }
}

/* ---- keys ---- */

/* As the controller's child: descriptor 0 is its end. */
static int make_keys(unsigned long n)
{
    if (nice(5) == -1)
        log_debug("not niced");
    Error *err = keypool_make(STDIN_FILENO, n);
    return err ? main_fail(program, &err) : 0;
}

static int make_copy(const char *root)
{
    if (nice(5) == -1)
        log_debug("not niced");
    Error *err = path_root_check(root);
    if (!err)
        err = proc_become(user);
    if (!err)
        err = copy_serve(root);
    return err ? main_fail(program, &err) : 0;
}

static int run(const Args *args)
{
    DEFER(controller_free) Controller *controller = NULL;

    Error *err = controller_open(args, &controller);
    if (err)
        return main_fail(program, &err);
    events_add(controller->events, MAIL__FACT_STATE__GOOD, NULL, "controller started", "release %s, revision %" PRIu64,
               MAILNODE_RELEASE, store_revision(controller->store));
    loop(controller);
    log_info("stopped");
    return 0;
}

int main(int argc, char **argv)
{
    proc_start(program);
    Args args = args_parse(argc, argv);
    proc_seal();
    if (args.dkim_keys)
        return make_keys(args.dkim_keys);
    if (args.copy)
        return make_copy(args.root);
    stop_on_signals();
    if (!args.init && !args.restore)
        return run(&args);
    Error *err = args.init ? init(&args) : restore(&args);
    return err ? main_fail(program, &err) : 0;
}

/* mail-ldap: a child of mail-agent that reads and writes one directory.  libldap can hang: a child can be ended. */
#include "ldap/change.h"
#include "ldap/serve.h"

#include "base/crash.h"
#include "base/log.h"
#include "base/proc.h"
#include "local/local.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

static const char program[] = "mail-ldap";

typedef struct Args {
    const char *socket, *user_domain;
} Args;

static _Noreturn void wrong_usage(void)
{
    fprintf(stderr, "usage: mail-ldap --socket PATH --user-domain NAME    (mail-agent starts it)\n"
                    "       mail-ldap --version | --crash-points\n");
    exit(2);
}

static Args args_parse(int argc, char **argv) /* wrong usage ends here, with 2 */
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},
        {"user-domain", required_argument, NULL, 'd'},
        {"crash-points", no_argument, NULL, 'c'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    Args args = {0};

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 's':
            args.socket = optarg;
            break;
        case 'd':
            args.user_domain = optarg;
            break;
        case 'c':
            crash_points_print();
            exit(0);
        case 'v':
            printf("%s %s\n", program, MAILNODE_RELEASE);
            exit(0);
        default:
            wrong_usage();
        }
    }
    if (!args.socket || !args.user_domain || optind < argc)
        wrong_usage();
    return args;
}

static Error *run(const Args *args)
{
    DEFER(local_peer_free) LocalPeer *agent = NULL;
    DEFER(serve_free) Serve *serve = serve_new(args->socket, args->user_domain);

    Error *err = local_adopt(0, program, &agent); /* descriptor 0: our end of the agent's pair */
    while (!err) {
        err = local_peer_run(agent);
        if (!err)
            err = serve_run(serve, agent);
        if (err)
            break;
        Waiter wake = waiter_start();
        local_peer_wait(agent, &wake);
        serve_wait(serve, &wake);
        waiter_block(&wake); /* the only place that sleeps, but for the directory's answers */
    }
    if (err && err->code == ERROR_UNAVAILABLE)
        error_free(&err); /* the agent is gone, and so are we */
    return err;
}

int main(int argc, char **argv)
{
    proc_start(program);
    Args args = args_parse(argc, argv);
    proc_seal();
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("LDAPNOINIT", "1", 1); /* no ldap.conf, no LDAPTLS_REQCERT=never */
    Error *err = run(&args);
    return err ? main_fail(program, &err) : 0;
}

/* cli.h - one run of mailctl: who carries it, what it was told, how it ends
 *
 *     argv ─► line.h ─► commands.h: Run ─► call.h ─► Transport (unix socket or CURVE)
 *                                     └──► print.h, outcome.h ─► stdout
 */
#pragma once
#include "commands.h"
#include "line.h"
#include "print.h"
#include "settings.h"

#include "base/loop.h"
#include "local/envelope.h"

/* How mailctl and mailctl-remote reach the controller.  One connection at a time. */
typedef struct Transport {
    void *self;
    const char *where;                              /* for words: "/run/mailnode/controller/mailctl.sock" */
    Error *(*open)(void *self);                     /* both sides have greeted; UNAVAILABLE: nobody there */
    Error *(*send)(void *self, Envelope *envelope); /* chooses the id when it is 0 */
    /* The next envelope, whatever it answers; NULL: none until then. */
    Error *(*next)(void *self, Msec until, Envelope **ret_envelope);
    void (*close)(void *self);
} Transport;

typedef struct CliProgram {
    const char *name; /* "mailctl" */
    bool remote;      /* what must happen on this machine is not offered */
    /* Makes the transport; connects later, at 'open'. */
    Error *(*transport)(const Cli *cli, Transport *ret_transport);
} CliProgram;

struct Cli {
    const CliProgram *program;
    const char *root;
    Settings settings;
    const Line *line;
    OutputForm form;
    FILE *out;
    Transport transport;
    bool opened;
    bool confirmed; /* what an answer of the controller asked for */
    int exit;       /* of the failure, where its code does not say it (2, 8, 9, 10); 0: by its code */
};

/* main of both programs. */
int cli_main(int argc, char **argv, const CliProgram *program);

/* Wrong usage that only a command can see: exit 2, nothing was sent. */
CHECKED Error *cli_usage(Cli *cli, const char *format, ...) PRINTF_LIKE(2, 3);

/* --instance, or the setting; NULL: not said. */
const char *cli_instance(const Cli *cli);

/* Before something is lost: --yes, or a person who says so.  'what' is shown first.  Usage without a terminal. */
CHECKED Error *cli_confirm(Cli *cli, const char *what);

/* What is printed so far is out: SYSTEM when it cannot be (a full disk); a reader that has gone ends the program quietly. */
CHECKED Error *cli_flush(Cli *cli);

/* From now on Ctrl-C ends with 130 and says this: what was begun goes on without us. */
void cli_interrupted_says(const char *words);

/* Prints an error as CLI.md wants it and gives the exit code. */
int cli_fail(const Cli *cli, Error **err);

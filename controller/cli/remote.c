/* mailctl-remote: the same commands over CURVE, with a key pair that an 'admin' entry names */
#include "cli.h"

#include "curve/curve.h"

#include <string.h>

enum { CONNECT_MS = 10 * 1000, TROUBLE_MS = 3 * 1000 };

typedef struct Remote {
    const char *file;
    const char *program;
    Identity *identity;
    CurveContext *context;
    CurveClient *client;
} Remote;

static void block(Remote *link, Msec until)
{
    Waiter wake = waiter_start();

    curve_client_wait(link->client, &wake);
    waiter_at(&wake, until);
    waiter_block(&wake);
}

/* ZeroMQ tries for ever; we say what is wrong instead. */
static Error *connected(Remote *link)
{
    Msec now = clock_ms(), until = now + CONNECT_MS, patience = now + TROUBLE_MS;

    for (; now < until; now = clock_ms()) {
        curve_client_run(link->client, now);
        if (curve_client_connected(link->client))
            return NULL;
        const char *trouble = curve_client_trouble(link->client);
        if (trouble && strstr(trouble, "refused our key"))
            return error_hint(error_new(ERROR_DENIED, "%s", trouble),
                              "on the controller: mailctl admin add NAME role= key=@FILE");
        if (trouble && now >= patience)
            break;
        block(link, now + 100 < until ? now + 100 : until);
    }
    const char *trouble = curve_client_trouble(link->client);
    return error_new(ERROR_UNAVAILABLE, "%s", trouble ? trouble : "no answer");
}

static Error *remote_next(void *self, Msec until, Envelope **ret_envelope)
{
    Remote *link = self;

    for (;;) {
        uint64_t id = 0;
        curve_client_run(link->client, clock_ms());
        /* A new connection knows nothing of what was asked over the old one. */
        if (curve_client_connected(link->client))
            return error_new(ERROR_UNAVAILABLE, "the link broke");
        Error *err = curve_client_receive(link->client, ret_envelope, &id);
        if (err || *ret_envelope || clock_ms() >= until)
            return err;
        block(link, until);
    }
}

/* A key that is let in is not yet an admin's: it may be a node's, and its session knows no greeting. */
static Error *refusal(Error *err)
{
    if (err->code == ERROR_UNSUPPORTED)
        return err;
    err->code = ERROR_DENIED;
    return error_in(err, "the controller does not take this key for an admin's");
}

static Error *greet(Remote *link)
{
    Mail__Greeting greeting = MAIL__GREETING__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Msec until = clock_ms() + CONNECT_MS;

    greeting.has_protocol = 1;
    greeting.protocol = ENVELOPE_VERSION;
    greeting.release = (char *)MAILNODE_RELEASE;
    greeting.program = (char *)link->program;
    envelope.body_case = MAIL__ENVELOPE__BODY_GREETING;
    envelope.greeting = &greeting;
    Error *err = curve_client_send(link->client, &envelope);
    while (!err) {
        DEFER(envelope_free) Envelope *said = NULL;
        err = remote_next(link, until, &said);
        if (!err && !said)
            return error_new(ERROR_UNAVAILABLE, "it does not greet us: is this the key of an admin?");
        if (!err && said->body_case == MAIL__ENVELOPE__BODY_FAILURE)
            return refusal(error_of(said->failure));
        if (!err && said->body_case == MAIL__ENVELOPE__BODY_GREETING && said->greeting->protocol != ENVELOPE_VERSION)
            return error_new(ERROR_UNSUPPORTED, "the controller speaks protocol %u, we speak %d",
                             said->greeting->protocol, ENVELOPE_VERSION);
        if (!err && said->body_case == MAIL__ENVELOPE__BODY_GREETING)
            return NULL;
    }
    return err;
}

static void remote_close(void *self)
{
    Remote *link = self;

    curve_client_free(&link->client);
    curve_context_free(&link->context);
    identity_free(&link->identity);
}

static Error *remote_open(void *self)
{
    Remote *link = self;

    Error *err = identity_read(link->file, &link->identity);
    if (!err)
        err = curve_context_new(&link->context);
    if (!err)
        err = curve_connect(link->context, (const char *const *)link->identity->endpoints, link->identity->n_endpoints,
                            link->identity->controller_key, link->identity->public_key, link->identity->secret_key,
                            &link->client);
    if (!err)
        err = connected(link);
    if (!err)
        err = greet(link);
    if (err)
        remote_close(link);
    return err;
}

static Error *remote_send(void *self, Envelope *envelope)
{
    Remote *link = self;
    Msec until = clock_ms() + CONNECT_MS;

    for (;;) {
        Error *err = curve_client_send(link->client, envelope);
        if (!err || err->code != ERROR_UNAVAILABLE || clock_ms() >= until)
            return err;
        error_free(&err); /* full for now: it goes on when the network has taken some */
        block(link, clock_ms() + 10);
        curve_client_run(link->client, clock_ms());
    }
}

static Error *remote_transport(const Cli *cli, Transport *ret_transport)
{
    static Remote link;

    link = (Remote){.file = setting_get(&cli->settings, SETTING_IDENTITY), .program = cli->program->name};
    if (!link.file)
        return error_hint(error_new(ERROR_INVALID, "--identity FILE is missing"),
                          "or MAILCTL_IDENTITY, or 'identity:' in ~/.config/mailctl.yaml");
    *ret_transport = (Transport){.self = &link,
                                 .where = link.file,
                                 .open = remote_open,
                                 .send = remote_send,
                                 .next = remote_next,
                                 .close = remote_close};
    return NULL;
}

int main(int argc, char **argv)
{
    static const CliProgram mailctl_remote = {.name = "mailctl-remote", .remote = true, .transport = remote_transport};

    return cli_main(argc, argv, &mailctl_remote);
}

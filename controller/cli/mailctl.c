/* mailctl: over the controller's unix socket */
#include "cli.h"

#include "local/local.h"

typedef struct Unix {
    const char *path;
    const char *program;
    LocalPeer *peer;
} Unix;

static Error *unix_open(void *self)
{
    Unix *link = self;

    return local_call_open(link->path, link->program, &link->peer);
}

static Error *unix_send(void *self, Envelope *envelope)
{
    Unix *link = self;

    return local_call_send(link->peer, envelope);
}

static Error *unix_next(void *self, Msec until, Envelope **ret_envelope)
{
    Unix *link = self;

    for (;;) {
        uint64_t id = 0;
        Error *err = local_peer_run(link->peer);
        if (!err)
            err = local_receive(link->peer, ret_envelope, &id);
        if (err)
            return error_in(err, "the link broke");
        if (*ret_envelope || clock_ms() >= until)
            return NULL;
        Waiter wake = waiter_start();
        local_peer_wait(link->peer, &wake);
        waiter_at(&wake, until);
        waiter_block(&wake);
    }
}

static void unix_close(void *self)
{
    Unix *link = self;

    local_peer_free(&link->peer);
}

static Error *unix_transport(const Cli *cli, Transport *ret_transport)
{
    static Unix link;

    link = (Unix){.path = setting_get(&cli->settings, SETTING_SOCKET), .program = cli->program->name};
    *ret_transport = (Transport){.self = &link,
                                 .where = link.path,
                                 .open = unix_open,
                                 .send = unix_send,
                                 .next = unix_next,
                                 .close = unix_close};
    return NULL;
}

int main(int argc, char **argv)
{
    static const CliProgram mailctl = {.name = "mailctl", .transport = unix_transport};

    return cli_main(argc, argv, &mailctl);
}

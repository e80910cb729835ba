#include "copier.h"

#include "base/alloc.h"
#include "base/child.h"
#include "local/local.h"

#include <stdlib.h>

struct Copier {
    Child *child;
    LocalPeer *peer;
};

void copier_free(Copier **copier)
{
    if (!*copier)
        return;
    local_peer_free(&(*copier)->peer);
    child_free(&(*copier)->child);
    free(*copier);
    *copier = NULL;
}

Error *copier_start(const char *root, const Mail__StoreCopy *wish, Copier **ret_copier)
{
    DEFER(xfree) char *program = child_beside_us("mail-controller");
    DEFER(copier_free) Copier *copier = xcalloc(1, sizeof *copier);
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__StoreCopy asked = *wish;
    int fd = -1;

    Error *err = child_start((const char *const[]){program, "--copy", "--root", root, NULL}, &copier->child, &fd);
    if (!err)
        err = local_adopt(fd, "mail-controller", &copier->peer);
    if (err)
        return err;
    envelope.body_case = MAIL__ENVELOPE__BODY_STORE_COPY;
    envelope.store_copy = &asked;
    if (!local_send(copier->peer, &envelope))
        return error_new(ERROR_SYSTEM, "the child takes no request");
    *ret_copier = copier;
    copier = NULL;
    return NULL;
}

Error *copier_next(Copier *copier, Envelope **ret_part)
{
    DEFER(envelope_free) Envelope *said = NULL;
    uint64_t about = 0;

    Error *err = local_peer_run(copier->peer);
    if (!err)
        err = local_receive(copier->peer, &said, &about);
    if (err) {
        error_free(&err);
        return error_hint(error_new(ERROR_SYSTEM, "the copy was not made: the child that makes it ended"),
                          "its words are in the log of mail-controller");
    }
    if (said && said->body_case != MAIL__ENVELOPE__BODY_COPY_PART)
        return said->body_case == MAIL__ENVELOPE__BODY_FAILURE
                   ? error_of(said->failure)
                   : error_new(ERROR_SYSTEM, "the child says %s", body_name(said->body_case));
    *ret_part = said;
    said = NULL;
    return NULL;
}

void copier_wait(const Copier *copier, Waiter *wake)
{
    local_peer_wait(copier->peer, wake);
}

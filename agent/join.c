#include "join.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "curve/curve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Error *join_token(const char *file, Buf *out)
{
    if (strcmp(file, "-") != 0)
        return error_in(file_read(file, TOKEN_FILE_MAX, out), "token");
    for (;;) {
        char chunk[4096];
        ssize_t got = read(STDIN_FILENO, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_system("token from stdin");
        if (got == 0)
            return NULL;
        if (out->size + (size_t)got > TOKEN_FILE_MAX || !buf_append(out, chunk, (size_t)got))
            return error_new(ERROR_INVALID, "token from stdin: larger than %d octets", TOKEN_FILE_MAX);
    }
}

static Error *parse_token(const char *text, Mail__TokenText **ret_token)
{
    DEFER(xfree) char *trimmed = xstrdup(text + strspn(text, " \t\r\n"));
    size_t len = strlen(trimmed);

    while (len && strchr(" \t\r\n", trimmed[len - 1]))
        trimmed[--len] = '\0';
    Error *err = token_read(trimmed, ret_token);
    wipe(trimmed, len);
    return error_hint(err, "on the controller: mailctl node add NAME > NAME.token");
}

static Identity *identity_of(const Mail__TokenText *token)
{
    Identity *identity = xcalloc(1, sizeof *identity);

    identity->node = xstrdup(token->node);
    snprintf(identity->controller_key, sizeof identity->controller_key, "%s", token->controller_key);
    identity->n_endpoints = token->n_endpoints;
    identity->endpoints = xcalloc(token->n_endpoints + 1, sizeof *identity->endpoints);
    for (size_t i = 0; i < token->n_endpoints; i++)
        identity->endpoints[i] = xstrdup(token->endpoints[i]);
    curve_keypair(identity->public_key, &identity->secret_key);
    return identity;
}

/* A join that was cut off may have reached the controller: the same key proves it again. */
static bool same_place(const Identity *kept, const Mail__TokenText *token)
{
    return kept->node && strcmp(kept->node, token->node) == 0 &&
           strcmp(kept->controller_key, token->controller_key) == 0;
}

static Error *key_pair(const char *path, const Mail__TokenText *token, Identity **ret_identity)
{
    DEFER(identity_free) Identity *kept = NULL;
    Error *err = identity_read(path, &kept);

    error_free(&err);                                         /* none, or a torn one: a new one takes its place */
    DEFER(identity_free) Identity *made = identity_of(token); /* the addresses of today's token */
    if (kept && same_place(kept, token)) {
        memcpy(made->public_key, kept->public_key, sizeof made->public_key);
        secret_free(&made->secret_key);
        made->secret_key = kept->secret_key;
        kept->secret_key = NULL;
    }
    err = identity_write(path, made);
    if (err)
        return err;
    CRASH_POINT("agent.identity.kept");
    *ret_identity = made;
    made = NULL;
    return NULL;
}

static Error *ask(CurveClient *client, const Mail__TokenText *token)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Join join = MAIL__JOIN__INIT;

    join.node = token->node;
    join.has_secret = true;
    join.secret = token->secret;
    join.release = (char *)MAILNODE_RELEASE;
    envelope.body_case = MAIL__ENVELOPE__BODY_JOIN;
    envelope.join = &join;
    return curve_client_send(client, &envelope);
}

/* *ret_joined: the controller said yes. */
static Error *hear(CurveClient *client, bool *ret_joined)
{
    for (;;) {
        DEFER(envelope_free) Envelope *envelope = NULL;
        uint64_t id = 0;
        Error *err = curve_client_receive(client, &envelope, &id);
        if (err || !envelope)
            return err;
        *ret_joined = envelope->body_case == MAIL__ENVELOPE__BODY_JOINED;
        if (*ret_joined)
            return NULL;
        if (envelope->body_case == MAIL__ENVELOPE__BODY_FAILURE)
            return error_hint(error_of(envelope->failure),
                              "a token is good once and for an hour; on the controller: mailctl node replace NAME");
    }
}

static Error *prove(CurveClient *client, const Mail__TokenText *token)
{
    Msec until = clock_ms() + JOIN_WAIT_MS;
    bool joined = false;

    for (Msec now = clock_ms(); now < until && !stop_requested(); now = clock_ms()) {
        Error *err = NULL;
        curve_client_run(client, now);
        if (curve_client_connected(client))
            err = ask(client, token);
        if (!err)
            err = hear(client, &joined);
        if (err || joined)
            return err;
        Waiter wake = waiter_start();
        curve_client_wait(client, &wake);
        waiter_at(&wake, until);
        waiter_block(&wake);
    }
    const char *trouble = curve_client_trouble(client);
    return error_hint(error_new(ERROR_UNAVAILABLE, "controller not reached at %s: %s",
                                token->n_enrol_endpoints ? token->enrol_endpoints[0] : "-",
                                trouble ? trouble : "no answer"),
                      "is mail-controller running, and its enrolment port reachable from here?");
}

static Error *enrol(const Identity *identity, const Mail__TokenText *token)
{
    DEFER(curve_context_free) CurveContext *context = NULL;
    DEFER(curve_client_free) CurveClient *client = NULL;

    Error *err = curve_context_new(&context);
    if (!err)
        err = curve_connect(context, (const char *const *)token->enrol_endpoints, token->n_enrol_endpoints,
                            token->controller_key, identity->public_key, identity->secret_key, &client);
    return err ? err : prove(client, token);
}

Error *join(const char *root, const char *text, bool replace)
{
    Path path = path_in(root, "etc/mailnode/node/identity");
    Path kept = path_in(root, "etc/mailnode/node/identity.new");
    DEFER(token_free) Mail__TokenText *token = NULL;
    DEFER(identity_free) Identity *identity = NULL;

    if (!replace && access(path.text, F_OK) == 0)
        return error_hint(error_new(ERROR_EXISTS, "this machine is a node already: %s", path.text),
                          "mail-agent join --replace gives up the old identity");
    Error *err = parse_token(text, &token);
    if (err)
        return err;
    err = key_pair(kept.text, token, &identity);
    if (!err)
        err = enrol(identity, token);
    if (err)
        return error_in(err, "join %s", token->node);
    CRASH_POINT("agent.identity.writing");
    err = identity_write(path.text, identity);
    if (err)
        return err;
    CRASH_POINT("agent.identity.written");
    unlink(kept.text);
    printf("%s joined, key %s\n", token->node, key_fingerprint(identity->public_key).text);
    return NULL;
}

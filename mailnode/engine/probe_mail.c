/* Postfix and Dovecot: what a client says to them, on each address. */
#include "engine/probe_dialogues.h"

#include "base/alloc.h"
#include "engine/dialogue.h"
#include "tables/places.h"

#include <ctype.h>
#include <string.h>

static Error *greeted(const char *address, uint16_t port, bool tls, const char *words, Msec until,
                      Dialogue **ret_dialogue)
{
    DEFER(dialogue_free) Dialogue *dialogue = NULL;

    Error *err = dialogue_tcp(address, port, until, &dialogue);
    if (!err && tls)
        err = dialogue_tls(dialogue);
    if (!err)
        err = dialogue_expect(dialogue, words);
    if (err)
        return err;
    *ret_dialogue = dialogue;
    dialogue = NULL;
    return NULL;
}

/* ---- Postfix ----------------------------------------------------------------------- */

/* All lines of one reply, with spaces between; RFC 5321 4.2.1. */
static Error *reply(Dialogue *smtp, Buf *ret_text)
{
    char line[DIALOGUE_LINE_MAX];

    buf_clear(ret_text);
    do {
        Error *err = dialogue_line(smtp, line);
        if (err)
            return err;
        if (!isdigit((unsigned char)line[0]) || !isdigit((unsigned char)line[1]) || !isdigit((unsigned char)line[2]))
            return error_new(ERROR_UNAVAILABLE, "answered '%.200s', which is no SMTP", line);
        if (!buf_printf(ret_text, "%s ", line))
            return error_new(ERROR_UNAVAILABLE, "answered without an end");
    } while (line[3] == '-');
    return NULL;
}

static Error *ask(Dialogue *smtp, const char *command, Buf *ret_text)
{
    Error *err = dialogue_say_line(smtp, command);
    if (!err)
        err = reply(smtp, ret_text);
    return error_in(err, "%.4s", command);
}

/* Yes, no and later are all coherent; 421 and 4.3.5 are Postfix's own words for a configuration that it cannot use. */
static Error *ask_coherent(Dialogue *smtp, const char *command, Buf *ret_text)
{
    Error *err = ask(smtp, command, ret_text);
    if (err)
        return err;
    const char *text = buf_text(ret_text);
    if (strncmp(text, "421", 3) == 0 || strstr(text, " 4.3.5 "))
        return error_new(ERROR_UNAVAILABLE, "%.4s: answered '%.200s'", command, text);
    return NULL;
}

static Error *smtp_25(const char *address, Msec until)
{
    DEFER(dialogue_free) Dialogue *smtp = NULL;
    DEFER(xfree) char *recipient = xasprintf("RCPT TO:<mailnode-probe@%s>", probe_domain());
    DEFER(buf_done) Buf text = {.limit = 16384};

    Error *err = greeted(address, 25, false, "220 ", until, &smtp);
    if (!err)
        err = ask_coherent(smtp, "EHLO probe.invalid", &text);
    if (!err)
        err = ask_coherent(smtp, "MAIL FROM:<>", &text);
    if (!err)
        err = ask_coherent(smtp, recipient, &text);
    if (!err)
        err = ask(smtp, "QUIT", &text);
    return error_in(err, "port 25 of %s", address);
}

static Error *smtp_587(const char *address, Msec until)
{
    DEFER(dialogue_free) Dialogue *smtp = NULL;
    DEFER(buf_done) Buf text = {.limit = 16384};

    Error *err = greeted(address, 587, false, "220 ", until, &smtp);
    if (!err)
        err = ask_coherent(smtp, "EHLO probe.invalid", &text);
    if (!err && !strstr(buf_text(&text), "STARTTLS "))
        err = error_new(ERROR_UNAVAILABLE, "offers no STARTTLS");
    if (!err && strstr(buf_text(&text), "AUTH"))
        err = error_new(ERROR_UNAVAILABLE, "offers AUTH without TLS");
    if (!err)
        err = ask(smtp, "QUIT", &text);
    return error_in(err, "port 587 of %s", address);
}

static Error *smtp_greets(const char *address, uint16_t port, bool tls, Msec until)
{
    DEFER(dialogue_free) Dialogue *smtp = NULL;
    DEFER(buf_done) Buf text = {.limit = 16384};

    Error *err = greeted(address, port, tls, "220 ", until, &smtp);
    if (!err)
        err = ask(smtp, "QUIT", &text);
    return error_in(err, "port %u of %s", port, address);
}

Error *probe_postfix(const NodeState *state, Msec until)
{
    Error *err = NULL;

    for (size_t i = 0; i < probe_addresses(state) && !err; i++) {
        const char *address = probe_address(state, i);
        err = smtp_25(address, until);
        if (!err)
            err = smtp_587(address, until);
        if (!err)
            err = smtp_greets(address, 465, true, until);
    }
    if (!err)
        err = smtp_greets(state->loopback, PORT_REINJECT, false, until);
    return err;
}

/* ---- Dovecot ----------------------------------------------------------------------- */

static const struct {
    uint16_t port;
    bool tls;
    const char *greeting, *goodbye;
} services[] = {
    {143, false, "* OK", "x LOGOUT\r\n"},
    {993, true, "* OK", "x LOGOUT\r\n"},
    {110, false, "+OK", "QUIT\r\n"},
    {995, true, "+OK", "QUIT\r\n"},
    {4190, false, "\"IMPLEMENTATION\"", "LOGOUT\r\n"},
};

static Error *greets(const char *address, size_t service, Msec until)
{
    DEFER(dialogue_free) Dialogue *dialogue = NULL;

    Error *err =
        greeted(address, services[service].port, services[service].tls, services[service].greeting, until, &dialogue);
    if (!err)
        dialogue_goodbye(dialogue, services[service].goodbye, strlen(services[service].goodbye));
    return error_in(err, "port %u of %s", services[service].port, address);
}

static Error *lmtp(const NodeState *state, Msec until)
{
    DEFER(xfree) char *path = xasprintf(PLACE_LMTP_SOCKET, state->root);
    DEFER(dialogue_free) Dialogue *dialogue = NULL;

    Error *err = dialogue_unix(path, until, &dialogue);
    if (!err)
        err = dialogue_expect(dialogue, "220 ");
    if (!err)
        dialogue_goodbye(dialogue, "QUIT\r\n", 6);
    return error_in(err, "LMTP");
}

Error *probe_dovecot(const NodeState *state, Msec until)
{
    Error *err = NULL;

    for (size_t i = 0; i < probe_addresses(state) && !err; i++) {
        for (size_t k = 0; k < sizeof services / sizeof *services && !err; k++)
            err = greets(probe_address(state, i), k, until);
    }
    if (!err)
        err = lmtp(state, until);
    return err;
}

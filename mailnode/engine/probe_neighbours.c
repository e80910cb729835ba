/* What only the node itself asks: Rspamd, Redis, clamd, Unbound, slapd. */
#include "engine/probe_dialogues.h"

#include "base/alloc.h"
#include "base/path.h"
#include "engine/dialogue.h"
#include "tables/places.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Rspamd ------------------------------------------------------------------------ */

static Error *controller_pings(const NodeState *state, Msec until)
{
    DEFER(xfree) char *path = xasprintf(PLACE_RSPAMD_CONTROLLER, state->root);
    DEFER(dialogue_free) Dialogue *http = NULL;
    char line[DIALOGUE_LINE_MAX];

    Error *err = dialogue_unix(path, until, &http);
    if (!err)
        err = dialogue_say_line(http, "GET /ping HTTP/1.0\r\n");
    if (!err)
        err = dialogue_line(http, line);
    if (!err && (strncmp(line, "HTTP/1.", 7) != 0 || !strstr(line, " 200")))
        err = error_new(ERROR_UNAVAILABLE, "answered '%.200s'", line);
    return error_in(err, "controller");
}

/* SMFIC_OPTNEG, version 6, all actions, all protocol steps (libmilter/mfapi.h). */
static Error *milter_negotiates(const NodeState *state, Msec until)
{
    static const uint8_t offer[] = {0, 0, 0, 13, 'O', 0, 0, 0, 6, 0, 0, 0x01, 0xff, 0, 0x1f, 0xff, 0xff};
    DEFER(xfree) char *path = xasprintf(PLACE_MILTER_SOCKET, state->root);
    DEFER(dialogue_free) Dialogue *milter = NULL;
    uint8_t answer[5];

    Error *err = dialogue_unix(path, until, &milter);
    if (!err)
        err = dialogue_say(milter, offer, sizeof offer);
    if (!err)
        err = dialogue_take(milter, answer, sizeof answer);
    if (!err && answer[4] != 'O')
        err = error_new(ERROR_UNAVAILABLE, "answered the negotiation with 0x%02x", answer[4]);
    return error_in(err, "milter");
}

Error *probe_rspamd(const NodeState *state, Msec until)
{
    Error *err = controller_pings(state, until);
    return err ? err : milter_negotiates(state, until);
}

/* ---- Redis, clamd ------------------------------------------------------------------ */

Error *probe_redis(const NodeState *state, Msec until)
{
    DEFER(xfree) char *path = xasprintf(PLACE_REDIS_SOCKET, state->root);
    DEFER(dialogue_free) Dialogue *redis = NULL;

    Error *err = dialogue_unix(path, until, &redis);
    if (!err)
        err = dialogue_say_line(redis, "PING");
    if (!err)
        err = dialogue_expect(redis, "+PONG");
    return error_in(err, "PING");
}

Error *probe_clamd(const NodeState *state, Msec until)
{
    static const char ping[] = "zPING", pong[] = "PONG";
    DEFER(xfree) char *path = xasprintf(PLACE_CLAMD_SOCKET, state->root);
    DEFER(dialogue_free) Dialogue *clamd = NULL;
    char answer[sizeof pong];

    Error *err = dialogue_unix(path, until, &clamd);
    if (!err)
        err = dialogue_say(clamd, ping, sizeof ping); /* with its NUL */
    if (!err)
        err = dialogue_take(clamd, answer, sizeof answer);
    if (!err && memcmp(answer, pong, sizeof pong) != 0)
        err = error_new(ERROR_UNAVAILABLE, "answered something else");
    return error_in(err, "PING");
}

/* ---- Unbound ----------------------------------------------------------------------- */

enum { DNS_HEADER = 12, DNS_NAME_MAX = 255 };

/* A question for the A record of 'name' (RFC 1035 4.1). */
static size_t dns_question(const char *name, uint8_t out[DNS_HEADER + DNS_NAME_MAX + 6])
{
    static const uint8_t header[DNS_HEADER] = {0x4d, 0x4e, 0x01, 0, 0, 1};
    static const uint8_t type_and_class[] = {0, 0, 1, 0, 1}; /* behind the root's empty label */
    size_t at = DNS_HEADER;

    memcpy(out, header, sizeof header);
    while (*name) {
        size_t len = strcspn(name, ".");
        out[at++] = (uint8_t)len;
        memcpy(out + at, name, len);
        at += len;
        name += len + (name[len] == '.');
    }
    memcpy(out + at, type_and_class, sizeof type_and_class);
    return at + sizeof type_and_class;
}

Error *probe_unbound(const NodeState *state, Msec until)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(PORT_DNS)};
    DEFER(fd_close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint8_t packet[1024];
    Msec now = clock_ms();

    size_t size = dns_question(DNS_READY_NAME, packet);
    if (inet_pton(AF_INET, state->loopback, &where.sin_addr) != 1)
        return error_new(ERROR_INVALID, "'%s' is no IPv4 address", state->loopback);
    if (fd < 0 || connect(fd, (struct sockaddr *)&where, sizeof where) != 0 || send(fd, packet, size, 0) < 0)
        return error_system("query");
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    if (poll(&poll_fd, 1, until > now ? (int)(until - now) : 0) <= 0)
        return error_new(ERROR_UNAVAILABLE, "query: no answer in time");
    ssize_t got = recv(fd, packet, sizeof packet, 0);
    if (got < 0)
        return error_system("query");
    if (got < DNS_HEADER || packet[0] != 0x4d || packet[1] != 0x4e || !(packet[2] & 0x80))
        return error_new(ERROR_UNAVAILABLE, "query: answered something else");
    if ((packet[3] & 0x0f) != 0 || (packet[6] == 0 && packet[7] == 0))
        return error_new(ERROR_UNAVAILABLE, "query: answered with code %d and no record", packet[3] & 0x0f);
    return NULL;
}

/* ---- slapd ------------------------------------------------------------------------- */

/* The search of RFC 4511 4.5.1 for the empty DN, base, (objectClass=*), no attributes ("1.1"); and 4.3, unbind. */
static const uint8_t root_search[] = {
    0x30, 0x2a, 0x02, 0x01, 0x01, 0x63, 0x25, 0x04, 0x00, 0x0a, 0x01, 0x00, 0x0a, 0x01, 0x00,
    0x02, 0x01, 0x00, 0x02, 0x01, 0x05, 0x01, 0x01, 0x00, 0x87, 0x0b, 'o',  'b',  'j',  'e',
    'c',  't',  'C',  'l',  'a',  's',  's',  0x30, 0x05, 0x04, 0x03, '1',  '.',  '1',
};
static const uint8_t unbind[] = {0x30, 0x05, 0x02, 0x01, 0x02, 0x42, 0x00};
enum { SEARCH_RESULT_ENTRY = 0x64 };

Error *probe_slapd(const NodeState *state, Msec until)
{
    DEFER(xfree) char *path = xasprintf(PLACE_LDAPI, state->root);
    DEFER(dialogue_free) Dialogue *ldap = NULL;
    uint8_t answer[6] = {0}; /* sequence, length, message id (3), what it is */

    Error *err = dialogue_unix(path, until, &ldap);
    if (!err)
        err = dialogue_say(ldap, root_search, sizeof root_search);
    if (!err)
        err = dialogue_take(ldap, answer, sizeof answer);
    if (!err && (answer[0] != 0x30 || answer[5] != SEARCH_RESULT_ENTRY))
        err = error_new(ERROR_UNAVAILABLE, "answered with 0x%02x, no entry", answer[5]);
    if (!err)
        dialogue_goodbye(ldap, unbind, sizeof unbind);
    return error_in(err, "search");
}

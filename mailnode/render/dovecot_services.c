/* Processes, sockets and ports */
#include "render/dovecot.h"

#include "tables/places.h"

#include <assert.h>
#include <string.h>

enum { LOGINS_READY = 2, SESSIONS_PER_PROCESS = 200, AUTH_CLIENTS = 4096 };

/* Sockets that others know by places.h lie in base_dir under their last name. */
static void socket_of(DovecotConf *cf, const char *place, const char *user)
{
    const char *folder = PLACE_RUN_DOVECOT "/";

    assert(strncmp(place, folder, strlen(folder)) == 0);
    dovecotconf_section(cf, "unix_listener", place + strlen(folder));
    dovecotconf_set(cf, "mode", "0600");
    dovecotconf_set(cf, "user", user);
    dovecotconf_end(cf);
}

static void port(DovecotConf *cf, const char *name, uint64_t number, bool wrapped)
{
    dovecotconf_section(cf, "inet_listener", name);
    dovecotconf_number(cf, "port", number);
    if (wrapped)
        dovecotconf_yes(cf, "ssl", true);
    dovecotconf_end(cf);
}

/* Reused processes made 787 to 1,189 logins a second of 51 to 109; one of their own for each login keeps those who have
 * not said who they are apart from each other. */
static void login_mode(DovecotConf *cf, const NodeState *state, uint64_t n_ready)
{
    bool reused = state->settings->login_mode == MAIL__LOGIN_MODE__PERFORMANCE;

    dovecotconf_number(cf, "service_count", reused ? 0 : 1);
    if (n_ready)
        dovecotconf_number(cf, "process_min_avail", n_ready);
}

static void logins(DovecotConf *cf, const NodeState *state)
{
    dovecotconf_section(cf, "service", "imap-login");
    login_mode(cf, state, LOGINS_READY);
    port(cf, "imap", 143, false);
    port(cf, "imaps", 993, true);
    dovecotconf_end(cf);

    dovecotconf_section(cf, "service", "pop3-login");
    login_mode(cf, state, 0);
    port(cf, "pop3", 110, false);
    port(cf, "pop3s", 995, true);
    dovecotconf_end(cf);

    dovecotconf_section(cf, "service", "managesieve-login");
    login_mode(cf, state, 0);
    port(cf, "sieve", 4190, false);
    dovecotconf_end(cf);
}

static void sessions(DovecotConf *cf, const NodeState *state)
{
    bool reused = state->settings->login_mode == MAIL__LOGIN_MODE__PERFORMANCE;

    dovecotconf_section(cf, "service", "imap");
    dovecotconf_number(cf, "service_count", reused ? SESSIONS_PER_PROCESS : 1);
    dovecotconf_number(cf, "process_min_avail", LOGINS_READY);
    dovecotconf_end(cf);
}

/* Deliveries are vmail's work from the beginning: root parses no mail. */
static void delivery(DovecotConf *cf)
{
    dovecotconf_section(cf, "service", "lmtp");
    dovecotconf_set(cf, "user", "vmail");
    dovecotconf_number(cf, "service_count", SESSIONS_PER_PROCESS);
    socket_of(cf, PLACE_LMTP_SOCKET, "postfix");
    dovecotconf_end(cf);
}

static void authentication(DovecotConf *cf)
{
    dovecotconf_section(cf, "service", "auth");
    dovecotconf_number(cf, "client_limit", AUTH_CLIENTS); /* above all process limits together, or Dovecot warns */
    socket_of(cf, PLACE_AUTH_SOCKET, "postfix");
    dovecotconf_section(cf, "unix_listener", "auth-userdb");
    dovecotconf_set(cf, "mode", "0600");
    dovecotconf_set(cf, "user", "vmail");
    dovecotconf_end(cf);
    dovecotconf_end(cf);

    /* Root by default, for passwords of the system.  It reads mail.db, and slapd knows it by its uid. */
    dovecotconf_section(cf, "service", "auth-worker");
    dovecotconf_set(cf, "user", "dovecot");
    dovecotconf_set(cf, "extra_groups", "mailtables");
    dovecotconf_end(cf);
}

/* Sessions, which are vmail's, say what is shared; the file is the agent's and the group's. */
static void dictionary(DovecotConf *cf)
{
    dovecotconf_section(cf, "service", "dict");
    dovecotconf_set(cf, "extra_groups", "mailtables");
    dovecotconf_section(cf, "unix_listener", "dict");
    dovecotconf_set(cf, "mode", "0600");
    dovecotconf_set(cf, "user", "vmail");
    dovecotconf_end(cf);
    dovecotconf_end(cf);
}

void dovecot_services(DovecotConf *cf, const NodeState *state)
{
    authentication(cf);
    logins(cf, state);
    sessions(cf, state);
    delivery(cf);
    dictionary(cf);
}

#include "ldap/conn.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/loop.h"
#include "ldap/sync.h"

#include <assert.h>
#include <ldap.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct Conn {
    LDAP *ld;
    bool lost;
    int sync_id; /* of the search that goes on; 0: none */
};

/* ---- what the directory's answers mean ---- */

static const struct {
    int result;
    ErrorCode code;
} meanings[] = {
    {LDAP_NO_SUCH_OBJECT, ERROR_NOT_FOUND},
    {LDAP_ALREADY_EXISTS, ERROR_EXISTS},
    {LDAP_TYPE_OR_VALUE_EXISTS, ERROR_CONFLICT},
    {LDAP_NO_SUCH_ATTRIBUTE, ERROR_CONFLICT},
    {LDAP_CONSTRAINT_VIOLATION, ERROR_INVALID},
    {LDAP_INVALID_SYNTAX, ERROR_INVALID},
    {LDAP_INVALID_DN_SYNTAX, ERROR_INVALID},
    {LDAP_NAMING_VIOLATION, ERROR_INVALID},
    {LDAP_OBJECT_CLASS_VIOLATION, ERROR_INVALID},
    {LDAP_INSUFFICIENT_ACCESS, ERROR_DENIED},
    {LDAP_INVALID_CREDENTIALS, ERROR_DENIED},
    {LDAP_SIZELIMIT_EXCEEDED, ERROR_UNAVAILABLE}, /* half an answer is none */
    {LDAP_TIMELIMIT_EXCEEDED, ERROR_UNAVAILABLE},
    {LDAP_ADMINLIMIT_EXCEEDED, ERROR_UNAVAILABLE},
    {LDAP_BUSY, ERROR_UNAVAILABLE},
    {LDAP_UNAVAILABLE, ERROR_UNAVAILABLE},
    {LDAP_UNWILLING_TO_PERFORM, ERROR_UNAVAILABLE}, /* slapd that is about to end */
    {LDAP_SERVER_DOWN, ERROR_UNAVAILABLE},
    {LDAP_CONNECT_ERROR, ERROR_UNAVAILABLE},
    {LDAP_TIMEOUT, ERROR_UNAVAILABLE},
    {LDAP_DECODING_ERROR, ERROR_UNAVAILABLE},
};

static ErrorCode meaning(int result)
{
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].result == result)
            return meanings[i].code;
    return ERROR_SYSTEM;
}

static Error *answer_error(int result, const char *more)
{
    return error_new(meaning(result), "directory: %s%s%s", ldap_err2string(result), more && *more ? ": " : "",
                     more ? more : "");
}

/* libldap's own trouble: the connection is over. */
static Error *broken(Conn *conn, int result)
{
    conn->lost = true;
    Error *err = answer_error(result, NULL);
    err->code = ERROR_UNAVAILABLE;
    return err;
}

static Error *result_error(Conn *conn, LDAPMessage *message)
{
    char *more = NULL;
    int result = LDAP_OTHER;

    int rc = ldap_parse_result(conn->ld, message, &result, NULL, &more, NULL, NULL, 0);
    Error *err = rc != LDAP_SUCCESS ? broken(conn, rc) : result == LDAP_SUCCESS ? NULL : answer_error(result, more);
    ldap_memfree(more);
    if (err && err->code == ERROR_UNAVAILABLE)
        conn->lost = true;
    return err;
}

/* The next message that answers 'id'; all: only when everything is there. */
static Error *next_message(Conn *conn, int id, int all, Msec until, LDAPMessage **ret_message)
{
    Msec now = clock_ms(), left = until > now ? until - now : 0;
    struct timeval wait = {.tv_sec = (time_t)(left / 1000), .tv_usec = (suseconds_t)(left % 1000) * 1000};

    int got = ldap_result(conn->ld, id, all, &wait, ret_message);
    if (got > 0)
        return NULL;
    if (got < 0) {
        int number = LDAP_SERVER_DOWN;
        ldap_get_option(conn->ld, LDAP_OPT_RESULT_CODE, &number);
        return broken(conn, number == LDAP_SUCCESS ? LDAP_SERVER_DOWN : number);
    }
    ldap_abandon_ext(conn->ld, id, NULL, NULL);
    conn->lost = true;
    return error_new(ERROR_UNAVAILABLE, "directory: no answer in time");
}

/* Of an operation with one answer.  rc: of the call that sent it. */
static Error *wait_done(Conn *conn, int rc, int id, Msec wait_ms)
{
    LDAPMessage *message = NULL;

    if (rc != LDAP_SUCCESS)
        return broken(conn, rc);
    Error *err = next_message(conn, id, LDAP_MSG_ALL, clock_ms() + wait_ms, &message);
    if (!err)
        err = result_error(conn, message);
    ldap_msgfree(message);
    return err;
}

/* ---- opening ---- */

static void limit_messages(LDAP *ld)
{
    ber_len_t most = CONN_MESSAGE_BYTES;
    Sockbuf *sockbuf = NULL;

    if (ldap_get_option(ld, LDAP_OPT_SOCKBUF, &sockbuf) == LDAP_SUCCESS && sockbuf)
        ber_sockbuf_ctrl(sockbuf, LBER_SB_OPT_SET_MAX_INCOMING, &most);
}

static char *socket_url(const char *socket)
{
    DEFER(buf_done) Buf url = {0};

    buf_append_text(&url, "ldapi://");
    for (const char *at = socket; *at; at++)
        buf_printf(&url, "%%%02X", (unsigned char)*at);
    return xstrdup(buf_text(&url));
}

static Error *start(const char *socket, Conn **ret_conn)
{
    DEFER(conn_free) Conn *conn = xcalloc(1, sizeof *conn);
    DEFER(xfree) char *url = socket_url(socket);
    struct timeval wait = {.tv_sec = CONN_GREET_MS / 1000};
    int version = LDAP_VERSION3;

    int rc = ldap_initialize(&conn->ld, url);
    if (rc == LDAP_SUCCESS)
        rc = ldap_set_option(conn->ld, LDAP_OPT_PROTOCOL_VERSION, &version);
    if (rc == LDAP_SUCCESS)
        rc = ldap_set_option(conn->ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
    if (rc == LDAP_SUCCESS)
        rc = ldap_set_option(conn->ld, LDAP_OPT_RESTART, LDAP_OPT_ON);
    if (rc == LDAP_SUCCESS)
        rc = ldap_set_option(conn->ld, LDAP_OPT_NETWORK_TIMEOUT, &wait); /* of connect(2); there is no TLS here */
    if (rc != LDAP_SUCCESS)
        return broken(conn, rc);
    limit_messages(conn->ld);
    *ret_conn = conn;
    conn = NULL;
    return NULL;
}

Error *conn_open(const char *socket, Conn **ret_conn)
{
    DEFER(conn_free) Conn *conn = NULL;
    struct berval nobody = {0, (char *)""};
    int id = 0;

    Error *err = start(socket, &conn);
    if (err)
        return err;
    int rc = ldap_sasl_bind(conn->ld, NULL, "EXTERNAL", &nobody, NULL, NULL, &id);
    err = wait_done(conn, rc, id, CONN_GREET_MS);
    if (err)
        return err;
    *ret_conn = conn;
    conn = NULL;
    return NULL;
}

Error *conn_may_bind(const char *socket, const char *dn, const void *password, size_t size, bool *ret_may)
{
    DEFER(conn_free) Conn *conn = NULL;
    struct berval secret = {size, (char *)password};
    int id = 0;

    assert(size); /* RFC 4513 5.1.2: an empty one asks for nothing, and may be answered well */
    Error *err = start(socket, &conn);
    if (err)
        return err;
    int rc = ldap_sasl_bind(conn->ld, dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, &id);
    err = wait_done(conn, rc, id, CONN_WAIT_MS);
    bool may = !err;
    if (err && err->code != ERROR_DENIED)
        return err;
    error_free(&err);
    *ret_may = may;
    return NULL;
}

void conn_free(Conn **conn)
{
    if (!*conn)
        return;
    if ((*conn)->ld)
        ldap_unbind_ext((*conn)->ld, NULL, NULL);
    free(*conn);
    *conn = NULL;
}

/* Nothing was asked: what can be read is the end, or a word about it (RFC 4511 4.4.1). */
static bool hung_up(const Conn *conn)
{
    struct pollfd fd = {.fd = conn_fd(conn), .events = POLLIN};

    return !conn->sync_id && poll(&fd, 1, 0) > 0;
}

bool conn_lost(const Conn *conn)
{
    return conn->lost || hung_up(conn);
}

/* ---- searching ---- */

const Attribute *entry_attribute(const Entry *entry, const char *name)
{
    for (size_t i = 0; i < entry->n; i++)
        if (strcasecmp(entry->attributes[i].name, name) == 0)
            return &entry->attributes[i];
    return NULL;
}

enum { ATTRIBUTES_MAX = 16 }; /* no search of ours asks for more */

/* An entry in libldap's memory, and as it is handed on. */
typedef struct Held {
    char *dn;
    char *names[ATTRIBUTES_MAX];
    struct berval **values[ATTRIBUTES_MAX];
    Value *copies[ATTRIBUTES_MAX];
    Attribute attributes[ATTRIBUTES_MAX];
    size_t n;
} Held;

static void held_done(Held *held)
{
    for (size_t i = 0; i < held->n; i++) {
        ldap_memfree(held->names[i]);
        ldap_value_free_len(held->values[i]);
        free(held->copies[i]);
    }
    ldap_memfree(held->dn);
}

static void hold_attribute(Held *held, Conn *conn, LDAPMessage *message, char *name)
{
    size_t i = held->n++;

    held->names[i] = name;
    held->values[i] = ldap_get_values_len(conn->ld, message, name);
    size_t n = (size_t)ldap_count_values_len(held->values[i]);
    held->copies[i] = xcalloc(n + 1, sizeof *held->copies[i]);
    for (size_t k = 0; k < n; k++)
        held->copies[i][k] = (Value){held->values[i][k]->bv_val, held->values[i][k]->bv_len};
    held->attributes[i] = (Attribute){name, held->copies[i], n};
}

static void hold(Held *held, Conn *conn, LDAPMessage *message)
{
    BerElement *at = NULL;

    held->dn = ldap_get_dn(conn->ld, message);
    for (char *name = ldap_first_attribute(conn->ld, message, &at); name;
         name = ldap_next_attribute(conn->ld, message, at))
        if (held->n < ATTRIBUTES_MAX)
            hold_attribute(held, conn, message, name);
        else
            ldap_memfree(name);
    ber_free(at, 0);
}

typedef struct Search {
    Conn *conn;
    Error *(*each)(void *context, const Entry *entry);
    void *context;
    Msec wait_ms;         /* for a page */
    struct berval cookie; /* of the next page; none: empty */
} Search;

static Error *search_entry(Search *search, LDAPMessage *message)
{
    DEFER(held_done) Held held = {0};

    hold(&held, search->conn, message);
    return search->each(search->context, &(Entry){held.dn ? held.dn : "", held.attributes, held.n});
}

/* The end of a page: was it well, and is there another? */
static Error *search_result(Search *search, LDAPMessage *message)
{
    LDAPControl **controls = NULL;
    ber_int_t estimate = 0;

    ber_memfree(search->cookie.bv_val);
    search->cookie = (struct berval){0};
    Error *err = result_error(search->conn, message);
    if (err)
        return err;
    int rc = ldap_parse_result(search->conn->ld, message, NULL, NULL, NULL, NULL, &controls, 0);
    LDAPControl *paged = rc == LDAP_SUCCESS ? ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, controls, NULL) : NULL;
    if (rc == LDAP_SUCCESS && paged)
        rc = ldap_parse_pageresponse_control(search->conn->ld, paged, &estimate, &search->cookie);
    ldap_controls_free(controls);
    return rc == LDAP_SUCCESS ? NULL : broken(search->conn, rc);
}

static Error *search_page(Search *search, int id)
{
    Msec until = clock_ms() + search->wait_ms;

    for (bool over = false; !over;) {
        LDAPMessage *message = NULL;
        Error *err = next_message(search->conn, id, LDAP_MSG_ONE, until, &message);
        if (err)
            return err;
        int type = ldap_msgtype(message);
        over = type == LDAP_RES_SEARCH_RESULT;
        if (type == LDAP_RES_SEARCH_ENTRY)
            err = search_entry(search, message);
        else if (over)
            err = search_result(search, message);
        ldap_msgfree(message);
        if (err && !over)
            ldap_abandon_ext(search->conn->ld, id, NULL, NULL);
        if (err)
            return err;
    }
    return NULL;
}

static Error *page_ask(Search *search, const char *base, Scope scope, const char *filter, const char *const *attributes,
                       int *ret_id)
{
    LDAPControl *paged = NULL;
    LDAP *ld = search->conn->ld;

    int rc = ldap_create_page_control(ld, CONN_PAGE, &search->cookie, 1, &paged);
    if (rc == LDAP_SUCCESS)
        rc = ldap_search_ext(ld, base, scope == SCOPE_BASE ? LDAP_SCOPE_BASE : LDAP_SCOPE_ONELEVEL, filter,
                             (char **)attributes, 0, scope == SCOPE_ONE ? (LDAPControl *[]){paged, NULL} : NULL, NULL,
                             NULL, LDAP_NO_LIMIT, ret_id);
    if (paged)
        ldap_control_free(paged);
    return rc == LDAP_SUCCESS ? NULL : broken(search->conn, rc);
}

Error *conn_search(Conn *conn, const char *base, Scope scope, const char *filter, const char *const *attributes,
                   Error *(*each)(void *context, const Entry *entry), void *context)
{
    Search search = {
        .conn = conn,
        .each = each,
        .context = context,
        .wait_ms = scope == SCOPE_ONE ? CONN_WAIT_MS : CONN_GREET_MS,
    };
    Error *err = NULL;
    int id = 0;

    do {
        err = page_ask(&search, base, scope, filter, attributes, &id);
        if (!err)
            err = search_page(&search, id);
    } while (!err && search.cookie.bv_len);
    ber_memfree(search.cookie.bv_val);
    return err;
}

/* ---- a search that goes on ---- */

static Error *find_sync(void *context, const Entry *entry)
{
    const Attribute *offered = entry_attribute(entry, "supportedControl");
    bool *found = context;

    for (size_t i = 0; offered && i < offered->n; i++)
        *found = *found || strcmp(offered->values[i].data, LDAP_CONTROL_SYNC) == 0;
    return NULL;
}

Error *conn_may_sync(Conn *conn)
{
    bool offered = false;

    Error *err = conn_search(conn, "", SCOPE_BASE, "(objectClass=*)", (const char *const[]){"supportedControl", NULL},
                             find_sync, &offered);
    if (!err && !offered)
        err = error_new(ERROR_UNSUPPORTED, "directory: it does not offer to tell what changes");
    return err;
}

Error *conn_sync(Conn *conn, const char *base, const char *filter, const char *const *attributes, const char *cookie)
{
    DEFER(buf_done) Buf value = {0};
    LDAPControl control = {(char *)LDAP_CONTROL_SYNC, {0, NULL}, 1};

    assert(!conn->sync_id);
    sync_request(cookie, &value);
    control.ldctl_value = (struct berval){value.size, (char *)value.data};
    int rc = ldap_search_ext(conn->ld, base, LDAP_SCOPE_SUBTREE, filter, (char **)attributes, 0,
                             (LDAPControl *[]){&control, NULL}, NULL, NULL, LDAP_NO_LIMIT, &conn->sync_id);
    return rc == LDAP_SUCCESS ? NULL : broken(conn, rc);
}

typedef struct Syncing {
    Conn *conn;
    Error *(*each)(void *context, const SyncNews *news);
    void *context;
} Syncing;

static Error *not_understood(Conn *conn)
{
    conn->lost = true;
    return error_new(ERROR_UNAVAILABLE, "directory: its news are not understood");
}

static Error *sync_entry(const Syncing *syncing, LDAPMessage *message)
{
    DEFER(held_done) Held held = {0};
    LDAPControl **controls = NULL;
    SyncState state = {0};

    int rc = ldap_get_entry_controls(syncing->conn->ld, message, &controls);
    LDAPControl *control = rc == LDAP_SUCCESS ? ldap_control_find(LDAP_CONTROL_SYNC_STATE, controls, NULL) : NULL;
    bool understood = control && sync_state_read(control->ldctl_value.bv_val, control->ldctl_value.bv_len, &state);
    ldap_controls_free(controls);
    if (!understood)
        return not_understood(syncing->conn);
    SyncNews news = {
        .what = state.what, .uuids = &state.uuid, .n_uuids = 1, .cookie = *state.cookie ? state.cookie : NULL};
    hold(&held, syncing->conn, message);
    Entry entry = {held.dn ? held.dn : "", held.attributes, held.n};
    news.entry = &entry;
    return syncing->each(syncing->context, &news);
}

static Error *sync_info(const Syncing *syncing, LDAPMessage *message)
{
    struct berval *value = NULL;
    char *oid = NULL;
    SyncInfo info = {0};

    int rc = ldap_parse_intermediate(syncing->conn->ld, message, &oid, &value, NULL, 0);
    bool ours = rc == LDAP_SUCCESS && oid && strcmp(oid, LDAP_SYNC_INFO) == 0;
    bool understood = ours && value && sync_info_read(value->bv_val, value->bv_len, &info);
    ldap_memfree(oid);
    ber_bvfree(value);
    if (!understood)
        return ours || rc != LDAP_SUCCESS ? not_understood(syncing->conn) : NULL;
    SyncNews news = {
        .what = info.what,
        .uuids = (const unsigned char(*)[UUID_OCTETS])info.uuids.data,
        .n_uuids = info.uuids.size / UUID_OCTETS,
        .cookie = *info.cookie ? info.cookie : NULL,
    };
    Error *err = syncing->each(syncing->context, &news);
    if (!err && info.then_refreshed)
        err = syncing->each(syncing->context, &(SyncNews){.what = SYNC_REFRESHED, .cookie = news.cookie});
    buf_done(&info.uuids);
    return err;
}

/* Whatever it says: it goes on no more. */
static Error *sync_over(Conn *conn, LDAPMessage *message)
{
    int result = LDAP_OTHER;
    char *more = NULL;

    int rc = ldap_parse_result(conn->ld, message, &result, NULL, &more, NULL, NULL, 0);
    bool stale = result == LDAP_SYNC_REFRESH_REQUIRED || result == LDAP_UNWILLING_TO_PERFORM;
    Error *err = rc != LDAP_SUCCESS ? broken(conn, rc) : answer_error(result, more);
    err->code = rc == LDAP_SUCCESS && stale ? ERROR_CONFLICT : ERROR_UNAVAILABLE;
    if (result == LDAP_UNAVAILABLE_CRITICAL_EXTENSION) /* slapd offers it, and this database has it not */
        err->code = ERROR_UNSUPPORTED;
    ldap_memfree(more);
    conn->lost = true;
    return err;
}

static Error *sync_message(const Syncing *syncing, LDAPMessage *message)
{
    switch (ldap_msgtype(message)) {
    case LDAP_RES_SEARCH_ENTRY:
        return sync_entry(syncing, message);
    case LDAP_RES_INTERMEDIATE:
        return sync_info(syncing, message);
    case LDAP_RES_SEARCH_RESULT:
        return sync_over(syncing->conn, message);
    default: /* a referral */
        return NULL;
    }
}

Error *conn_synced(Conn *conn, Error *(*each)(void *context, const SyncNews *news), void *context)
{
    Syncing syncing = {conn, each, context};
    Error *err = NULL;

    while (!err) {
        struct timeval at_once = {0, 0};
        LDAPMessage *message = NULL;
        int got = ldap_result(conn->ld, conn->sync_id, LDAP_MSG_ONE, &at_once, &message);
        if (got == 0)
            return NULL;
        err = got < 0 ? broken(conn, LDAP_SERVER_DOWN) : sync_message(&syncing, message);
        ldap_msgfree(message);
    }
    return err;
}

int conn_fd(const Conn *conn)
{
    int fd = -1;

    ldap_get_option(conn->ld, LDAP_OPT_DESC, &fd);
    return fd;
}

/* ---- changing ---- */

static int ldap_op(ModOp op)
{
    return (op == MOD_ADD ? LDAP_MOD_ADD : op == MOD_DELETE ? LDAP_MOD_DELETE : LDAP_MOD_REPLACE) | LDAP_MOD_BVALUES;
}

/* RFC 4511 4.7: each attribute once. */
static LDAPMod *mod_of(Mods *mods, ModOp op, const char *attribute)
{
    for (size_t i = 0; i < mods->n; i++)
        if (mods->list[i]->mod_op == ldap_op(op) && strcmp(mods->list[i]->mod_type, attribute) == 0)
            return mods->list[i];
    mods->list = xrealloc(mods->list, (mods->n + 2) * sizeof *mods->list);
    LDAPMod *mod = xcalloc(1, sizeof *mod);
    mod->mod_op = ldap_op(op);
    mod->mod_type = xstrdup(attribute);
    mods->list[mods->n++] = mod;
    mods->list[mods->n] = NULL;
    return mod;
}

void mods_add(Mods *mods, ModOp op, const char *attribute, const char *value)
{
    LDAPMod *mod = mod_of(mods, op, attribute);
    size_t n = 0;

    if (!value)
        return;
    while (mod->mod_bvalues && mod->mod_bvalues[n])
        n++;
    if ((n & (n + 1)) == 0) /* grows by doubling */
        mod->mod_bvalues = xrealloc(mod->mod_bvalues, (2 * n + 2) * sizeof *mod->mod_bvalues);
    struct berval *copy = xmalloc(sizeof *copy);
    *copy = (struct berval){strlen(value), xstrdup(value)};
    mod->mod_bvalues[n] = copy;
    mod->mod_bvalues[n + 1] = NULL;
}

void mods_done(Mods *mods)
{
    for (size_t i = 0; i < mods->n; i++) {
        LDAPMod *mod = mods->list[i];
        for (size_t k = 0; mod->mod_bvalues && mod->mod_bvalues[k]; k++) {
            free(mod->mod_bvalues[k]->bv_val);
            free(mod->mod_bvalues[k]);
        }
        free(mod->mod_bvalues);
        free(mod->mod_type);
        free(mod);
    }
    free(mods->list);
    *mods = (Mods){0};
}

Error *conn_add(Conn *conn, const char *dn, const Mods *mods)
{
    int id = 0;
    int rc = ldap_add_ext(conn->ld, dn, mods->list, NULL, NULL, &id);

    return wait_done(conn, rc, id, CONN_WAIT_MS);
}

Error *conn_modify(Conn *conn, const char *dn, const Mods *mods)
{
    int id = 0;

    if (!mods->n)
        return NULL;
    int rc = ldap_modify_ext(conn->ld, dn, mods->list, NULL, NULL, &id);
    return wait_done(conn, rc, id, CONN_WAIT_MS);
}

Error *conn_delete(Conn *conn, const char *dn)
{
    int id = 0;
    int rc = ldap_delete_ext(conn->ld, dn, NULL, NULL, &id);

    return wait_done(conn, rc, id, CONN_WAIT_MS);
}

Error *conn_password(Conn *conn, const char *dn, const void *password, size_t size)
{
    struct berval user = {strlen(dn), (char *)dn}, secret = {size, (char *)password};
    int id = 0;

    assert(size); /* RFC 3062: none asks the directory to make one up */
    int rc = ldap_passwd(conn->ld, &user, NULL, &secret, NULL, NULL, &id);
    return wait_done(conn, rc, id, CONN_WAIT_MS);
}

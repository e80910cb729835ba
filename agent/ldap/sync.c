#include "ldap/sync.h"

#include "base/alloc.h"

#include <lber.h>
#include <ldap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODE_REFRESH_AND_PERSIST = 3 };

void sync_request(const char *cookie, Buf *out)
{
    BerElement *ber = ber_alloc_t(LBER_USE_DER);
    struct berval value = {0, NULL};

    if (!ber)
        abort();
    int rc = cookie ? ber_printf(ber, "{esb}", MODE_REFRESH_AND_PERSIST, cookie, 0)
                    : ber_printf(ber, "{eb}", MODE_REFRESH_AND_PERSIST, 0);
    if (rc == -1 || ber_flatten2(ber, &value, 0) != 0)
        abort(); /* memory alone can lack */
    buf_append(out, value.bv_val, value.bv_len);
    ber_free(ber, 1);
}

/* Cookies are octets; those of slapd are text, and others we do not keep. */
static bool cookie_take(const struct berval *value, char cookie[SYNC_COOKIE_MAX + 1])
{
    if (value->bv_len > SYNC_COOKIE_MAX || memchr(value->bv_val, '\0', value->bv_len))
        return false;
    memcpy(cookie, value->bv_val, value->bv_len);
    cookie[value->bv_len] = '\0';
    return true;
}

/* An optional cookie at the reader's place. */
static bool cookie_read(BerElement *ber, char cookie[SYNC_COOKIE_MAX + 1])
{
    struct berval value = {0, NULL};
    ber_len_t len = 0;

    cookie[0] = '\0';
    if (ber_peek_tag(ber, &len) != LDAP_TAG_SYNC_COOKIE)
        return true;
    return ber_scanf(ber, "m", &value) != LBER_ERROR && cookie_take(&value, cookie);
}

/* An optional boolean. */
static bool bool_read(BerElement *ber, bool usual, bool *ret_value)
{
    ber_int_t value = usual;
    ber_len_t len = 0;

    if (ber_peek_tag(ber, &len) == LBER_BOOLEAN && ber_scanf(ber, "b", &value) == LBER_ERROR)
        return false;
    *ret_value = value != 0;
    return true;
}

/* NULL: no octets. */
static BerElement *reader(const void *octets, size_t size)
{
    struct berval value = {size, (char *)octets};

    return size ? ber_init(&value) : NULL;
}

bool sync_state_read(const void *octets, size_t size, SyncState *ret_state)
{
    BerElement *ber = reader(octets, size);
    struct berval uuid = {0, NULL};
    ber_int_t state = -1;
    bool good = ber && ber_scanf(ber, "{em", &state, &uuid) != LBER_ERROR && uuid.bv_len == UUID_OCTETS &&
                state >= LDAP_SYNC_PRESENT && state <= LDAP_SYNC_DELETE && cookie_read(ber, ret_state->cookie);

    if (good) {
        memcpy(ret_state->uuid, uuid.bv_val, UUID_OCTETS);
        ret_state->what = state == LDAP_SYNC_PRESENT  ? SYNC_PRESENT
                          : state == LDAP_SYNC_DELETE ? SYNC_DELETED
                                                      : SYNC_CHANGED;
    }
    if (ber)
        ber_free(ber, 1);
    return good;
}

static bool uuids_read(BerElement *ber, Buf *out)
{
    char *end = NULL;
    ber_len_t len = 0;

    for (ber_tag_t tag = ber_first_element(ber, &len, &end); tag != LBER_DEFAULT && tag != LBER_ERROR;
         tag = ber_next_element(ber, &len, end)) {
        struct berval uuid = {0, NULL};
        if (ber_scanf(ber, "m", &uuid) == LBER_ERROR || uuid.bv_len != UUID_OCTETS ||
            out->size >= (size_t)SYNC_UUIDS_MAX * UUID_OCTETS)
            return false;
        buf_append(out, uuid.bv_val, uuid.bv_len);
    }
    return true;
}

static bool set_read(BerElement *ber, SyncInfo *info)
{
    bool deletes = false;
    ber_len_t len = 0;

    if (ber_scanf(ber, "{") == LBER_ERROR || !cookie_read(ber, info->cookie) || !bool_read(ber, false, &deletes) ||
        ber_peek_tag(ber, &len) != LBER_SET)
        return false;
    info->what = deletes ? SYNC_DELETED : SYNC_PRESENT;
    return uuids_read(ber, &info->uuids);
}

static bool phase_read(BerElement *ber, ber_tag_t tag, SyncInfo *info)
{
    info->what = tag == LDAP_TAG_SYNC_REFRESH_PRESENT ? SYNC_MENTIONED : SYNC_COOKIE;
    return ber_scanf(ber, "{") != LBER_ERROR && cookie_read(ber, info->cookie) &&
           bool_read(ber, true, &info->then_refreshed);
}

bool sync_info_read(const void *octets, size_t size, SyncInfo *ret_info)
{
    BerElement *ber = reader(octets, size);
    struct berval cookie = {0, NULL};
    ber_len_t len = 0;
    bool good = false;
    SyncInfo info = {0};
    ber_tag_t tag = ber ? ber_peek_tag(ber, &len) : LBER_ERROR;

    if (tag == LDAP_TAG_SYNC_NEW_COOKIE) {
        info.what = SYNC_COOKIE;
        good = ber_scanf(ber, "tm", &tag, &cookie) != LBER_ERROR && cookie_take(&cookie, info.cookie);
    } else if (tag == LDAP_TAG_SYNC_REFRESH_DELETE || tag == LDAP_TAG_SYNC_REFRESH_PRESENT) {
        good = phase_read(ber, tag, &info);
    } else if (tag == LDAP_TAG_SYNC_ID_SET) {
        good = set_read(ber, &info);
    }
    if (ber)
        ber_free(ber, 1);
    if (good)
        *ret_info = info;
    else
        buf_done(&info.uuids);
    return good;
}

void sync_cookie_csn(const char *cookie, char *text)
{
    const char *at = strstr(cookie, "csn=");

    text[0] = '\0';
    for (at = at ? at + 4 : NULL; at && *at && *at != ',';) { /* one for each provider */
        char csn[SYNC_COOKIE_MAX + 1];
        size_t len = strcspn(at, ";,");
        snprintf(csn, sizeof csn, "%.*s", (int)len, at);
        if (strcmp(csn, text) > 0)
            memcpy(text, csn, strlen(csn) + 1);
        at += len;
        at += *at == ';';
    }
}

void uuid_text(const unsigned char *o, char text[UUID_TEXT])
{
    snprintf(text, UUID_TEXT, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", o[0], o[1], o[2],
             o[3], o[4], o[5], o[6], o[7], o[8], o[9], o[10], o[11], o[12], o[13], o[14], o[15]);
}

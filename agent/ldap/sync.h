/* sync.h - the octets of RFC 4533: pure, and what comes is hostile */
#pragma once
#include "base/buf.h"
#include "ldap/conn.h"

enum { SYNC_COOKIE_MAX = 1024, SYNC_UUIDS_MAX = 1000000 };

/* The value of the request's control: refresh and persist.  cookie NULL: from nothing. */
void sync_request(const char *cookie, Buf *out);

/* What is said with an entry: SYNC_CHANGED, SYNC_PRESENT, SYNC_DELETED. */
typedef struct SyncState {
    SyncWhat what;
    unsigned char uuid[UUID_OCTETS];
    char cookie[SYNC_COOKIE_MAX + 1]; /* empty: none */
} SyncState;
bool sync_state_read(const void *octets, size_t size, SyncState *ret_state);

/* What is said between entries. */
typedef struct SyncInfo {
    SyncWhat what;       /* SYNC_COOKIE, SYNC_MENTIONED, SYNC_PRESENT, SYNC_DELETED */
    bool then_refreshed; /* the refresh is over after it */
    Buf uuids;           /* the caller's */
    char cookie[SYNC_COOKIE_MAX + 1];
} SyncInfo;
bool sync_info_read(const void *octets, size_t size, SyncInfo *ret_info);

/* The newest change that a cookie speaks of: "rid=000,csn=2026...Z#000000#000#000000"; empty: it does not say.  'size' of
 * text: at least SYNC_COOKIE_MAX + 1. */
void sync_cookie_csn(const char *cookie, char *text);

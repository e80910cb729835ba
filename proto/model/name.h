/* name.h - the one form of names and texts, type by type
 *
 * Validation and value.h stand on it.  Errors are INVALID and say only what is
 * wrong ("'@' is missing"): the caller knows where, and puts it in front.
 */
#pragma once
#include "base/error.h"
#include "options.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    NAME_MAX_LEN = 63,      /* octets: names of ours, and labels of domains (RFC 1035 2.3.4) */
    NAME_FQDN_LEN = 253,    /* RFC 1035 3.1, as text without the root's dot */
    NAME_LOCAL_LEN = 64,    /* RFC 5321 4.5.3.1.1 */
    NAME_ADDRESS_LEN = 254, /* RFC 5321 4.5.3.1.3, without < and > */
    NAME_SOUGHT_LEN = 320,  /* RFC 3696 errata: 64 + 1 + 255, which other servers may take */
    NAME_ACCOUNT_LEN = 255,
    NAME_PUBLIC_LEN = 200, /* of a public mailbox, all levels, also as it stands on the disk: one folder's name there */
};

/* The one selector that keys have today. */
#define DKIM_SELECTOR "default"
/* Longest domain whose record default._domainkey.DOMAIN is a name of DNS. */
enum { DKIM_DOMAIN_LEN = NAME_FQDN_LEN - (int)sizeof(DKIM_SELECTOR "._domainkey") };

/* Brings 'text' into the one form of a type whose values are texts: all but YES_NO, SIZE, SPAN, WORD, NUMBER,
 * SCORE and SECRET. */
CHECKED Error *text_normalise(Mail__FieldType type, const char *text, char **ret_text);

/* Valid UTF-8 as it is compared where case is nothing: NFC, in lower case; owned by the caller. */
char *text_folded(const char *text);

/* 192.0.2.0/24 or 2001:db8::7 as numbers. */
typedef struct Network {
    unsigned char octets[16]; /* network byte order */
    size_t n_octets;          /* 4 or 16 */
    unsigned bits;            /* of the prefix; all of them: one address */
} Network;
bool network_read(const char *text, Network *ret_network);

/* LOCAL@DOMAIN or LOCAL@*, the name of an address of ours: fewer local parts than type ADDRESS takes (SPEC.md F-085). */
CHECKED Error *address_key_normalise(const char *text, char **ret_text);

/* What envelopes are searched for: LOCAL@DOMAIN as somebody's server may have written it, or @DOMAIN, a whole domain; with
 * 'null_too' also "<>", the sender of bounces. */
CHECKED Error *sought_address_check(const char *text, bool null_too);

/* DOMAIN/SELECTOR, the name of a DKIM key.  The selector keeps its letter case (SPEC F-036). */
CHECKED Error *dkim_key_normalise(const char *text, char **ret_text);

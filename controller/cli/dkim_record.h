/* dkim_record.h - what DNS shall say of a DKIM key: RFC 6376 3.6.1
 *
 * Raw it is one line, "v=DKIM1; k=rsa; p=..."; as a line of a zone file (RFC 1035 5.1) it is cut into strings of at most 255
 * octets, which DNS puts together again without anything between them.
 */
#pragma once
#include "model/object.h"

typedef struct DkimRecord {
    char *domain, *selector;
    char *name;  /* "default._domainkey.example.org" */
    char *value; /* raw */
    char *zone;  /* lines, ended */
} DkimRecord;

void dkim_record_of(const Object *key, DkimRecord *ret_record);
void dkim_record_done(DkimRecord *record);

/* objects.h - asking for objects, one by one as they arrive */
#pragma once
#include "call.h"

typedef Error *EachObject(void *context, const Object *object);

/* Edits as one revision; its outcome is printed. */
CHECKED Error *change_send(Cli *cli, const Line *line, Mail__ObjectEdit **edits, size_t n_edits, int *ret_exit);

/* For 'public-mailbox list': addresses that lead to each, and "*@DOMAIN" for a catch-all.  instance NULL: of all; prefix: of
 * the mailboxes' names, NULL: all. */
typedef struct PublicAddresses PublicAddresses;
CHECKED Error *public_addresses_ask(Cli *cli, const char *instance, const char *prefix,
                                    PublicAddresses **ret_addresses);
void public_addresses_free(PublicAddresses **addresses);
const char *public_addresses_of(const PublicAddresses *addresses, const ObjectRef *mailbox); /* "no address": none */

/* begin: with every part of the answer, before its objects; nothing is called when the controller refuses. */
CHECKED Error *objects_each(Cli *cli, Mail__List *list, void (*begin)(void *context), EachObject *each, void *context);

/* One object as it is stored, and the values of its secrets: in the answer, which is wiped when it is freed.  The controller
 * tells of it among its events.  DENIED: who may not. */
CHECKED Error *secrets_ask(Cli *cli, Mail__Ref *ref, Envelope **ret_said, Object **ret_object);
/* Without a NUL at its end; NULL: erased. */
const ProtobufCBinaryData *secret_value_of(const Mail__SecretsAre *said, uint64_t id);

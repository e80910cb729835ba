/* requests.h - what admins ask, on the local socket and over CURVE, and what they are answered
 *
 * One closed table: body x session state -> handler; then one table of who may
 * (authorise.h).  Changes wait for the turn's batch (batch.h): one transaction, one
 * fsync, and only then answers.  Whoever waits for "in force" is looked at again
 * whenever nodes_moves, tasks_moves or events_newest has risen.
 */
#pragma once
#include "door.h"
#include "events.h"
#include "nodes.h"
#include "tasks.h"

#include "local/local.h"

typedef struct Requests Requests;

typedef struct RequestsParts { /* all outlive it */
    Store *store;
    Door *door;
    Nodes *nodes;
    Tasks *tasks;
    Events *events;
    const char *root;   /* below which all of it lies: for children */
    const char *socket; /* path of mailctl's socket, 0666: peer credentials decide */
} RequestsParts;

CHECKED Error *requests_new(const RequestsParts *parts, Requests **ret_requests);
void requests_free(Requests **requests);

/* Takes what arrived, works out changes, commits them, answers.  Also: takes back what nodes refused after the commit, admits
 * the keys of remote admins as they are stated. */
void requests_run(Requests *requests, Msec now);
void requests_wait(Requests *requests, Waiter *wake);

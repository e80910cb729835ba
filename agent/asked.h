/* asked.h - what the controller asks of this node's tables: mailboxes, senders, orphans
 *
 * An answer is gathered at once, as of one moment, and sent in parts as the link takes
 * them.
 */
#pragma once
#include "apply.h"
#include "journal.h"
#include "link.h"
#include "usage.h"

typedef struct Asked Asked;

enum { ASKED_MAX = 16 }; /* answers on their way */

Asked *asked_new(Link *link, Journal *journal, Apply *apply, Usage *usage); /* all outlive it */
void asked_free(Asked **asked);
void asked_run(Asked *asked, Msec now);
void asked_wait(const Asked *asked, Waiter *wake);

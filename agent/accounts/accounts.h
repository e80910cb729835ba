/* accounts.h - users and groups for the tables, from the directory's mirror or (in tests) from a file
 *
 * While none were ever read the gate of the tables stays closed; a reading that is not
 * whole changes nothing.
 */
#pragma once
#include "accounts/mirror.h"
#include "base/loop.h"
#include "report.pb-c.h"
#include "tables/mail_db.h"

typedef struct Accounts Accounts;

Accounts *accounts_new(const char *file);     /* NULL: no accounts ever */
Accounts *accounts_of_mirror(Mirror *mirror); /* taken over */
void accounts_free(Accounts **accounts);
void accounts_run(Accounts *accounts, Msec now);
void accounts_wait(const Accounts *accounts, Waiter *wake);

bool accounts_pending(
    const Accounts *accounts); /* what was read, or that nothing can be read, is not in the tables yet */
/* Between tables_begin and tables_commit: hands all of it over. */
CHECKED Error *accounts_write(Accounts *accounts, Tables *tables);
void accounts_written(Accounts *accounts, const Tables *tables); /* they committed it */
void accounts_again(Accounts *accounts);                         /* the tables lost it: read it anew */

/* As a fact, and when it was seen; the text lives until the next call. */
Mail__FactState accounts_state(Accounts *accounts, const char **ret_text, Msec now, Msec *ret_seen_at);

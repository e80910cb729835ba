/* work_relay.h - what relay rules of one instance owe each other (SPEC F-133 to F-135)
 *
 * Rules for recipients and the default rule that lead to one host and port have one
 * TLS level and one login: there the destination says who we are.  Rules for senders
 * keep their own.
 */
#pragma once
#include "work.h"

/* Behind the edit of a rule: what it does not say of TLS and login is that of the others to the same server. */
CHECKED Error *relay_follow(Work *work, Object *object, const Mail__ObjectEdit *edit);

/* What one rule alone must hold.  INVALID: the host is this instance itself; a user without a password. */
CHECKED Error *relay_put_check(Work *work, const Object *object);

/* Behind the put of a rule: the others to the same server become the same, each with a warning.  INVALID: one of them was
 * stated otherwise in the same change. */
CHECKED Error *relay_spread(Work *work, const Object *object,
                            Error *(*put)(Work *work, const Object *before, const Object *after));

/* work_destination.h - a backup destination gets its password with its first revision */
#pragma once
#include "work.h"

/* 'object' is new and empty, 'edit' is about to be done to it.  Without a password in the edit one is made: what nobody has
 * typed nobody can forget to change. */
CHECKED Error *destination_password(Work *work, Object *object, const Mail__ObjectEdit *edit);

/* change.h - field-wise edits of objects, worked out inside an open change
 *
 * Two admins who change different fields of one object do not undo each other: an
 * edit names fields, and is applied to what is stored when its turn comes.
 */
#pragma once
#include "work.h"

/* All of them or none: on an error the caller undoes the store's change.  work_finish is called. */
CHECKED Error *change_work(Work *work, Mail__ObjectEdit *const *edits, size_t n_edits);

/* objects.h - asking for objects, one by one as they arrive */
#pragma once
#include "call.h"

typedef Error *EachObject(void *context, const Object *object);

/* Edits as one revision; its outcome is printed. */
CHECKED Error *change_send(Cli *cli, const Line *line, Mail__ObjectEdit **edits, size_t n_edits, int *ret_exit);

/* begin: with every part of the answer, before its objects; nothing is called when the controller refuses. */
CHECKED Error *objects_each(Cli *cli, Mail__List *list, void (*begin)(void *context), EachObject *each, void *context);

/* task.h - what commands that start tasks share */
#pragma once
#include "call.h"

enum { TASK_ID_LEN = 26 };

/* Chosen here, so that a lost answer can be asked for. */
CHECKED Error *task_id_new(char ret_id[TASK_ID_LEN + 1]);
bool task_has_ended(Mail__TaskState state);

/* Starts it, and follows it to its end, as --detach and --timeout say.  Fills in id and detach. */
CHECKED Error *task_run(Cli *cli, const Line *line, Mail__TaskNew *wish, int *ret_exit);

/* Starts all of them, and follows each to its end. */
CHECKED Error *tasks_run(Cli *cli, const Line *line, Mail__TaskNew *wishes, size_t n, int *ret_exit);

/* task_inside.h - what the files of tasks.h share; nobody else includes it */
#pragma once
#include "tasks.h"

enum { TASK_RETRY_MS = 5000 /* the node could not begin it, or the store could not keep it */ };

typedef struct Task {
    Mail__TaskInfo *info; /* as stored, and its progress */
    bool dirty;           /* its state is to be stored */
    bool asked;           /* in this session what became of it */
    bool cancel;          /* to be told to the node */
    uint64_t start_id;    /* of the message that started it in this session; 0: none */
    Msec retry_at;
    Mail__TaskResult *result; /* heard, not stored yet; NULL: none */
    Mail__TaskResult *held;   /* heard, and waits until a quota is seen to */
    bool held_taken;          /* somebody does */
} Task;

struct Tasks {
    Store *store;
    Nodes *nodes;
    Events *events;
    Task **list; /* that have not ended */
    size_t n;
    uint64_t moves;
    Msec wake_at, store_at;
    bool failing; /* said once */
};

/* tasks.c */
Task *task_find(const Tasks *tasks, const char *id); /* NULL: not among those that have not ended */
bool task_of(const Task *task, const char *node);
void task_state(Tasks *tasks, Task *task, Mail__TaskState state);
bool task_id_valid(const char *id);
/* As it is stored, owned by the caller; NULL: no such task. */
CHECKED Error *task_stored(Tasks *tasks, const char *id, Mail__TaskInfo **ret_info);

/* task_verb.c */
Mail__TaskStart task_verb_of(const Mail__TaskStart *start); /* the verb alone, borrowed */
bool task_verb_equal(const Mail__TaskStart *a, const Mail__TaskStart *b);
char *task_verb_words(const Mail__TaskStart *start); /* "backup run nightly", owned by the caller; NULL: no such task */

/* task_link.c: false: not sent */
bool task_send_start(Tasks *tasks, Task *task);
bool task_send_cancel(Tasks *tasks, const Task *task);
void task_send_seen(Tasks *tasks, const char *node, const char *id);
void task_send_ask(Tasks *tasks, const char *node); /* what became of those that were under way when the link broke? */

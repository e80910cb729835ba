/* changes.h - a node without daemons whose configuration is changed, for the tests of what changes it
 *
 * No daemon is wanted, so that nothing is started; what differs between two generations is an override.
 */
#pragma once
#include "engine/change.h"
#include "generations.h"

#include "base/log.h"

enum { CHANGE_DEADLINE_MS = 20000 };

typedef struct Node {
    const char *root;
    Happened *happened;
    Supervise *supervise;
    Change *change;
} Node;

static inline void node_start(Node *node, const char *root)
{
    *node = (Node){.root = root, .happened = happened_new()};
    ok(supervise_new(root, node->happened, &node->supervise));
    ok(change_new(root, node->supervise, node->happened, &node->change));
}

static inline void node_stop(Node *node)
{
    change_free(&node->change);
    supervise_free(&node->supervise);
    happened_free(&node->happened);
}

/* Sleeps as the program does: a part that forgot to say what wakes it makes the test slow. */
static inline void node_turn(Node *node)
{
    Waiter wake = waiter_start();

    supervise_wait(node->supervise, &wake);
    change_wait(node->change, &wake);
    waiter_at(&wake, clock_ms() + 2000);
    waiter_block(&wake);
    supervise_run(node->supervise, clock_ms());
    change_run(node->change, clock_ms());
}

static inline Error *node_answer(Node *node)
{
    Msec until = clock_ms() + CHANGE_DEADLINE_MS;
    Error *why = NULL;
    ChangeAnswer answer;

    while ((answer = change_answer(node->change, &why)) == CHANGE_PENDING) {
        if (clock_ms() > until)
            fail_msg("no answer");
        node_turn(node);
    }
    return answer == CHANGE_FAILED ? why : NULL;
}

static inline Error *node_prepare_begin(Node *node, uint64_t revision, const char *description)
{
    DEFER(buf_done) Buf packed = {0};

    prepare_of(revision, description, &packed);
    Mail__EnginePrepare *prepare = mail__engine_prepare__unpack(NULL, packed.size, packed.data);
    Error *err = change_prepare(node->change, prepare, clock_ms());
    mail__engine_prepare__free_unpacked(prepare, NULL);
    return err;
}

static inline Error *node_prepare(Node *node, uint64_t revision)
{
    Error *err = node_prepare_begin(node, revision, "one of ours");

    return err ? err : node_answer(node);
}

static inline Error *node_switch(Node *node, uint64_t revision)
{
    Error *err = change_switch(node->change, revision, clock_ms());

    return err ? err : node_answer(node);
}

/* Until nothing is under way. */
static inline void node_settle(Node *node, uint64_t generation)
{
    Msec until = clock_ms() + CHANGE_DEADLINE_MS;

    while (change_in_force(node->change).generation != generation) {
        if (clock_ms() > until)
            fail_msg("generation %lu, wanted %lu", (unsigned long)change_in_force(node->change).generation,
                     (unsigned long)generation);
        node_turn(node);
    }
}

static inline void override_put(const char *root, const char *text)
{
    Path folder = path_in(root, "etc/mailnode/override/postfix.d");
    Path file = path_in(root, "etc/mailnode/override/postfix.d/site.cf");

    ok(folder_make(folder.text, 0755, 0, 0));
    ok(file_write(file.text, text, strlen(text), 0644, (gid_t)-1));
}

static inline size_t said(Node *node, const char *what)
{
    Mail__Happening *const *list = NULL;
    size_t n = happened_list(node->happened, 0, clock_ms(), &list), found = 0;

    for (size_t i = 0; i < n; i++)
        found += strcmp(list[i]->what, what) == 0;
    return found;
}

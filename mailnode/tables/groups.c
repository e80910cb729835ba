#include "tables/groups.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* A list of nodes; also the queue of a walk, which is all that it met. */
typedef struct Nodes {
    GroupNode **items;
    size_t n, room;
    bool read; /* it is known */
} Nodes;

typedef enum Side { BELOW, ABOVE, N_SIDES } Side;

struct GroupNode {
    UT_hash_handle hh;
    Nodes next[N_SIDES]; /* groups in it; groups it is in */
    unsigned mark;       /* of the last walk that met it */
    bool no_users;
    char name[];
};

void groups_done(Groups *groups)
{
    GroupNode *first = groups->nodes;

    HASH_CLEAR(hh, groups->nodes); /* the nodes stay linked */
    for (GroupNode *node = first, *next = NULL; node; node = next) {
        next = node->hh.next;
        for (int side = 0; side < N_SIDES; side++)
            free(node->next[side].items);
        free(node);
    }
}

static GroupNode *node_of(Groups *groups, const char *name)
{
    size_t len = strlen(name);
    GroupNode *node;

    HASH_FIND(hh, groups->nodes, name, len, node);
    if (node)
        return node;
    node = xcalloc(1, sizeof *node + len + 1);
    memcpy(node->name, name, len + 1);
    HASH_ADD(hh, groups->nodes, name[0], len, node);
    return node;
}

static void nodes_add(Nodes *nodes, GroupNode *node)
{
    if (nodes->n == nodes->room) {
        nodes->room = nodes->room ? nodes->room * 2 : 4;
        nodes->items = xrealloc(nodes->items, nodes->room * sizeof(GroupNode *));
    }
    nodes->items[nodes->n++] = node;
}

static Error *names_read(Groups *groups, sqlite3_stmt *get, Nodes *out)
{
    bool got = false;
    Error *err = NULL;

    while (!(err = sql_row(groups->sql, get, &got)) && got)
        nodes_add(out, node_of(groups, sql_column(get, 0)));
    return err;
}

static Error *next_read(Groups *groups, GroupNode *node, Side side)
{
    Nodes *next = &node->next[side];
    sqlite3_stmt *get = NULL;

    if (next->read)
        return NULL;
    Error *err = side == BELOW ? sql_start(groups->sql, SQL_GROUP_GROUPS, &get, "t", node->name)
                               : sql_start(groups->sql, SQL_GROUPS_ABOVE, &get, "tt", "g", node->name);
    if (!err)
        err = names_read(groups, get, next);
    next->read = !err;
    return err;
}

static void meet(Groups *groups, Nodes *met, const Nodes *nodes)
{
    for (size_t i = 0; i < nodes->n; i++) {
        if (nodes->items[i]->mark == groups->mark)
            continue;
        nodes->items[i]->mark = groups->mark;
        nodes_add(met, nodes->items[i]);
    }
}

/* From what was met to all that lies on this side of it. */
static Error *walk(Groups *groups, Nodes *met, Side side)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < met->n; i++) {
        err = next_read(groups, met->items[i], side);
        if (!err)
            meet(groups, met, &met->items[i]->next[side]);
    }
    return err;
}

static Error *users_of(Groups *groups, GroupNode *node, GroupUser *each, void *context)
{
    sqlite3_stmt *get = NULL;
    bool got = false, any = false;

    if (node->no_users)
        return NULL;
    Error *err = sql_start(groups->sql, SQL_GROUP_USERS, &get, "t", node->name);
    while (!err && !(err = sql_row(groups->sql, get, &got)) && got) {
        any = true;
        each(context, sql_column(get, 0), sql_column(get, 1));
    }
    node->no_users = !err && !any;
    return err;
}

Error *groups_below(Groups *groups, const char *name, GroupUser *each, void *context)
{
    GroupNode *node = node_of(groups, name);
    Nodes start = {.items = &node, .n = 1}, met = {0};

    groups->mark++;
    meet(groups, &met, &start);
    Error *err = walk(groups, &met, BELOW);
    for (size_t i = 0; !err && i < met.n; i++)
        err = users_of(groups, met.items[i], each, context);
    free(met.items);
    return err;
}

Error *groups_above(Groups *groups, const char *user, Names *out)
{
    Nodes start = {0}, met = {0};
    sqlite3_stmt *get = NULL;

    groups->mark++;
    Error *err = sql_start(groups->sql, SQL_GROUPS_ABOVE, &get, "tt", "u", user);
    if (!err)
        err = names_read(groups, get, &start);
    if (!err) {
        meet(groups, &met, &start);
        err = walk(groups, &met, ABOVE);
    }
    for (size_t i = 0; !err && i < met.n; i++)
        names_add(out, met.items[i]->name);
    free(start.items);
    free(met.items);
    return err;
}

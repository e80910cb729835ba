/* "Would this configuration do?": questions to nodes, each with its deadline. */
#include "node_inside.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdlib.h>

enum { ANSWER_WAIT_MS = 10000, TICKET_SHIFT = 24, QUESTIONS_MAX = 1 << TICKET_SHIFT };

struct Question {
    uint64_t ticket; /* 0: this place is free */
    Node *node;      /* NULL: answered, or nobody will */
    uint64_t id;
    Msec until;
    Preparation state;
    Error *why;
    size_t next; /* of the same node: index + 1 */
};

static Question *question_new(Nodes *nodes)
{
    size_t place = nodes->n_open == nodes->n_questions ? nodes->n_questions : 0;

    while (place < nodes->n_questions && nodes->questions[place].ticket)
        place++;
    if (place == QUESTIONS_MAX)
        return NULL;
    if (place == nodes->room_questions) {
        nodes->room_questions = nodes->room_questions ? nodes->room_questions * 2 : 16;
        nodes->questions = xrealloc(nodes->questions, nodes->room_questions * sizeof *nodes->questions);
    }
    if (place == nodes->n_questions)
        nodes->n_questions++;
    nodes->n_open++;
    nodes->questions[place] = (Question){.ticket = ++nodes->asked << TICKET_SHIFT | place};
    return &nodes->questions[place];
}

static size_t place_of(const Nodes *nodes, const Question *question)
{
    return (size_t)(question - nodes->questions);
}

/* Out of its node's chain: it has its answer. */
static void settle(Nodes *nodes, Question *question, Preparation state)
{
    assert(question->node); /* settled once */
    size_t *link = &question->node->questions;

    while (*link != place_of(nodes, question) + 1)
        link = &nodes->questions[*link - 1].next;
    *link = question->next;
    question->node = NULL;
    question->state = state;
    nodes->moves++;
}

bool nodes_prepare(Nodes *nodes, const char *name, const ProtobufCBinaryData *objects, size_t n_objects, Msec now,
                   uint64_t *ret_ticket)
{
    Node *node = node_find(nodes, name);
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Prepare prepare = MAIL__PREPARE__INIT;

    if (!node || !session_online(node) || node->schema_old)
        return false;
    prepare.n_objects = n_objects;
    prepare.objects = (ProtobufCBinaryData *)objects;
    envelope.body_case = MAIL__ENVELOPE__BODY_PREPARE;
    envelope.prepare = &prepare;
    if (!session_say(nodes, node, &envelope))
        return false;
    Question *question = question_new(nodes);
    if (!question)
        return false;
    question->node = node;
    question->id = envelope.id;
    question->until = now + ANSWER_WAIT_MS;
    question->next = node->questions;
    node->questions = place_of(nodes, question) + 1;
    *ret_ticket = question->ticket;
    return true;
}

void ask_answered(Nodes *nodes, Node *node, const Envelope *envelope)
{
    Question *question = NULL;

    for (size_t at = node->questions; at; at = question->next) {
        question = &nodes->questions[at - 1];
        if (question->id == envelope->in_reply_to)
            break;
        if (!question->next)
            return;
    }
    if (!question || !envelope->in_reply_to)
        return; /* late, or to nothing that was asked */
    if (envelope->body_case == MAIL__ENVELOPE__BODY_PREPARED) {
        settle(nodes, question, PREPARATION_GOOD);
        return;
    }
    Error *why = error_of(envelope->failure);
    bool checker = why->code == ERROR_REFUSED || why->code == ERROR_INVALID || why->code == ERROR_CONFLICT;
    if (checker)
        question->why = why;
    else
        error_free(&why);
    settle(nodes, question, checker ? PREPARATION_REFUSED : PREPARATION_UNKNOWN);
}

void nodes_forget(Nodes *nodes, uint64_t ticket)
{
    Error *why = NULL;

    nodes_prepared(nodes, ticket, MSEC_NEVER, &why); /* its time is over: whatever it is, the place is free */
    error_free(&why);
}

void ask_ended(Nodes *nodes, Node *node)
{
    while (node->questions)
        settle(nodes, &nodes->questions[node->questions - 1], PREPARATION_UNKNOWN);
}

Preparation nodes_prepared(Nodes *nodes, uint64_t ticket, Msec now, Error **ret_why)
{
    size_t place = ticket & (QUESTIONS_MAX - 1);

    if (place >= nodes->n_questions || nodes->questions[place].ticket != ticket)
        return PREPARATION_UNKNOWN;
    Question *question = &nodes->questions[place];
    if (question->node && now < question->until)
        return PREPARATION_PENDING;
    if (question->node)
        settle(nodes, question, PREPARATION_UNKNOWN);
    Preparation state = question->state;
    if (question->why)
        *ret_why = question->why;
    *question = (Question){0};
    nodes->n_open--;
    while (nodes->n_questions && !nodes->questions[nodes->n_questions - 1].ticket)
        nodes->n_questions--;
    return state;
}

void ask_wait(const Nodes *nodes, Waiter *wake)
{
    for (size_t i = 0; i < nodes->n_questions; i++)
        if (nodes->questions[i].node)
            waiter_at(wake, nodes->questions[i].until);
}

void ask_done(Nodes *nodes)
{
    for (size_t i = 0; i < nodes->n_questions; i++)
        error_free(&nodes->questions[i].why);
    free(nodes->questions);
}

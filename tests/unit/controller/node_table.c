#include "node_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool is_body(unsigned number)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(&mail__envelope__descriptor, number);

    return field && (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF);
}

/* A body that is added to control.proto must be thought of here, too; and no other number has a row. */
static void every_body_has_a_row(void **state)
{
    size_t n = 0;

    (void)state;
    for (unsigned number = 0; number < 400; number++) {
        NodeVerb verb;
        if (node_verb((BodyCase)number, ROLE_NODE, SESSION_UP, &verb) != is_body(number))
            fail_msg("body number %u (%s)", number, body_name((BodyCase)number));
        n += is_body(number);
    }
    assert_true(n > 50);
}

/* The cells that are not "not expected"; all others must be. */
static const struct {
    BodyCase body;
    NodeVerb node[N_SESSION_STATES]; /* new, up, forked, clone, revoked */
    NodeVerb newcomer;
} cases[] = {
    {MAIL__ENVELOPE__BODY_FAILURE, {NODE_DROPPED, NODE_ANSWER, NODE_DROPPED, NODE_DROPPED, 0}, NODE_DROPPED},
    {MAIL__ENVELOPE__BODY_DONE, {NODE_DROPPED, NODE_ANSWER, NODE_DROPPED, NODE_DROPPED, 0}, NODE_DROPPED},
    {MAIL__ENVELOPE__BODY_ACCOUNTS, {0, NODE_ANSWER, NODE_DROPPED, 0, 0}, 0},
    {MAIL__ENVELOPE__BODY_TABLES_ROWS, {0, NODE_ANSWER, NODE_DROPPED, 0, 0}, 0},
    {MAIL__ENVELOPE__BODY_BACKUP_ROWS, {0, NODE_ANSWER, NODE_DROPPED, 0, 0}, 0},
    {MAIL__ENVELOPE__BODY_TRACE_ROWS, {0, NODE_ANSWER, NODE_DROPPED, 0, 0}, 0},
    {MAIL__ENVELOPE__BODY_HELLO, {NODE_HELLO, NODE_HELLO, NODE_HELLO, NODE_HELLO, 0}, 0},
    {MAIL__ENVELOPE__BODY_APPLIED, {0, NODE_APPLIED, NODE_APPLIED, 0, 0}, 0},
    {MAIL__ENVELOPE__BODY_REFUSED, {0, NODE_SAYS_REFUSED, NODE_SAYS_REFUSED, 0, 0}, 0},
    {MAIL__ENVELOPE__BODY_PREPARED, {0, NODE_ANSWER, NODE_DROPPED, 0, 0}, 0},
    {MAIL__ENVELOPE__BODY_TASK_PROGRESS, {0, NODE_TASK, NODE_DROPPED, 0, 0}, 0},
    {MAIL__ENVELOPE__BODY_TASK_RESULT, {0, NODE_TASK, NODE_DROPPED, 0, 0}, 0},
    {MAIL__ENVELOPE__BODY_REPORT, {0, NODE_REPORT, NODE_REPORT, 0, 0}, 0},
    {MAIL__ENVELOPE__BODY_STORE_COPY_READ, {0, NODE_COPY, 0, 0, 0}, 0},
    {MAIL__ENVELOPE__BODY_PONG, {NODE_DROPPED, NODE_PONG, NODE_PONG, NODE_DROPPED, 0}, 0},
    {MAIL__ENVELOPE__BODY_JOIN, {0}, NODE_JOIN},
};

static NodeVerb wanted(BodyCase body, Role role, SessionState at)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (cases[i].body == body)
            return role == ROLE_NODE ? cases[i].node[at] : cases[i].newcomer;
    return NODE_NOT_EXPECTED;
}

static void only_listed_cells_work(void **state)
{
    (void)state;
    for (unsigned number = 0; number < 400; number++) {
        if (!is_body(number))
            continue;
        for (Role role = 0; role < N_ROLES; role++)
            for (SessionState at = 0; at < N_SESSION_STATES; at++) {
                NodeVerb verb = NODE_PONG;
                assert_true(node_verb((BodyCase)number, role, at, &verb));
                if (verb != wanted((BodyCase)number, role, at))
                    fail_msg("%s, role %d, session %s: verb %d", body_name((BodyCase)number), role,
                             session_state_name(at), verb);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_body_has_a_row),
        cmocka_unit_test(only_listed_cells_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "request_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A body that is added to control.proto must be thought of here, too. */
static void every_body_has_a_row_and_no_other_number(void **state)
{
    (void)state;
    for (unsigned id = 0; id < 400; id++) {
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(&mail__envelope__descriptor, id);
        bool body = field && (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF);
        RequestVerb verb;
        if (request_decide((BodyCase)id, TALK_GREETED, &verb) != body)
            fail_msg("body %u (%s)", id, field ? field->name : "none");
    }
    RequestVerb verb;
    assert_false(request_decide((BodyCase)-1, TALK_GREETED, &verb));
}

static const struct {
    BodyCase body;
    RequestVerb greeted;
} asked[] = {
    {MAIL__ENVELOPE__BODY_CHANGE, REQUEST_CHANGE},
    {MAIL__ENVELOPE__BODY_APPLY_BEGIN, REQUEST_APPLY_BEGIN},
    {MAIL__ENVELOPE__BODY_APPLY_PART, REQUEST_APPLY_PART},
    {MAIL__ENVELOPE__BODY_APPLY_END, REQUEST_APPLY_END},
    {MAIL__ENVELOPE__BODY_LIST, REQUEST_LIST},
    {MAIL__ENVELOPE__BODY_GET_HISTORY, REQUEST_HISTORY},
    {MAIL__ENVELOPE__BODY_GET_DIFF, REQUEST_DIFF},
    {MAIL__ENVELOPE__BODY_REVERT, REQUEST_REVERT},
    {MAIL__ENVELOPE__BODY_ROLLBACK, REQUEST_ROLLBACK},
    {MAIL__ENVELOPE__BODY_UNDELETE, REQUEST_UNDELETE},
    {MAIL__ENVELOPE__BODY_GET_STATUS, REQUEST_STATUS},
    {MAIL__ENVELOPE__BODY_GET_EVENTS, REQUEST_EVENTS},
    {MAIL__ENVELOPE__BODY_NODE_TOKEN, REQUEST_NODE_TOKEN},
    {MAIL__ENVELOPE__BODY_NODE_REVOKE, REQUEST_NODE_REVOKE},
    {MAIL__ENVELOPE__BODY_NODE_RESYNC, REQUEST_NODE_RESYNC},
    {MAIL__ENVELOPE__BODY_TASK_NEW, REQUEST_TASK_NEW},
    {MAIL__ENVELOPE__BODY_GET_TASKS, REQUEST_TASKS},
    {MAIL__ENVELOPE__BODY_TASK_WAIT, REQUEST_TASK_WAIT},
    {MAIL__ENVELOPE__BODY_TASK_STOP, REQUEST_TASK_STOP},
    {MAIL__ENVELOPE__BODY_WAIT, REQUEST_WAIT},
    {MAIL__ENVELOPE__BODY_DIRECTORY, REQUEST_DIRECTORY},
    {MAIL__ENVELOPE__BODY_TABLES_READ, REQUEST_TABLES},
    {MAIL__ENVELOPE__BODY_BACKUP_READ, REQUEST_BACKUPS},
    {MAIL__ENVELOPE__BODY_TRACE_READ, REQUEST_TRACE},
    {MAIL__ENVELOPE__BODY_STORE_COPY, REQUEST_COPY},
    {MAIL__ENVELOPE__BODY_SECRETS_READ, REQUEST_SECRETS},
};

static RequestVerb wanted(BodyCase body, TalkState at)
{
    if (body == MAIL__ENVELOPE__BODY_GREETING)
        return at == TALK_UNGREETED ? REQUEST_GREETING : REQUEST_REFUSED;
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
        if (asked[i].body == body)
            return at == TALK_GREETED ? asked[i].greeted : REQUEST_REFUSED;
    return REQUEST_REFUSED;
}

static void every_cell(void **state)
{
    (void)state;
    for (unsigned i = 0; i < mail__envelope__descriptor.n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &mail__envelope__descriptor.fields[i];
        if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
            continue;
        for (int at = 0; at < N_TALK_STATES; at++) {
            RequestVerb verb = N_REQUEST_VERBS;
            assert_true(request_decide((BodyCase)field->id, (TalkState)at, &verb));
            if (verb != wanted((BodyCase)field->id, (TalkState)at))
                fail_msg("%s in state %d: %d", field->name, at, verb);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_body_has_a_row_and_no_other_number),
        cmocka_unit_test(every_cell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

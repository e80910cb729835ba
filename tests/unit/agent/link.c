#include "link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A body that is added to control.proto must be thought of here, too. */
static void every_body_has_a_row(void **state)
{
    (void)state;
    size_t n = 0;
    for (unsigned i = 0; i < mail__envelope__descriptor.n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &mail__envelope__descriptor.fields[i];
        LinkVerb verb;
        if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
            continue;
        n++;
        if (!link_decide((BodyCase)field->id, LINK_UP, &verb))
            fail_msg("%s has no row", field->name);
    }
    assert_true(n > 50);
}

static void no_other_number_has_one(void **state)
{
    (void)state;
    for (unsigned id = 0; id < 300; id++) {
        LinkVerb verb;
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(&mail__envelope__descriptor, id);
        bool body = field && (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF);
        if (link_decide((BodyCase)id, LINK_UP, &verb) != body)
            fail_msg("body number %u", id);
    }
}

/* The cells that are not "not expected"; all others must be. */
static const struct {
    BodyCase body;
    LinkVerb verbs[N_LINK_STATES]; /* down, asking, up, taking, forked, clone */
} cases[] = {
    {MAIL__ENVELOPE__BODY_FAILURE, {0, LINK_FAILURE, LINK_FAILURE, LINK_FAILURE, LINK_FAILURE, LINK_FAILURE}},
    {MAIL__ENVELOPE__BODY_DONE, {0, LINK_DROPPED, LINK_DROPPED, LINK_DROPPED, LINK_DROPPED, LINK_DROPPED}},
    {MAIL__ENVELOPE__BODY_STANDING, {0, LINK_STANDING, LINK_STANDING, LINK_STANDING, LINK_STANDING, LINK_STANDING}},
    {MAIL__ENVELOPE__BODY_DELTA, {0, LINK_DROPPED, LINK_DELTA, LINK_DELTA, LINK_FORCED, 0}},
    {MAIL__ENVELOPE__BODY_PREPARE, {0, 0, LINK_INBOX, LINK_INBOX, 0, 0}},
    {MAIL__ENVELOPE__BODY_HOLD, {0, 0, LINK_INBOX, LINK_INBOX, 0, 0}},
    {MAIL__ENVELOPE__BODY_TASK_START, {0, 0, LINK_INBOX, LINK_INBOX, 0, 0}},
    {MAIL__ENVELOPE__BODY_TASK_CANCEL, {0, 0, LINK_INBOX, LINK_INBOX, 0, 0}},
    {MAIL__ENVELOPE__BODY_TASK_ASK, {0, 0, LINK_INBOX, LINK_INBOX, 0, 0}},
    {MAIL__ENVELOPE__BODY_TASK_SEEN, {0, 0, LINK_INBOX, LINK_INBOX, 0, 0}},
    {MAIL__ENVELOPE__BODY_DIRECTORY, {0, 0, LINK_INBOX, LINK_INBOX, 0, 0}},
    {MAIL__ENVELOPE__BODY_TABLES_READ, {0, 0, LINK_INBOX, LINK_INBOX, 0, 0}},
    {MAIL__ENVELOPE__BODY_BACKUP_READ, {0, 0, LINK_INBOX, LINK_INBOX, 0, 0}},
    {MAIL__ENVELOPE__BODY_COPY_PART, {0, 0, LINK_INBOX, LINK_INBOX, 0, 0}},
    {MAIL__ENVELOPE__BODY_TRACE_READ, {0, 0, LINK_INBOX, LINK_INBOX, 0, 0}},
    {MAIL__ENVELOPE__BODY_PING, {0, LINK_PONG, LINK_PONG, LINK_PONG, LINK_PONG, LINK_PONG}},
};

static LinkVerb wanted(BodyCase body, LinkState at)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (cases[i].body == body)
            return cases[i].verbs[at];
    return LINK_NOT_EXPECTED;
}

static void only_listed_cells_work(void **state)
{
    (void)state;
    for (unsigned i = 0; i < mail__envelope__descriptor.n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &mail__envelope__descriptor.fields[i];
        if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
            continue;
        for (LinkState at = 0; at < N_LINK_STATES; at++) {
            LinkVerb verb = LINK_PONG;
            assert_true(link_decide((BodyCase)field->id, at, &verb));
            if (verb != wanted((BodyCase)field->id, at))
                fail_msg("%s in state %s: verb %d", field->name, link_state_name(at), verb);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_body_has_a_row),
        cmocka_unit_test(no_other_number_has_one),
        cmocka_unit_test(only_listed_cells_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

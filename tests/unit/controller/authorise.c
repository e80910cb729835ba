#include "authorise.h"

#include "base/alloc.h"
#include "model/meta.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* v(iewer) o(perator) a(dmin), l: an operator limited to main, m: an admin limited to main. */
static const char letters[] = "voalm";
static char main_name[] = "main";
static char *limits[] = {main_name};
static Asker askers[] = {
    {.who = (char *)"v", .entry = (char *)"v", .role = MAIL__ROLE__VIEWER},
    {.who = (char *)"o", .entry = (char *)"o", .role = MAIL__ROLE__OPERATOR},
    {.who = (char *)"a", .entry = (char *)"a", .role = MAIL__ROLE__ADMIN},
    {.who = (char *)"l", .entry = (char *)"l", .role = MAIL__ROLE__OPERATOR, .instances = limits, .n_instances = 1},
    {.who = (char *)"m", .entry = (char *)"m", .role = MAIL__ROLE__ADMIN, .instances = limits, .n_instances = 1},
};
enum { N_ASKERS = sizeof askers / sizeof *askers };

/* Every body: who may; none of these rows: nobody. */
static const struct {
    BodyCase body;
    const char *instance; /* that it touches */
    const char *may;
} bodies[] = {
    {MAIL__ENVELOPE__BODY_LIST, NULL, "voalm"},        {MAIL__ENVELOPE__BODY_GET_HISTORY, NULL, "voalm"},
    {MAIL__ENVELOPE__BODY_GET_DIFF, NULL, "voalm"},    {MAIL__ENVELOPE__BODY_GET_STATUS, NULL, "voalm"},
    {MAIL__ENVELOPE__BODY_GET_EVENTS, NULL, "voalm"},  {MAIL__ENVELOPE__BODY_GET_TASKS, NULL, "voalm"},
    {MAIL__ENVELOPE__BODY_TASK_WAIT, NULL, "voalm"},   {MAIL__ENVELOPE__BODY_WAIT, NULL, "voalm"},
    {MAIL__ENVELOPE__BODY_CHANGE, NULL, "oalm"},       {MAIL__ENVELOPE__BODY_ROLLBACK, "main", "am"},
    {MAIL__ENVELOPE__BODY_ROLLBACK, "second", "a"},    {MAIL__ENVELOPE__BODY_REVERT, NULL, "a"},
    {MAIL__ENVELOPE__BODY_APPLY_BEGIN, NULL, "a"},     {MAIL__ENVELOPE__BODY_APPLY_PART, NULL, "a"},
    {MAIL__ENVELOPE__BODY_APPLY_END, NULL, "a"},       {MAIL__ENVELOPE__BODY_NODE_TOKEN, NULL, "a"},
    {MAIL__ENVELOPE__BODY_NODE_REVOKE, NULL, "a"},     {MAIL__ENVELOPE__BODY_NODE_RESYNC, NULL, "a"},
    {MAIL__ENVELOPE__BODY_TABLES_READ, NULL, "voalm"}, {MAIL__ENVELOPE__BODY_DIRECTORY, NULL, "voalm"},
    {MAIL__ENVELOPE__BODY_TASK_NEW, NULL, "oalm"},     {MAIL__ENVELOPE__BODY_TASK_STOP, NULL, "a"},
    {MAIL__ENVELOPE__BODY_BACKUP_READ, NULL, "voalm"}, {MAIL__ENVELOPE__BODY_TRACE_READ, NULL, "voalm"},
    {MAIL__ENVELOPE__BODY_UNDELETE, "main", "oalm"},   {MAIL__ENVELOPE__BODY_UNDELETE, "second", "oa"},
    {MAIL__ENVELOPE__BODY_STORE_COPY, NULL, "a"},      {MAIL__ENVELOPE__BODY_SECRETS_READ, NULL, "a"},
};
enum { N_ROWS = sizeof bodies / sizeof *bodies };

/* Every kind: who may add, set and remove in main, and in second.  Of the cluster's kinds no instance is named; of an
 * instance its own name is. */
static const struct {
    Kind kind;
    const char *may[2][3];
} kind_rows[] = {
    {MAIL__OBJECT__BODY_NODE, {{"a", "a", "a"}, {"a", "a", "a"}}},
    {MAIL__OBJECT__BODY_INSTANCE, {{"a", "am", "a"}, {"a", "a", "a"}}},
    {MAIL__OBJECT__BODY_USER_DOMAIN, {{"a", "a", "a"}, {"a", "a", "a"}}},
    {MAIL__OBJECT__BODY_ADMIN, {{"a", "a", "a"}, {"a", "a", "a"}}},
    {MAIL__OBJECT__BODY_DOMAIN, {{"am", "am", "am"}, {"a", "a", "a"}}},
    {MAIL__OBJECT__BODY_POLICY, {{"am", "am", "am"}, {"a", "a", "a"}}},
    {MAIL__OBJECT__BODY_SETTINGS, {{"am", "am", "am"}, {"a", "a", "a"}}},
    {MAIL__OBJECT__BODY_FILTER, {{"am", "am", "am"}, {"a", "a", "a"}}},
    {MAIL__OBJECT__BODY_TLS, {{"am", "am", "am"}, {"a", "a", "a"}}},
    {MAIL__OBJECT__BODY_RELAY, {{"am", "am", "am"}, {"a", "a", "a"}}},
    {MAIL__OBJECT__BODY_ADDRESS, {{"oalm", "oalm", "oalm"}, {"oa", "oa", "oa"}}},
    {MAIL__OBJECT__BODY_PUBLIC_MAILBOX, {{"oalm", "oalm", "oalm"}, {"oa", "oa", "oa"}}},
    {MAIL__OBJECT__BODY_MAILBOX, {{"oalm", "oalm", "oalm"}, {"oa", "oa", "oa"}}},
    {MAIL__OBJECT__BODY_DKIM_KEY, {{"", "", ""}, {"", "", ""}}},
    {MAIL__OBJECT__BODY_RELAY_CLIENT, {{"am", "am", "am"}, {"a", "a", "a"}}},
    {MAIL__OBJECT__BODY_DESTINATION, {{"a", "a", "a"}, {"a", "a", "a"}}},
    {MAIL__OBJECT__BODY_PLAN, {{"a", "a", "a"}, {"a", "a", "a"}}},
};
enum { N_KIND_ROWS = sizeof kind_rows / sizeof *kind_rows };

static bool is_body(const ProtobufCFieldDescriptor *field)
{
    return field && (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF);
}

static void every_body_has_a_row(void **state)
{
    (void)state;
    for (unsigned id = 0; id < 400; id++) {
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(&mail__envelope__descriptor, id);
        if (authorise_knows_body((BodyCase)id) != is_body(field))
            fail_msg("body %u (%s): in the table %d", id, field ? field->name : "none", !is_body(field));
    }
}

static void every_kind_has_a_row(void **state)
{
    (void)state;
    assert_int_equal(N_KIND_ROWS, n_kinds);
    for (unsigned id = 0; id < 400; id++) {
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(&mail__object__descriptor, id);
        if (authorise_knows_kind((Kind)id) != is_body(field))
            fail_msg("kind %u (%s): in the table %d", id, field ? field->name : "none", !is_body(field));
    }
}

static void check(Error *err, const char *may, size_t who, const char *what)
{
    bool allowed = strchr(may, letters[who]) != NULL;

    if ((err == NULL) != allowed)
        fail_msg("%c: %s: %s", letters[who], what, err ? err->what : "allowed");
    if (err) {
        assert_int_equal(err->code, ERROR_DENIED);
        assert_non_null(strstr(err->what, "may not"));
    }
    error_free(&err);
}

static const char *may_ask(BodyCase body)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (bodies[i].body == body)
            return bodies[i].may;
    return "";
}

static void F_171_bodies_by_role(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++)
        for (size_t who = 0; who < N_ASKERS; who++)
            check(authorise_body(&askers[who], bodies[i].body, bodies[i].instance), bodies[i].may, who,
                  body_name(bodies[i].body));
    for (unsigned id = 0; id < 400; id++)
        for (size_t who = 0; who < N_ASKERS && !*may_ask((BodyCase)id); who++)
            check(authorise_body(&askers[who], (BodyCase)id, NULL), "", who, body_name((BodyCase)id));
}

static const char *instance_for(Kind kind, size_t second)
{
    bool whole = kind != MAIL__OBJECT__BODY_INSTANCE && !kind_info(kind)->meta->in_instance;

    return whole ? NULL : second ? "second" : "main";
}

static void F_171_kinds_by_role(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_KIND_ROWS; i++)
        for (size_t second = 0; second < 2; second++)
            for (int verb = 0; verb < 3; verb++)
                for (size_t who = 0; who < N_ASKERS; who++)
                    check(authorise_edit(&askers[who], kind_rows[i].kind, (Mail__Verb)verb,
                                         instance_for(kind_rows[i].kind, second)),
                          kind_rows[i].may[second][verb], who, kind_info(kind_rows[i].kind)->name);
}

/* What is done day by day for one instance, and what looks at a whole node. */
static void F_171_tasks_by_role(void **state)
{
    static const struct {
        Mail__TaskStart__VerbCase verb;
        const char *instance, *may;
    } rows[] = {
        {MAIL__TASK_START__VERB_NODE_CHECK, "main", "a"},
        {MAIL__TASK_START__VERB_NODE_DOCTOR, NULL, "a"},
        {MAIL__TASK_START__VERB_DESTINATION_CHECK, "main", "a"},
        {MAIL__TASK_START__VERB_BACKUP_RUN, "main", "oalm"},
        {MAIL__TASK_START__VERB_BACKUP_RUN, "second", "oa"},
        {MAIL__TASK_START__VERB_BACKUP_VERIFY, "main", "oalm"},
        {MAIL__TASK_START__VERB_RESTORE_FOLDER, "main", "oalm"},
        {MAIL__TASK_START__VERB_RESTORE_FOLDER, "second", "oa"},
        {MAIL__TASK_START__VERB_RESTORE_INSTANCE, "main", "a"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t who = 0; who < N_ASKERS; who++)
            check(authorise_task(&askers[who], rows[i].verb, rows[i].instance), rows[i].may, who, "task");
}

/* Users and groups: the role, and whose instances use the user domain. */
static void F_171_accounts_by_role(void **state)
{
    static const struct {
        const char *user_domain;
        bool theirs;
        const char *may, *words;
    } rows[] = {
        {NULL, false, "oalm", "v may not change users and groups: its role is viewer, operator is needed"},
        {"staff", true, "oalm", "v may not change users and groups: its role is viewer, operator is needed"},
        {"other", false, "oa", "v may not change users and groups: its role is viewer, operator is needed"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t who = 0; who < N_ASKERS; who++) {
            bool theirs = rows[i].theirs || !askers[who].n_instances;
            check(authorise_accounts(&askers[who], rows[i].user_domain, theirs), rows[i].may, who, "accounts");
        }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DEFER(error_free) Error *err = authorise_accounts(&askers[0], rows[i].user_domain, true);
        assert_string_equal(err->what, rows[i].words);
    }
    DEFER(error_free) Error *err = authorise_accounts(&askers[3], "other", false);
    assert_string_equal(err->what,
                        "l may not change users and groups of other: its role is limited to instances that do "
                        "not use it");
    assert_true(asker_has(&askers[3], "main") && !asker_has(&askers[3], "second") && asker_has(&askers[0], "second"));
}

static void what_does_not_exist_is_denied(void **state)
{
    (void)state;
    check(authorise_edit(&askers[2], MAIL__OBJECT__BODY_NODE, (Mail__Verb)3, NULL), "", 2, "a fourth verb");
    check(authorise_edit(&askers[2], (Kind)46, MAIL__VERB__ADD, NULL), "", 2, "kind 46");
    check(authorise_edit(&askers[2], (Kind)5000, MAIL__VERB__ADD, NULL), "", 2, "kind 5000");
    check(authorise_body(&askers[2], (BodyCase)-1, NULL), "", 2, "body -1");
}

static void words_say_what_is_missing(void **state)
{
    (void)state;
    static const struct {
        size_t who;
        Kind kind;
        const char *instance, *words;
    } cases[] = {
        {0, MAIL__OBJECT__BODY_ADDRESS, "main",
         "v may not change kind 'address': its role is viewer, operator is needed"},
        {1, MAIL__OBJECT__BODY_DOMAIN, "main", "o may not change kind 'domain': its role is operator, admin is needed"},
        {3, MAIL__OBJECT__BODY_ADDRESS, "second",
         "l may not change kind 'address' of instance second: its role is limited to other instances"},
        {4, MAIL__OBJECT__BODY_NODE, NULL, "m may not change kind 'node': its role is limited to instances"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error *err = authorise_edit(&askers[cases[i].who], cases[i].kind, MAIL__VERB__MODIFY, cases[i].instance);
        assert_non_null(err);
        assert_string_equal(err->what, cases[i].words);
        error_free(&err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_body_has_a_row),          cmocka_unit_test(every_kind_has_a_row),
        cmocka_unit_test(F_171_bodies_by_role),          cmocka_unit_test(F_171_kinds_by_role),
        cmocka_unit_test(F_171_tasks_by_role),           cmocka_unit_test(F_171_accounts_by_role),
        cmocka_unit_test(what_does_not_exist_is_denied), cmocka_unit_test(words_say_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

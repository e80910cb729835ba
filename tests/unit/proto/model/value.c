#include "model/value.h"

#include "base/alloc.h"
#include "model/edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    MAILBOX = MAIL__OBJECT__BODY_MAILBOX,
    POLICY = MAIL__OBJECT__BODY_POLICY,
    ADDRESS = MAIL__OBJECT__BODY_ADDRESS,
    DOMAIN = MAIL__OBJECT__BODY_DOMAIN,
    ADMIN = MAIL__OBJECT__BODY_ADMIN,
    INSTANCE = MAIL__OBJECT__BODY_INSTANCE,
    SETTINGS = MAIL__OBJECT__BODY_SETTINGS,
    FILTER = MAIL__OBJECT__BODY_FILTER,
    TLS = MAIL__OBJECT__BODY_TLS,
};

static const FieldMeta *field_of(const Object *object, const char *name)
{
    const FieldMeta *field = meta_field(kind_info(object->body_case)->meta, name);

    assert_non_null(field);
    return field;
}

/* text: as it is written again, of a field that is set; NULL with no error: it is not set. */
static const struct {
    int kind;
    const char *field, *given, *text, *error;
} cases[] = {
    {MAILBOX, "quota", "500M", "500M", NULL},
    {MAILBOX, "quota", "2Gi", "2Gi", NULL},
    {MAILBOX, "quota", "1536Mi", "1536Mi", NULL},
    {MAILBOX, "quota", "1000M", "1G", NULL},
    {MAILBOX, "quota", "1024", "1Ki", NULL},
    {MAILBOX, "quota", "1000", "1K", NULL},
    {MAILBOX, "quota", "1234", "1234", NULL},
    {MAILBOX, "quota", "1152921504606846976", "1048576Ti", NULL},
    {MAILBOX, "quota", "unlimited", "unlimited", NULL},
    {MAILBOX, "quota", "0", "unlimited", NULL},
    {MAILBOX, "quota", "0M", "unlimited", NULL},
    {MAILBOX, "quota", "default", NULL, NULL},
    {MAILBOX, "quota", "", NULL, NULL},
    {MAILBOX, "quota", "10 M", NULL, "quota '10 M': write 10M"},
    {MAILBOX, "quota", "1G ", NULL, "quota '1G ': write 1G"},
    {MAILBOX, "quota", "10m", NULL, "quota '10m': write 10M"},
    {MAILBOX, "quota", "10MB", NULL, "quota '10MB': write 10M"},
    {MAILBOX, "quota", "-1", NULL, "quota '-1': write a size: 500M, 2Gi"},
    {MAILBOX, "quota", "1e3", NULL, "quota '1e3': write a size: 500M, 2Gi"},
    {MAILBOX, "quota", "1.5G", NULL, "quota '1.5G': write a size: 500M, 2Gi"},
    {MAILBOX, "quota", "G", NULL, "quota 'G': write a size: 500M, 2Gi"},
    {MAILBOX, "quota", "0x10", NULL, "quota '0x10': write a size: 500M, 2Gi"},
    {MAILBOX, "quota", "٥M", NULL, "quota '٥M': write a size: 500M, 2Gi"},
    {MAILBOX, "quota", "9223372036854775808", NULL, "quota '9223372036854775808': at most 1048576Ti"},
    {MAILBOX, "quota", "99999999999999999999999", NULL, "quota '99999999999999999999999': at most 1048576Ti"},
    {MAILBOX, "quota", "99999999T", NULL, "quota '99999999T': at most 1048576Ti"},
    {MAILBOX, "quota", "off", NULL, "quota 'off': write a size: 500M, 2Gi"},

    {MAILBOX, "spam-retention", "3d", "3d", NULL},
    {MAILBOX, "spam_retention", "72h", "3d", NULL},
    {MAILBOX, "spam_retention", "86401s", "86401s", NULL},
    {MAILBOX, "spam_retention", "90000s", "25h", NULL},
    {MAILBOX, "spam_retention", "1500m", "25h", NULL},
    {MAILBOX, "spam_retention", "off", "off", NULL},
    {MAILBOX, "spam_retention", "0", "off", NULL},
    {MAILBOX, "spam_retention", "default", NULL, NULL},
    {MAILBOX, "spam_retention", "3h", NULL, "spam-retention '3h': at least 1d, or off"},
    {MAILBOX, "spam_retention", "3651d", NULL, "spam-retention '3651d': at most 3650d"},
    {MAILBOX, "spam_retention", "90000", NULL, "spam-retention '90000': write 90000s"},
    {MAILBOX, "spam_retention", "3 D", NULL, "spam-retention '3 D': write 3d"},
    {MAILBOX, "spam_retention", "soon", NULL, "spam-retention 'soon': write a span of time: 90s, 15m, 8h, 7d"},

    {MAILBOX, "enabled", "no", "no", NULL},
    {MAILBOX, "enabled", "false", "no", NULL},
    {MAILBOX, "enabled", "yes", NULL, NULL}, /* the default has one spelling: not set */
    {MAILBOX, "enabled", "maybe", NULL, "enabled 'maybe': write yes or no"},
    {MAILBOX, "enabled", "1", NULL, "enabled '1': write yes or no"},

    {POLICY, "sender-login-match", "include-groups", "include-groups", NULL},
    {POLICY, "sender-login-match", "include_groups", "include-groups", NULL},
    {POLICY, "sender-login-match", "off", NULL, NULL},
    {POLICY, "sender-login-match", "onn", NULL, "sender-login-match 'onn': write off, on or include-groups"},
    {POLICY, "default-quota", "unlimited", NULL, NULL},
    {POLICY, "default-quota", "15G", "15G", NULL},
    {POLICY, "spam-retention", "15d", NULL, NULL},
    {POLICY, "spam-retention", "off", "off", NULL},

    {ADMIN, "role", "viewer", "viewer", NULL}, /* no default: 0 is set */
    {ADMIN, "uid", "0", "0", NULL},
    {ADMIN, "uid", "4294967294", "4294967294", NULL},
    {ADMIN, "uid", "4294967295", NULL, "uid '4294967295': at most 4294967294"},
    {ADMIN, "uid", "1K", NULL, "uid '1K': write a whole number"},

    {DOMAIN, "catch-all", "eve", "user:eve", NULL},
    {DOMAIN, "catch-all", "none", NULL, NULL},
    {DOMAIN, "description", "x", "x", NULL},
    {DOMAIN, "description", "a\nb", NULL,
     "description 'a<U+000A>b': '<U+000A>' is not allowed: nothing that cannot be seen"},
    {INSTANCE, "node", "MX1", "mx1", NULL},
    {INSTANCE, "node", "none", NULL, NULL},

    {FILTER, "spam-flag", "5", "5", NULL},
    {FILTER, "spam-flag", "6.5", "6.5", NULL},
    {FILTER, "spam-flag", "6.50", "6.5", NULL},
    {FILTER, "spam-flag", "6.25", "6.25", NULL},
    {FILTER, "spam-flag", "6.05", "6.05", NULL},
    {FILTER, "spam-flag", "0.01", "0.01", NULL},
    {FILTER, "spam-flag", "999", "999", NULL},
    {FILTER, "spam-flag", "6", NULL, NULL}, /* the default */
    {FILTER, "spam-flag", "6.0", NULL, NULL},
    {FILTER, "spam-flag", "", NULL, NULL},
    {FILTER, "spam-flag", "6,5", NULL, "spam-flag '6,5': write 6.5"},
    {FILTER, "spam-flag", "6 ", NULL, "spam-flag '6 ': write 6"},
    {FILTER, "spam-flag", " 6.5", NULL, "spam-flag ' 6.5': write 6.5"},
    {FILTER, "spam-flag", "6.", NULL, "spam-flag '6.': write a score: 6, 6.5"},
    {FILTER, "spam-flag", ".5", NULL, "spam-flag '.5': write a score: 6, 6.5"},
    {FILTER, "spam-flag", "6.125", NULL, "spam-flag '6.125': write a score: 6, 6.5"},
    {FILTER, "spam-flag", "6.5.1", NULL, "spam-flag '6.5.1': write a score: 6, 6.5"},
    {FILTER, "spam-flag", "1e3", NULL, "spam-flag '1e3': write a score: 6, 6.5"},
    {FILTER, "spam-flag", "nan", NULL, "spam-flag 'nan': write a score: 6, 6.5"},
    {FILTER, "spam-flag", "inf", NULL, "spam-flag 'inf': write a score: 6, 6.5"},
    {FILTER, "spam-flag", "-1", NULL, "spam-flag '-1': write a score: 6, 6.5"},
    {FILTER, "spam-flag", "+6", NULL, "spam-flag '+6': write a score: 6, 6.5"},
    {FILTER, "spam-flag", "0x6", NULL, "spam-flag '0x6': write a score: 6, 6.5"},
    {FILTER, "spam-flag", "٦", NULL, "spam-flag '٦': write a score: 6, 6.5"},
    {FILTER, "spam-flag", "0", NULL, "spam-flag '0': at least 0.01"},
    {FILTER, "spam-flag", "999.01", NULL, "spam-flag '999.01': at most 999"},
    {FILTER, "spam-flag", "42949679", NULL, "spam-flag '42949679': at most 999"}, /* no 32 bits as hundredths */
    {FILTER, "spam-flag", "184467440737095517", NULL, "spam-flag '184467440737095517': at most 999"},
    {FILTER, "spam-flag", "99999999999999999999999", NULL, "spam-flag '99999999999999999999999': at most 999"},
    {FILTER, "scanner-away", "pass", "pass", NULL},

    {SETTINGS, "junk-folder", "Spam/Older", "Spam/Older", NULL},
    {SETTINGS, "junk-folder", "Junk", NULL, NULL}, /* the default of a text has one spelling, too */
    {SETTINGS, "junk-folder", "", NULL, NULL},
    {SETTINGS, "junk-folder", "Inbox", NULL, "junk-folder 'Inbox': INBOX is there already, and is another"},
    {SETTINGS, "junk-folder", "a/", NULL, "junk-folder 'a/': nothing as a level of a folder"},
    {SETTINGS, "message-size", "1000K", "1M", NULL},
    {SETTINGS, "message-size", "500K", NULL, "message-size '500K': at least 1M"},
    {SETTINGS, "message-size", "3G", NULL, "message-size '3G': at most 2G"},
    {SETTINGS, "delay-warning", "4h", "4h", NULL},
    {SETTINGS, "delay-warning", "off", NULL, NULL},
    {SETTINGS, "delay-warning", "5m", NULL, "delay-warning '5m': at least 1h, or off"},

    {TLS, "follow-key", "/etc/ssl/key.pem", "/etc/ssl/key.pem", NULL},
    {TLS, "follow-key", "none", NULL, NULL},
    {TLS, "follow-key", "key.pem", NULL, "follow-key 'key.pem': no absolute path"},
    {TLS, "follow-key", "/etc/../key", NULL, "follow-key '/etc/../key': '..' between two '/', or at the end"},

    {ADDRESS, "to", "alice,group:sales,X@far.example.com", "user:alice,group:sales,x@far.example.com", NULL},
    {ADDRESS, "to", "alice, user:alice , ALICE", "user:alice", NULL},
    {ADDRESS, "to", "", NULL, NULL},
    {ADDRESS, "to", "alice,", NULL, "to '': names nobody"},
    {ADDRESS, "to", "alice,group:", NULL, "to 'group:': names nobody"},
};

static void set_and_written_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(object_free) Object *object = object_new((Kind)cases[i].kind, "main", "x");
        const FieldMeta *field = field_of(object, cases[i].field);
        DEFER(error_free) Error *err = value_set(object, field, cases[i].given);
        const char *said = err ? err->what : NULL;
        DEFER(xfree) char *text = !err && value_count(object, field) ? field_text(object, field) : NULL;
        bool right = cases[i].error  ? said && strcmp(said, cases[i].error) == 0 && err->code == ERROR_INVALID
                     : cases[i].text ? text && strcmp(text, cases[i].text) == 0
                                     : !said && !text;

        if (!right)
            fail_msg("%s '%s': %s, error %s", cases[i].field, cases[i].given, text ? text : "not set",
                     said ? said : "-");
    }
}

static void check_list(const Object *object, const char *wanted)
{
    DEFER(xfree) char *text = field_text(object, field_of(object, "to"));

    assert_string_equal(text, wanted);
}

static void lists(void **state)
{
    DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org");
    const FieldMeta *to = field_of(object, "to"), *internal = field_of(object, "internal");

    (void)state;
    assert_null(value_append(object, to, "alice,bob"));
    assert_null(value_append(object, to, "user:bob,group:sales"));
    check_list(object, "user:alice,user:bob,group:sales");
    assert_null(value_take(object, to, "Bob,nobody"));
    check_list(object, "user:alice,group:sales");
    assert_null(value_append(object, to, ""));
    assert_null(value_take(object, to, ""));
    assert_null(value_add(object, to, "user:a, b"));
    check_list(object, "user:alice,group:sales,user:a, b");
    assert_int_equal(value_count(object, to), 3);
    value_clear(object, to);
    assert_int_equal(value_count(object, to), 0);
    check_list(object, "");

    DEFER(error_free) Error *append = value_append(object, internal, "yes");
    assert_string_equal(append->what, "internal: no list: it is set with '='");
    DEFER(error_free) Error *take = value_take(object, internal, "yes");
    assert_string_equal(take->what, "internal: no list: it is set with '='");
    DEFER(error_free) Error *bad = value_take(object, to, "group:");
    assert_string_equal(bad->what, "to 'group:': names nobody");
}

/* Ten thousand are refused at the limit, not after the square of them has been compared. */
static void a_long_list(void **state)
{
    DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org");
    DEFER(buf_done) Buf text = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        buf_printf(&text, "%su%d", i ? "," : "", i);
    assert_null(value_set(object, field_of(object, "to"), buf_text(&text)));
    assert_int_equal(object->address->n_to, 1000);
    for (int i = 1000; i < 10000; i++)
        buf_printf(&text, ",u%d", i);
    DEFER(error_free) Error *err = value_set(object, field_of(object, "to"), buf_text(&text));
    assert_string_equal(err->what, "to: more than 1000 entries");
}

static void limits_of_texts(void **state)
{
    DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_DOMAIN, "main", "example.org");
    enum { MOST = 200 };
    char text[MOST + 2];

    (void)state;
    memset(text, 'x', MOST + 1);
    text[MOST + 1] = '\0';
    DEFER(error_free) Error *err = value_set(object, field_of(object, "description"), text);
    assert_non_null(strstr(err->what, "201 octets: at most 200"));
    text[MOST] = '\0';
    assert_null(value_set(object, field_of(object, "description"), text));
}

/* What a peer may have put there, by hand. */
static void brought_into_one_form(void **state)
{
    DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org");
    const FieldMeta *to = field_of(object, "to"), *internal = field_of(object, "internal");

    (void)state;
    object->address->n_to = 3;
    object->address->to = xcalloc(3, sizeof(char *));
    object->address->to[0] = xstrdup("alice");
    object->address->to[1] = xstrdup("user:ALICE");
    object->address->to[2] = xstrdup("X@EXÄMPLE.org");
    object->address->has_internal = true;
    object->address->description = xstrdup("");
    assert_null(value_normalise(object, to));
    assert_null(value_normalise(object, internal));
    assert_null(value_normalise(object, field_of(object, "description")));
    check_list(object, "user:alice,x@xn--exmple-cua.org");
    assert_false(object->address->has_internal);
    assert_null(object->address->description);

    free(object->address->to[0]);
    object->address->to[0] = xstrdup("group:");
    DEFER(error_free) Error *err = value_normalise(object, to);
    assert_string_equal(err->what, "to 'group:': names nobody");
}

/* The default of a text is a constant of protobuf-c's: it is stated, cleared and freed without being touched. */
static void a_text_with_a_default(void **state)
{
    DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_SETTINGS, "main", NULL);
    const FieldMeta *folder = field_of(object, "junk_folder");

    (void)state;
    assert_int_equal(value_count(object, folder), 0);
    assert_string_equal(object->settings->junk_folder, "Junk");
    value_clear(object, folder);
    assert_null(value_set(object, folder, "Spam"));
    assert_null(value_set(object, folder, "Spam/2"));
    assert_int_equal(value_count(object, folder), 1);
    assert_null(value_set(object, folder, "Junk"));
    assert_int_equal(value_count(object, folder), 0);

    object->settings->junk_folder = xstrdup("Junk"); /* as a peer may state it */
    assert_null(value_normalise(object, folder));
    assert_int_equal(value_count(object, folder), 0);
    DEFER(object_free) Object *fresh = object_new(MAIL__OBJECT__BODY_SETTINGS, "main", NULL);
    assert_true(object_equal(object, fresh));
    DEFER(object_free) Object *copy = object_clone(object);
    assert_int_equal(value_count(copy, folder), 0);
    assert_string_equal(copy->settings->junk_folder, "Junk");
}

static void numbers_out_of_range(void **state)
{
    DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_MAILBOX, "main", "alice");
    DEFER(object_free) Object *policy = object_new(MAIL__OBJECT__BODY_POLICY, "main", NULL);

    (void)state;
    object->mailbox->has_spam_retention = true;
    object->mailbox->spam_retention = 60;
    DEFER(error_free) Error *low = value_normalise(object, field_of(object, "spam_retention"));
    assert_string_equal(low->what, "spam-retention '1m': at least 1d, or off");
    policy->policy->has_sender_login_match = true;
    policy->policy->sender_login_match = (Mail__SenderLoginMatch)77;
    DEFER(error_free) Error *unknown = value_normalise(policy, field_of(policy, "sender_login_match"));
    assert_int_equal(unknown->code, ERROR_UNSUPPORTED);
    assert_string_equal(unknown->what, "sender-login-match '77': not known here");
}

static void words_and_defaults(void **state)
{
    static const struct {
        int kind;
        const char *field, *words, *by_default;
    } rows[] = {
        {MAILBOX, "quota", "default,unlimited,", "default"},
        {MAILBOX, "enabled", "yes,no,", "yes"},
        {POLICY, "sender_login_match", "off,on,include-groups,", "off"},
        {POLICY, "spam_retention", "off,", "15d"},
        {POLICY, "default_quota", "unlimited,", "unlimited"},
        {DOMAIN, "catch_all", "none,", "none"},
        {ADDRESS, "to", "", ""},
        {ADMIN, "role", "viewer,operator,admin,", ""},
        {FILTER, "spam_flag", "", "6"},
        {FILTER, "infected", "discard,reject,", "discard"},
        {SETTINGS, "junk_folder", "", "Junk"},
        {SETTINGS, "login_mode", "performance,security,", "performance"},
        {TLS, "follow_key", "none,", "none"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DEFER(object_free) Object *object = object_new((Kind)rows[i].kind, "main", "x");
        DEFER(buf_done) Buf all = {0};
        for (size_t k = 0;; k++) {
            DEFER(xfree) char *word = value_word(object_body(object)->descriptor, field_of(object, rows[i].field), k);
            if (!word)
                break;
            buf_printf(&all, "%s,", word);
        }
        assert_string_equal(buf_text(&all), rows[i].words);
        DEFER(xfree) char *by_default = field_default_text(object, field_of(object, rows[i].field));
        assert_string_equal(by_default, rows[i].by_default);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_and_written_again), cmocka_unit_test(lists),
        cmocka_unit_test(a_long_list),           cmocka_unit_test(limits_of_texts),
        cmocka_unit_test(brought_into_one_form), cmocka_unit_test(numbers_out_of_range),
        cmocka_unit_test(words_and_defaults),    cmocka_unit_test(a_text_with_a_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "model/validate.h"

#include "base/alloc.h"
#include "model/edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "to=alice;internal=yes" on an object that is not validated yet. */
static Object *stated(Kind kind, const char *instance, const char *name, const char *fields)
{
    Object *object = object_new(kind, instance, name);
    DEFER(xfree) char *copy = xstrdup(fields);
    char *rest = copy, *one;

    while ((one = strsep(&rest, ";")) && *one) {
        Mail__FieldEdit edit = MAIL__FIELD_EDIT__INIT;
        edit.field = strsep(&one, "=");
        edit.value = one;
        DEFER(error_free) Error *err = object_edit(object, &edit);
        if (err)
            fail_msg("%s", err->what);
    }
    return object;
}

#define STAFF "kind=internal;node=mx1"

static const struct {
    Kind kind;
    const char *instance, *name, *fields, *error; /* error NULL: it is right */
} cases[] = {
    {MAIL__OBJECT__BODY_NODE, NULL, "mx1", "description=Rack 7", NULL},
    {MAIL__OBJECT__BODY_NODE, "main", "mx1", "", "node mx1 of main: lies in no instance"},
    {MAIL__OBJECT__BODY_NODE, NULL, "", "", "node '': empty: 1 to 63 of a-z, 0-9 and '-', first a letter"},
    {MAIL__OBJECT__BODY_NODE, NULL, "../x", "",
     "node ../x: '.' is not allowed: 1 to 63 of a-z, 0-9 and '-', first a letter"},

    {MAIL__OBJECT__BODY_INSTANCE, NULL, "main", "hostname=mx.example.org;user-domain=staff", NULL},
    {MAIL__OBJECT__BODY_INSTANCE, NULL, "main",
     "hostname=mx.example.org;user-domain=staff;node=mx1;listen=127.0.0.1,::1;running=no", NULL},
    {MAIL__OBJECT__BODY_INSTANCE, NULL, "main", "user-domain=staff", "instance main: hostname is missing"},
    {MAIL__OBJECT__BODY_INSTANCE, NULL, "main", "hostname=mx.example.org", "instance main: user-domain is missing"},

    {MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff", STAFF, NULL},
    {MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff", STAFF ";replicas=mx2,mx3;listen=10.0.0.1", NULL},
    {MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff", "node=mx1", "user-domain staff: kind is missing"},
    {MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff", "kind=internal", "user-domain staff: node is missing"},
    {MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff", STAFF ";replicas=mx2",
     "user-domain staff: replicas 'mx2': 'listen' has no address that it could reach"},
    {MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff", STAFF ";replicas=mx2,mx1",
     "user-domain staff: replicas 'mx1': it holds the writable directory"},

    {MAIL__OBJECT__BODY_ADMIN, NULL, "help", "role=operator;uid=0", NULL},
    {MAIL__OBJECT__BODY_ADMIN, NULL, "help", "role=viewer;group=wheel;instances=main", NULL},
    {MAIL__OBJECT__BODY_ADMIN, NULL, "help", "role=admin;key=JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh7", NULL},
    {MAIL__OBJECT__BODY_ADMIN, NULL, "help", "uid=1", "admin help: role is missing"},
    {MAIL__OBJECT__BODY_ADMIN, NULL, "help", "role=viewer",
     "admin help: none of uid, group and key: exactly one says who it is"},
    {MAIL__OBJECT__BODY_ADMIN, NULL, "help", "role=viewer;uid=1;group=wheel",
     "admin help: more than one of uid, group and key: exactly one says who it is"},

    {MAIL__OBJECT__BODY_DOMAIN, "main", "example.org", "catch-all=eve;description=x", NULL},
    {MAIL__OBJECT__BODY_DOMAIN, NULL, "example.org", "", "domain example.org: instance is missing"},
    {MAIL__OBJECT__BODY_DOMAIN, "a b", "example.org", "",
     "domain example.org: instance: ' ' is not allowed: 1 to 63 of a-z, 0-9 and '-', first a letter"},
    {MAIL__OBJECT__BODY_POLICY, "main", "", "public-creators=user:alice,group:sales", NULL},
    {MAIL__OBJECT__BODY_POLICY, "main", "", "public-creators=public:Sales",
     "policy of main: public-creators 'public:Sales': a user or a group of the directory"},
    {MAIL__OBJECT__BODY_POLICY, "main", "", "public-creators=x@far.example.com",
     "policy of main: public-creators 'x@far.example.com': a user or a group of the directory"},
    {MAIL__OBJECT__BODY_DOMAIN, "main", "example.org", "catch-all=group:sales",
     "domain example.org: catch-all 'group:sales': one user of the directory, one public mailbox, or none"},
    {MAIL__OBJECT__BODY_DOMAIN, "main", "example.org", "catch-all=x@far.example.com",
     "domain example.org: catch-all 'x@far.example.com': one user of the directory, one public mailbox, or none"},

    {MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org", "to=alice", NULL},
    {MAIL__OBJECT__BODY_ADDRESS, "main", "info@*", "to=alice,group:sales,x@far.example.com;internal=yes", NULL},
    {MAIL__OBJECT__BODY_ADDRESS, "main", "sales", "to=alice", "address sales: '@' is missing"},
    {MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org", "", "address info@example.org: to is missing"},

    {MAIL__OBJECT__BODY_MAILBOX, "main", "alice", "quota=unlimited;forward=a@example.org;keep-copy=no", NULL},
    {MAIL__OBJECT__BODY_MAILBOX, "main", "../../etc/passwd", "",
     "mailbox ../../etc/passwd: '/' is not allowed: no name of a user or group has it"},
    {MAIL__OBJECT__BODY_MAILBOX, "main", "alice",
     "forward=1@x.org,2@x.org,3@x.org,4@x.org,5@x.org,6@x.org,7@x.org,8@x.org,"
     "9@x.org,10@x.org,11@x.org,12@x.org,13@x.org,14@x.org,15@x.org,16@x.org,"
     "17@x.org,18@x.org,19@x.org,20@x.org",
     NULL},
    {MAIL__OBJECT__BODY_POLICY, "main", NULL, "default-quota=5G", NULL},
    {MAIL__OBJECT__BODY_POLICY, NULL, NULL, "", "policy: instance is missing"},
    {MAIL__OBJECT__BODY_POLICY, "main", "x", "", "policy has no name: there is one in each instance"},

    {MAIL__OBJECT__BODY_SETTINGS, "main", NULL, "queue-lifetime=8h;delay-warning=7h;junk-folder=Spam", NULL},
    {MAIL__OBJECT__BODY_SETTINGS, "main", NULL, "queue-lifetime=2h", NULL},
    {MAIL__OBJECT__BODY_SETTINGS, NULL, NULL, "", "settings: instance is missing"},
    {MAIL__OBJECT__BODY_SETTINGS, "main", "x", "", "settings has no name: there is one in each instance"},
    {MAIL__OBJECT__BODY_SETTINGS, "main", NULL, "queue-lifetime=8h;delay-warning=8h",
     "settings of main: delay-warning '8h': must be less than queue-lifetime, which is 8h"},
    {MAIL__OBJECT__BODY_SETTINGS, "main", NULL, "delay-warning=6d",
     "settings of main: delay-warning '6d': must be less than queue-lifetime, which is 5d"},
    {MAIL__OBJECT__BODY_FILTER, "main", NULL, "spam-flag=4.5;deny=4.75", NULL},
    {MAIL__OBJECT__BODY_FILTER, "main", NULL, "spam-flag=15",
     "filter of main: spam-flag '15': must be less than deny, which is 15"},
    {MAIL__OBJECT__BODY_FILTER, "main", NULL, "deny=5.5",
     "filter of main: spam-flag '6': must be less than deny, which is 5.5"},
    {MAIL__OBJECT__BODY_TLS, "main", NULL, "follow-certificate=/etc/c.pem;follow-key=/etc/k.pem", NULL},
    {MAIL__OBJECT__BODY_TLS, "main", NULL, "", NULL},
    {MAIL__OBJECT__BODY_TLS, "main", NULL, "follow-certificate=/etc/c.pem",
     "tls of main: follow-key is missing: certificate and key are set together"},
    {MAIL__OBJECT__BODY_TLS, "main", NULL, "follow-key=/etc/k.pem",
     "tls of main: follow-certificate is missing: certificate and key are set together"},
};

static void right_and_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(object_free) Object *object = stated(cases[i].kind, cases[i].instance, cases[i].name, cases[i].fields);
        DEFER(error_free) Error *err = object_validate(object);
        bool right =
            cases[i].error ? err && strcmp(err->what, cases[i].error) == 0 && err->code == ERROR_INVALID : !err;
        if (!right)
            fail_msg("row %zu (%s): %s, wanted %s", i, cases[i].fields, err ? err->what : "right",
                     cases[i].error ? cases[i].error : "right");
        if (err)
            continue;
        /* What is right is in its one form: again, and through its bytes. */
        DEFER(object_free) Object *again = object_clone(object);
        assert_null(object_validate(again));
        assert_true(object_equal(object, again));
        DEFER(object_free) Object *back = NULL;
        DEFER(buf_done) Buf bytes = {0};
        object_pack(object, &bytes);
        assert_null(object_unpack(bytes.data, bytes.size, &back));
    }
}

static char **one_text(const char *text, size_t *ret_n)
{
    char **list = xcalloc(1, sizeof *list);

    list[0] = xstrdup(text);
    *ret_n = 1;
    return list;
}

/* As a peer may send it: nothing has looked at the fields yet. */
static void brought_into_one_form(void **state)
{
    DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_ADDRESS, "MAIN", "Info@Exämple.ORG");
    DEFER(object_free) Object *twin = object_new(MAIL__OBJECT__BODY_ADDRESS, "main", "info@XN--exmple-cua.org");

    (void)state;
    object->address->to = one_text("Alice", &object->address->n_to);
    object->address->has_dormant = true; /* its default, stated */
    object->address->description = xstrdup("Ra\xcc\x88"
                                           "ck");
    twin->address->to = one_text("user:alice", &twin->address->n_to);
    twin->address->description = xstrdup("Räck");
    assert_false(object_equal(object, twin));
    assert_null(object_validate(object));
    assert_null(object_validate(twin));
    assert_true(object_equal(object, twin));
    assert_string_equal(object->name, "info@xn--exmple-cua.org");
    assert_string_equal(object->instance_name, "main");
    assert_string_equal(object->address->to[0], "user:alice");
}

static void empty_texts_are_not_set(void **state)
{
    DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_NODE, NULL, "mx1");
    DEFER(object_free) Object *bare = object_new(MAIL__OBJECT__BODY_NODE, NULL, "mx1");

    (void)state;
    object->instance_name = xstrdup("");
    object->node->description = xstrdup("");
    assert_null(object_validate(object));
    assert_true(object_equal(object, bare));
}

static void what_a_peer_may_send(void **state)
{
    DEFER(object_free) Object *address = object_new(MAIL__OBJECT__BODY_ADDRESS, "main", "info@*");

    (void)state;
    address->address->to = one_text("group:", &address->address->n_to);
    DEFER(error_free) Error *nobody = object_validate(address);
    assert_string_equal(nobody->what, "address info@* of main: to 'group:': names nobody");
    free(address->address->to[0]);
    address->address->to[0] = xstrdup("user:alice");
    address->address->has_dormant = address->address->dormant = true;
    DEFER(error_free) Error *dormant = object_validate(address);
    assert_string_equal(dormant->what, "address info@* of main: dormant: an address in every domain has none to lose");

    DEFER(object_free) Object *none = xcalloc(1, sizeof *none);
    mail__object__init(none);
    DEFER(error_free) Error *kind = object_validate(none);
    assert_string_equal(kind->what, "object of no kind");
}

/* The limits are named (B23): of a list, of a text, of all together. */
static void limits(void **state)
{
    enum { MANY = 1001, LONG = 255 };
    DEFER(object_free) Object *address = object_new(MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org");
    DEFER(object_free) Object *node = object_new(MAIL__OBJECT__BODY_NODE, NULL, "mx1");

    (void)state;
    address->address->to = xcalloc(MANY, sizeof(char *));
    address->address->n_to = MANY;
    for (size_t i = 0; i < MANY; i++)
        address->address->to[i] = xasprintf("user:%0*zu", LONG, i);
    DEFER(error_free) Error *many = object_validate(address);
    assert_string_equal(many->what, "address info@example.org: to: 1001 entries: at most 1000");
    free(address->address->to[MANY - 1]);
    address->address->n_to = MANY - 1;
    DEFER(error_free) Error *fits = object_validate(address);
    assert_non_null(fits);
    assert_non_null(strstr(fits->what, "octets in all: at most 262144"));

    node->node->description = xcalloc(1, 202);
    memset(node->node->description, 'x', 201);
    DEFER(error_free) Error *text = object_validate(node);
    assert_non_null(strstr(text->what, "201 octets: at most 200"));
}

static void hint_of_what_is_missing(void **state)
{
    DEFER(object_free) Object *instance = stated(MAIL__OBJECT__BODY_INSTANCE, NULL, "main", "user-domain=staff");
    DEFER(error_free) Error *err = object_validate(instance);

    (void)state;
    assert_string_equal(err->hint, "hostname=...: SMTP banner, HELO name and certificate name.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_and_wrong),
        cmocka_unit_test(brought_into_one_form),
        cmocka_unit_test(empty_texts_are_not_set),
        cmocka_unit_test(what_a_peer_may_send),
        cmocka_unit_test(limits),
        cmocka_unit_test(hint_of_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tables/relays.h"

#include "base/alloc.h"
#include "base/buf.h"

#include <stdio.h>

#include "expect.h"

typedef struct Case {
    const char *name, *host, *user, *password;
    uint32_t port;
    Mail__Relay__Level tls;
    bool disabled;
} Case;

static Object *relay(const Case *from)
{
    Object *object = object_new(MAIL__OBJECT__BODY_RELAY, "main", from->name);

    object->relay->host = xstrdup(from->host);
    object->relay->user = from->user ? xstrdup(from->user) : NULL;
    object->relay->has_port = object->relay->has_tls = true;
    object->relay->port = from->port ? from->port : 25;
    object->relay->tls = from->tls;
    object->relay->enabled = !from->disabled;
    return object;
}

/* "r example.com rn-verify:[a]:25; ...| [a]:25=u:p; ..." */
static void become(const Case *cases, size_t n, const char *wanted)
{
    RelayRule *rules = xcalloc(n, sizeof *rules);
    Object **objects = xcalloc(n, sizeof(Object *));
    Secret **secrets = xcalloc(n, sizeof(Secret *));
    DEFER(relay_rows_done) RelayRows rows = {0};
    DEFER(buf_done) Buf text = {0};

    for (size_t i = 0; i < n; i++) {
        objects[i] = relay(&cases[i]);
        secrets[i] = cases[i].password ? secret_new(cases[i].password, strlen(cases[i].password)) : NULL;
        rules[i] = (RelayRule){objects[i], secrets[i]};
    }
    relay_rows(rules, n, &rows);
    for (size_t i = 0; i < rows.n_rows; i++)
        buf_printf(&text, "%s '%s' %s; ", rows.rows[i].kind, rows.rows[i].subject, rows.rows[i].nexthop);
    buf_append_text(&text, "|");
    for (size_t i = 0; i < rows.n_logins; i++)
        buf_printf(&text, " %s=%s", rows.logins[i].dest, rows.logins[i].login);
    assert_string_equal(buf_text(&text), wanted);
    for (size_t i = 0; i < n; i++) {
        object_free(&objects[i]);
        secret_free(&secrets[i]);
    }
    free(rules);
    free(objects);
    free(secrets);
}
#define BECOME(wanted, ...) become((Case[]){__VA_ARGS__}, sizeof((Case[]){__VA_ARGS__}) / sizeof(Case), wanted)

static void levels_and_keys(void **state)
{
    (void)state;
    BECOME("d '' rn-verify:[a.example]:25; |", {.name = "default", .host = "a.example"});
    BECOME("r 'example.com' rn-may:[192.0.2.1]:26; r '.example.com' rn-encrypt:[2001:db8::1]:25; |",
           {.name = "recipient/example.com", .host = "192.0.2.1", .port = 26, .tls = MAIL__RELAY__LEVEL__OFF},
           {.name = "recipient/.example.com", .host = "2001:db8::1", .tls = MAIL__RELAY__LEVEL__ENCRYPT});
    BECOME("s 'a@example.org' rn-wrap-verify:[a.example]:465; s '@example.org' rn-wrap-encrypt:[a.example]:465;"
           " s '@.example.org' rn-verify:[a.example]:587; |",
           {.name = "sender/a@example.org", .host = "a.example", .port = 465},
           {.name = "sender/example.org", .host = "a.example", .port = 465, .tls = MAIL__RELAY__LEVEL__ENCRYPT},
           {.name = "sender/.example.org", .host = "a.example", .port = 587});
    BECOME("|", {.name = "default", .host = "a.example", .disabled = true});
}

static void each_login_has_a_destination_of_its_own(void **state)
{
    (void)state;
    BECOME(
        "d '' rr-verify:[a.example]:25; r 'example.com' rr-verify:[a.example]:25; s '@x.example' rr-verify:[a.example]:025;"
        " s '@y.example' rr-verify:[a.example]:0025; s '@z.example' rr-verify:[b.example]:25; |"
        " [a.example]:25=u:p [a.example]:025=x:p [a.example]:0025=u:q [b.example]:25=u:q",
        {.name = "default", .host = "a.example", .user = "u", .password = "p"},
        {.name = "recipient/example.com", .host = "a.example", .user = "u", .password = "p"},
        {.name = "sender/x.example", .host = "a.example", .user = "x", .password = "p"},
        {.name = "sender/y.example", .host = "a.example", .user = "u", .password = "q"},
        {.name = "sender/z.example", .host = "b.example", .user = "u", .password = "q"});
}

static void without_its_password_it_waits(void **state)
{
    (void)state;
    BECOME("d '' retry:4.3.5 the password of this relay rule must be set again; |",
           {.name = "default", .host = "a.example", .user = "u"});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_and_keys),
        cmocka_unit_test(each_login_has_a_destination_of_its_own),
        cmocka_unit_test(without_its_password_it_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The state, now or then, in pages and by every filter; and as the rules see it. */
#include "fixture.h"

static void some_state(void)
{
    begin(); /* 1 */
    put(machine("mx1", NULL));
    put(instance("main", "mx1", NULL));
    put(instance("other", NULL, NULL));
    put(domain("main", "example.org", NULL));
    put(domain("other", "example.net", NULL));
    put(policy("main", 1));
    put(address("main", "b@example.org", "user:b"));
    put(address("main", "a@example.org", "user:a"));
    put(address("main", "sales@*", "user:s"));
    put(address("other", "a@example.net", "user:a"));
    put(address("other", "sales@*", "user:t"));
    put(object_new(MAIL__OBJECT__BODY_MAILBOX, "other", "alice"));
    end();
    begin(); /* 2 */
    put(address("main", "a@example.org", "user:changed"));
    put(address("main", "c@example.org", "user:c"));
    drop(the_address("b@example.org"));
    end();
}

static void test_filters(void **state)
{
    static const struct {
        StoreFilter filter;
        const char *wanted;
    } cases[] = {
        {{.kind = MAIL__OBJECT__BODY_INSTANCE}, "instance/main instance/other"},
        {{.instance = "main"},
         "domain/main/example.org policy/main address/main/a@example.org=user:changed "
         "address/main/c@example.org=user:c address/main/sales@*=user:s"},
        {{.instance = "main", .revision = 1},
         "domain/main/example.org policy/main address/main/a@example.org=user:a address/main/b@example.org=user:b "
         "address/main/sales@*=user:s"},
        {{.kind = MAIL__OBJECT__BODY_ADDRESS, .name = "sales@*"},
         "address/main/sales@*=user:s address/other/sales@*=user:t"},
        {{.name = "alice"}, "mailbox/other/alice"},
        {{.name = "mx1"}, "node/mx1"},
        {{.kind = MAIL__OBJECT__BODY_POLICY, .name = ""}, "policy/main"},
        {{.prefix = "s"}, "address/main/sales@*=user:s address/other/sales@*=user:t"},
        {{.prefix = "example.o"}, "domain/main/example.org"},
        {{.prefix = "zz"}, ""},
        {{.kind = MAIL__OBJECT__BODY_ADDRESS, .prefix = "a@", .revision = 1},
         "address/main/a@example.org=user:a address/other/a@example.net=user:a"},
        {{.domain = "example.org"}, "address/main/a@example.org=user:changed address/main/c@example.org=user:c"},
        {{.domain = "example.org", .revision = 1},
         "address/main/a@example.org=user:a address/main/b@example.org=user:b"},
        {{.domain = "*"}, "address/main/sales@*=user:s address/other/sales@*=user:t"},
        {{.domain = "*", .instance = "other"}, "address/other/sales@*=user:t"},
        {{.domain = "org"}, ""},
        {{.scope = "node/mx1"}, "node/mx1"},
        {{.scope = "instance/other"},
         "instance/other domain/other/example.net address/other/a@example.net=user:a "
         "address/other/sales@*=user:t mailbox/other/alice"},
        {{.scope = "instance/nowhere"}, ""},
        {{.kind = MAIL__OBJECT__BODY_ADDRESS, .limit = 2},
         "address/main/a@example.org=user:changed address/main/c@example.org=user:c"},
        {{.limit = 4}, "node/mx1 instance/main instance/other domain/main/example.org"},
    };
    (void)state;

    some_state();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("filter %zu\n", i);
        lists(&cases[i].filter, cases[i].wanted);
    }
}

typedef struct Page {
    Buf all;
    ObjectRef last;
    char instance[32], name[64];
    size_t n;
} Page;

static Error *page_line(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Page *page = context;

    ok(add_line(&page->all, ref, bytes, size));
    snprintf(page->instance, sizeof page->instance, "%s", ref->instance);
    snprintf(page->name, sizeof page->name, "%s", ref->name);
    page->last = ref_of(ref->kind, page->instance, page->name);
    page->n++;
    return NULL;
}

/* Pages of every size, of some filters: together they are what comes in one piece. */
static void test_pages_add_up(void **state)
{
    static const StoreFilter filters[] = {
        {.kind = 0},
        {.revision = 1},
        {.kind = MAIL__OBJECT__BODY_ADDRESS},
        {.kind = MAIL__OBJECT__BODY_ADDRESS, .instance = "main"},
        {.instance = "other"},
        {.instance = "main", .revision = 1},
        {.domain = "*"},
        {.domain = "example.org", .instance = "main"},
        {.prefix = "a"},
        {.name = "sales@*"},
        {.scope = "instance/main"},
    };
    (void)state;

    some_state();
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        for (size_t limit = 1; limit < 6; limit++) {
            DEFER(buf_done) Buf whole = {0};
            Page page = {.n = limit};
            StoreFilter filter = filters[i];
            ok(store_each(store, &filter, add_line, &whole));
            filter.limit = limit;
            while (page.n == limit) {
                page.n = 0;
                ok(store_each(store, &filter, page_line, &page));
                if (page.n > limit)
                    fail_msg("filter %zu: a page of %zu has %zu", i, limit, page.n);
                filter.after = page.last;
            }
            print_message("filter %zu, pages of %zu\n", i, limit);
            assert_string_equal(buf_text(&page.all), buf_text(&whole));
            buf_done(&page.all);
        }
}

/* A list of a revision is the same whatever happens between its pages. */
static void test_a_list_at_a_revision_stands_still(void **state)
{
    Page page = {0};
    (void)state;

    some_state();
    StoreFilter filter = {.kind = MAIL__OBJECT__BODY_ADDRESS, .instance = "main", .revision = 2, .limit = 1};
    for (int i = 0; i < 3; i++) {
        ok(store_each(store, &filter, page_line, &page));
        filter.after = page.last;
        begin();
        put(address("main", "b@example.org", "user:new"));
        drop(the_address(i ? "sales@*" : "c@example.org"));
        if (i)
            put(address("main", "sales@*", "user:back"));
        end();
    }
    assert_string_equal(buf_text(&page.all), "address/main/a@example.org=user:changed "
                                             "address/main/c@example.org=user:c address/main/sales@*=user:s");
    buf_done(&page.all);
}

static void test_get(void **state)
{
    static const struct {
        const char *name;
        uint64_t revision;
        const char *to; /* NULL: there is none */
    } cases[] = {
        {"a@example.org", 0, "user:changed"}, {"a@example.org", 1, "user:a"},
        {"a@example.org", 2, "user:changed"}, {"b@example.org", 0, NULL},
        {"b@example.org", 1, "user:b"},       {"b@example.org", 2, NULL},
        {"c@example.org", 0, "user:c"},       {"c@example.org", 1, NULL},
        {"x@example.org", 0, NULL},           {NULL, 0, NULL},
    };
    (void)state;

    some_state();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(object_free) Object *object = NULL;
        ObjectRef ref = the_address(cases[i].name);
        ok(store_get(store, &ref, cases[i].revision, &object));
        const char *to = object ? object->address->to[0] : NULL;
        if (!to != !cases[i].to || (to && strcmp(to, cases[i].to) != 0))
            fail_msg("case %zu: %s", i, to ? to : "nothing");
    }
    Object *object = NULL;
    ObjectRef ref = the_address("a@example.org");
    fails(store_get(store, &ref, 3, &object), ERROR_NOT_FOUND, "there is no revision 3, the newest is 2");
    fails(store_each(store, &(StoreFilter){.revision = 9}, add_line, NULL), ERROR_NOT_FOUND, "there is no revision 9");
    ref = ref_of(MAIL__OBJECT__BODY_POLICY, "main", NULL);
    ok(store_get(store, &ref, 0, &object));
    assert_int_equal(object->policy->default_quota, 1);
    object_free(&object);
}

/* ---- the rules' eyes ---- */

static Error *add_title(void *context, const Object *object)
{
    ObjectRef ref = object_ref(object);
    Buf *out = context;

    buf_printf(out, "%s%s/%s", out->size ? " " : "", ref.instance, ref.name);
    return NULL;
}

static void test_view(void **state)
{
    static const struct {
        Kind kind;
        const char *instance, *name, *wanted;
    } cases[] = {
        {MAIL__OBJECT__BODY_DOMAIN, NULL, "example.org", "main/example.org"},
        {MAIL__OBJECT__BODY_DOMAIN, NULL, "example.com", ""},
        {MAIL__OBJECT__BODY_DOMAIN, "other", "example.org", ""},
        {MAIL__OBJECT__BODY_DOMAIN, NULL, NULL, "main/example.org other/example.net"},
        {MAIL__OBJECT__BODY_ADDRESS, "main", NULL, "main/a@example.org main/c@example.org main/sales@*"},
        {MAIL__OBJECT__BODY_ADDRESS, NULL, "sales@*", "main/sales@* other/sales@*"},
        {MAIL__OBJECT__BODY_ADDRESS, NULL, "a@example.net", "other/a@example.net"},
        {MAIL__OBJECT__BODY_MAILBOX, NULL, "alice", "other/alice"},
        {MAIL__OBJECT__BODY_NODE, NULL, "mx1", "/mx1"},
        {MAIL__OBJECT__BODY_NODE, NULL, NULL, "/mx1"},
        {MAIL__OBJECT__BODY_POLICY, "main", "", "main/"},
        {MAIL__OBJECT__BODY_POLICY, NULL, NULL, "main/"},
    };
    (void)state;

    some_state();
    StateView view = store_view(store);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_done) Buf out = {0};
        ok(view.each(view.self, cases[i].kind, cases[i].instance, cases[i].name, add_title, &out));
        print_message("view %zu\n", i);
        assert_string_equal(buf_text(&out), cases[i].wanted);
    }
    begin(); /* it sees what is not committed */
    put(domain("main", "example.com", NULL));
    DEFER(object_free) Object *object = NULL;
    ObjectRef ref = ref_of(MAIL__OBJECT__BODY_DOMAIN, "main", "example.com");
    ok(view.get(view.self, &ref, &object));
    assert_non_null(object);
    store_rollback(store);
    DEFER(object_free) Object *gone = NULL;
    ok(view.get(view.self, &ref, &gone));
    assert_null(gone);
}

/* Loops may nest, and what they read may be changed under them. */
static Error *put_under(void *context, const Object *object)
{
    StateView view = store_view(store);
    ObjectRef ref = object_ref(object);

    if (*(int *)context < 2) {
        int deeper = *(int *)context + 1;
        ok(view.each(view.self, ref.kind, NULL, NULL, put_under, &deeper));
    }
    ok(store_remove(store, &ref));
    put(address(ref.instance, ref.name, "user:under"));
    return NULL;
}

static void test_nested_loops(void **state)
{
    int depth = 0;
    (void)state;

    some_state();
    begin();
    StateView view = store_view(store);
    ok(view.each(view.self, MAIL__OBJECT__BODY_ADDRESS, "main", NULL, put_under, &depth));
    end();
    lists(&(StoreFilter){.kind = MAIL__OBJECT__BODY_ADDRESS, .instance = "main"},
          "address/main/a@example.org=user:under address/main/c@example.org=user:under "
          "address/main/sales@*=user:under");
    ok(store_audit(store));
}

static Error *stop_at_once(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    ++*(int *)context;
    return error_new(ERROR_CONFLICT, "enough: %s", ref->name);
}

static void test_the_callers_error_ends_a_list(void **state)
{
    int calls = 0;
    (void)state;

    some_state();
    fails(store_each(store, &(StoreFilter){0}, stop_at_once, &calls), ERROR_CONFLICT, "enough: mx1");
    assert_int_equal(calls, 1);
    lists(&(StoreFilter){.limit = 1}, "node/mx1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_filters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pages_add_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_list_at_a_revision_stands_still, setup, teardown),
        cmocka_unit_test_setup_teardown(test_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_view, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nested_loops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_callers_error_ends_a_list, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "render/state.h"

#include "expect.h"

enum { STATED_MAX = 8 };

typedef struct Stated {
    Object *objects[STATED_MAX];
    size_t n;
} Stated;

static Object *add(Stated *stated, Kind kind, const char *instance, const char *name)
{
    Object *object = object_new(kind, instance, name);

    assert_true(stated->n < STATED_MAX);
    stated->objects[stated->n++] = object;
    return object;
}

static void set(char **field, const char *value)
{
    free(*field);
    *field = xstrdup(value);
}

static void add_node(Stated *stated, const char *name)
{
    add(stated, MAIL__OBJECT__BODY_NODE, NULL, name);
}

static Mail__UserDomain *add_user_domain(Stated *stated, const char *name, const char *node)
{
    Object *object = add(stated, MAIL__OBJECT__BODY_USER_DOMAIN, NULL, name);

    object->user_domain->has_kind = true;
    set(&object->user_domain->node, node);
    return object->user_domain;
}

static Mail__Instance *add_instance(Stated *stated, const char *name, const char *node)
{
    Object *object = add(stated, MAIL__OBJECT__BODY_INSTANCE, NULL, name);

    set(&object->instance->node, node);
    set(&object->instance->hostname, "mx1.example.org");
    set(&object->instance->user_domain, "staff");
    return object->instance;
}

static void listen_on(Mail__Instance *instance, const char *address)
{
    instance->listen = realloc(instance->listen, (instance->n_listen + 1) * sizeof *instance->listen);
    instance->listen[instance->n_listen++] = xstrdup(address);
}

/* Takes the objects. */
static Error *read_state(Stated *stated, const char *root, NodeState **ret_state)
{
    Buf bytes[STATED_MAX] = {0};
    ProtobufCBinaryData data[STATED_MAX];

    for (size_t i = 0; i < stated->n; i++) {
        object_pack(stated->objects[i], &bytes[i]);
        data[i] = (ProtobufCBinaryData){bytes[i].size, bytes[i].data};
        object_free(&stated->objects[i]);
    }
    Error *err = node_state_read(data, stated->n, root, ret_state);
    for (size_t i = 0; i < stated->n; i++)
        buf_done(&bytes[i]);
    stated->n = 0;
    return err;
}

static void test_defaults_are_there(void **state)
{
    Stated stated = {0};
    DEFER(node_state_free) NodeState *node = NULL;
    (void)state;

    add_node(&stated, "mx1");
    add_user_domain(&stated, "staff", "mx2");
    add_instance(&stated, "main", "mx1");
    ok(read_state(&stated, "/", &node));
    assert_string_equal(node->root, "");
    assert_string_equal(node->node, "mx1");
    assert_string_equal(node->instance_name, "main");
    assert_string_equal(node->user_domain_name, "staff");
    assert_int_equal(node->settings->message_size, 100000000);
    assert_string_equal(node->settings->junk_folder, "Junk");
    assert_true(node->filter->antivirus);
    assert_null(node->tls->follow_key);
    assert_int_equal(node->n_directories, 0);
    assert_string_equal(node->loopback, "127.0.0.1");
}

static void test_what_is_stated_counts(void **state)
{
    Stated stated = {0};
    DEFER(node_state_free) NodeState *node = NULL;
    (void)state;

    Object *settings = add(&stated, MAIL__OBJECT__BODY_SETTINGS, "main", NULL);
    settings->settings->has_message_size = true;
    settings->settings->message_size = 5000000;
    settings = add(&stated, MAIL__OBJECT__BODY_SETTINGS, "other", NULL);
    settings->settings->has_message_size = true;
    settings->settings->message_size = 6000000;
    add_instance(&stated, "main", "mx1");
    add_user_domain(&stated, "staff", "mx1");
    add_user_domain(&stated, "pupils", "mx1");
    add_user_domain(&stated, "away", "mx2");
    Mail__UserDomain *copied = add_user_domain(&stated, "copied", "mx2");
    copied->n_replicas = copied->n_listen = 1;
    copied->replicas = xcalloc(1, sizeof(char *));
    copied->replicas[0] = xstrdup("mx1");
    copied->listen = xcalloc(1, sizeof(char *));
    copied->listen[0] = xstrdup("192.0.2.2");
    add_node(&stated, "mx1");
    ok(read_state(&stated, "/tmp/x/", &node));
    assert_string_equal(node->root, "/tmp/x");
    assert_int_equal(node->settings->message_size, 5000000);
    assert_int_equal(node->n_directories, 3);
    assert_string_equal(node->directories[0].name, "copied");
    assert_true(node->directories[0].replica);
    assert_string_equal(node->directories[1].name, "pupils");
    assert_string_equal(node->directories[2].name, "staff");
    assert_false(node->directories[1].replica || node->directories[2].replica);
}

static void test_nothing_placed_here(void **state)
{
    Stated stated = {0};
    (void)state;

    for (int stopped = 0; stopped < 2; stopped++) {
        DEFER(node_state_free) NodeState *node = NULL;
        add_node(&stated, "mx1");
        Mail__Instance *instance = add_instance(&stated, "main", stopped ? "mx1" : "mx2");
        instance->has_running = true;
        instance->running = !stopped;
        ok(read_state(&stated, "", &node));
        assert_null(node->instance_name);
        assert_null(node->instance);
        assert_null(node->settings);
        assert_null(node->user_domain);
    }
    DEFER(node_state_free) NodeState *empty = NULL;
    ok(read_state(&stated, "", &empty));
    assert_string_equal(empty->node, "");
    assert_null(empty->instance);
}

static void test_loopback(void **state)
{
    static const struct {
        const char *listen[3];
        const char *loopback;
    } cases[] = {
        {{"127.0.5.1"}, "127.0.5.1"},
        {{"192.0.2.1"}, "127.0.0.1"},
        {{"::1", "127.0.5.2", "127.0.5.1"}, "127.0.5.2"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Stated stated = {0};
        DEFER(node_state_free) NodeState *node = NULL;
        add_user_domain(&stated, "staff", "mx1");
        Mail__Instance *instance = add_instance(&stated, "main", "mx1");
        for (size_t j = 0; j < 3 && cases[i].listen[j]; j++)
            listen_on(instance, cases[i].listen[j]);
        ok(read_state(&stated, "", &node));
        assert_string_equal(node->loopback, cases[i].loopback);
    }
}

/* ---- refused ------------------------------------------------------------------------ */

static void site(Stated *stated)
{
    add_node(stated, "mx1");
    add_user_domain(stated, "staff", "mx1");
    add_instance(stated, "main", "mx1");
}

static void two_nodes(Stated *stated)
{
    site(stated);
    add_node(stated, "mx2");
}

static void two_instances(Stated *stated)
{
    site(stated);
    add_instance(stated, "more", "mx1");
}

static void the_same_twice(Stated *stated)
{
    site(stated);
    add_user_domain(stated, "staff", "mx2");
}

static void no_user_domain(Stated *stated)
{
    add_node(stated, "mx1");
    add_instance(stated, "main", "mx1");
}

static void a_table_kind(Stated *stated)
{
    site(stated);
    add(stated, MAIL__OBJECT__BODY_DOMAIN, "main", "example.org");
}

static void an_invalid_object(Stated *stated)
{
    site(stated);
    add_user_domain(stated, "Not A Name", "mx1");
}

static void late_warning(Stated *stated)
{
    site(stated);
    Mail__Settings *settings = add(stated, MAIL__OBJECT__BODY_SETTINGS, "main", NULL)->settings;
    settings->has_queue_lifetime = settings->has_delay_warning = true;
    settings->queue_lifetime = settings->delay_warning = 7200;
}

static void flag_above_deny(Stated *stated)
{
    site(stated);
    Mail__Filter *filter = add(stated, MAIL__OBJECT__BODY_FILTER, "main", NULL)->filter;
    filter->has_deny = true;
    filter->deny = 550;
}

static void key_alone(Stated *stated)
{
    site(stated);
    set(&add(stated, MAIL__OBJECT__BODY_TLS, "main", NULL)->tls->follow_key, "/etc/ssl/private/mx1.pem");
}

static void certificate_alone(Stated *stated)
{
    site(stated);
    set(&add(stated, MAIL__OBJECT__BODY_TLS, "main", NULL)->tls->follow_certificate, "/etc/ssl/mx1.pem");
}

static void test_refused(void **state)
{
    static const struct {
        void (*make)(Stated *stated);
        const char *words;
    } cases[] = {
        {two_nodes, "nodes mx1 and mx2: this is one machine"},
        {two_instances, "instances main and more: a node runs one"},
        {the_same_twice, "user-domain staff is stated twice"},
        {no_user_domain, "instance main: user-domain staff is not stated"},
        {a_table_kind, "domain example.org is no configuration"},
        {an_invalid_object, "user-domain Not A Name"},
        {late_warning, "settings of main: delay-warning '2h': must be less than queue-lifetime"},
        {flag_above_deny, "filter of main: spam-flag '6': must be less than deny, which is 5.5"},
        {key_alone, "tls of main: follow-certificate is missing"},
        {certificate_alone, "tls of main: follow-key is missing"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Stated stated = {0};
        DEFER(node_state_free) NodeState *node = NULL;
        cases[i].make(&stated);
        fails(read_state(&stated, "", &node), ERROR_INVALID, cases[i].words);
        assert_null(node);
    }
}

static void test_not_canonical(void **state)
{
    ProtobufCBinaryData bytes = {2, (uint8_t *)"\xff\xff"};
    DEFER(node_state_free) NodeState *node = NULL;
    (void)state;

    Error *err = node_state_read(&bytes, 1, "", &node);
    assert_non_null(err);
    assert_null(node);
    error_free(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_there),
        cmocka_unit_test(test_what_is_stated_counts),
        cmocka_unit_test(test_nothing_placed_here),
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_not_canonical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

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

/* ---- a state that is a list ---------------------------------------------------------- */

enum { ROOM = 32 };

typedef struct State {
    Object *objects[ROOM];
    size_t n;
    size_t n_seen; /* objects that 'each' was shown */
} State;

static bool is(const Object *object, Kind kind, const char *instance, const char *name)
{
    ObjectRef ref = object_ref(object);

    return ref.kind == kind && (!instance || strcmp(ref.instance, instance) == 0) &&
           (!name || strcmp(ref.name, name) == 0);
}

static Error *get(void *self, const ObjectRef *ref, Object **ret_object)
{
    State *all = self;

    *ret_object = NULL;
    for (size_t i = 0; i < all->n; i++)
        if (is(all->objects[i], ref->kind, ref->instance ? ref->instance : "", ref->name ? ref->name : ""))
            *ret_object = object_clone(all->objects[i]);
    return NULL;
}

static Error *each_of(void *self, Kind kind, const char *instance, const char *name,
                      Error *(*each)(void *context, const Object *object), void *context)
{
    State *all = self;
    Error *err = NULL;

    for (size_t i = 0; !err && i < all->n; i++)
        if (is(all->objects[i], kind, instance, name)) {
            all->n_seen++;
            err = each(context, all->objects[i]);
        }
    return err;
}

static StateView view_of(State *all)
{
    return (StateView){all, get, each_of};
}

static void forget(State *all)
{
    for (size_t i = 0; i < all->n; i++)
        object_free(&all->objects[i]);
    all->n = 0;
}

static Object *stated(Kind kind, const char *instance, const char *name, const char *fields)
{
    Object *object = object_new(kind, instance, name);
    DEFER(xfree) char *copy = xstrdup(fields);
    char *rest = copy, *one;

    while ((one = strsep(&rest, ";")) && *one) {
        Mail__FieldEdit edit = MAIL__FIELD_EDIT__INIT;
        if (strcmp(one, "dormant") == 0) {
            object->address->has_dormant = object->address->dormant = true;
            continue;
        }
        edit.field = strsep(&one, "=");
        edit.value = one;
        DEFER(error_free) Error *err = object_edit(object, &edit);
        if (err)
            fail_msg("%s", err->what);
    }
    DEFER(error_free) Error *err = object_validate(object);
    if (err)
        fail_msg("%s", err->what);
    return object;
}

/* Two nodes, two instances (the second placed nowhere), a domain each, one address elsewhere. */
static void site(State *all)
{
    Object *objects[] = {
        stated(MAIL__OBJECT__BODY_NODE, NULL, "mx1", ""),
        stated(MAIL__OBJECT__BODY_NODE, NULL, "mx2", ""),
        stated(MAIL__OBJECT__BODY_NODE, NULL, "mx3", ""),
        stated(MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff", "kind=internal;node=mx1;replicas=mx2;listen=192.0.2.1"),
        stated(MAIL__OBJECT__BODY_INSTANCE, NULL, "main", "node=mx1;hostname=mx1.example.org;user-domain=staff"),
        stated(MAIL__OBJECT__BODY_INSTANCE, NULL, "second", "hostname=mx2.example.net;user-domain=staff"),
        stated(MAIL__OBJECT__BODY_ADMIN, NULL, "help", "role=viewer;uid=7;instances=second"),
        stated(MAIL__OBJECT__BODY_DOMAIN, "main", "example.org", ""),
        stated(MAIL__OBJECT__BODY_DOMAIN, "second", "example.net", ""),
        stated(MAIL__OBJECT__BODY_ADDRESS, "main", "x@example.org", "to=alice,y@far.example.com"),
    };

    for (size_t i = 0; i < sizeof objects / sizeof(Object *); i++)
        all->objects[all->n++] = objects[i];
}

/* ---- put ------------------------------------------------------------------------------ */

#define MAIN "hostname=a.example.org;user-domain=staff"

/* In the order in which a row is read. */
/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
static const struct {
    Kind kind;
    const char *instance, *name, *fields;
    ErrorCode code; /* 0: stored */
    const char *what, *hint;
} puts_[] = {

    {MAIL__OBJECT__BODY_NODE, NULL, "mx9", "", 0, NULL, NULL},
    {MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff", "kind=internal;node=mx2", 0, NULL, NULL},
    {MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "guests", "kind=internal;node=nx1", ERROR_NOT_FOUND,
     "user-domain guests: node nx1 does not exist", "did you mean mx1?"},
    {MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "guests", "kind=internal;node=mx1;replicas=mx2,wonderland;listen=::1",
     ERROR_NOT_FOUND, "user-domain guests: node wonderland does not exist", NULL},
    {MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "guests", "kind=internal;node=mx1;replicas=mx3;listen=::1", ERROR_CONFLICT,
     "user-domain guests: node mx1 provides user-domain staff to replicas already: a node provides one", NULL},
    {MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "guests", "kind=internal;node=mx2;replicas=mx1;listen=::1", 0, NULL, NULL},
    {MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff", "kind=internal;node=mx1;replicas=mx3;listen=::1", 0, NULL, NULL},

    {MAIL__OBJECT__BODY_INSTANCE, NULL, "main", "node=mx1;" MAIN, 0, NULL, NULL},
    {MAIL__OBJECT__BODY_INSTANCE, NULL, "main", "node=mx2;" MAIN, 0, NULL, NULL},
    {MAIL__OBJECT__BODY_INSTANCE, NULL, "third", MAIN, 0, NULL, NULL},
    {MAIL__OBJECT__BODY_INSTANCE, NULL, "second", "node=mx1;" MAIN, ERROR_CONFLICT,
     "instance second: node mx1 has instance main already: a node runs one", NULL},
    {MAIL__OBJECT__BODY_INSTANCE, NULL, "third", "hostname=a.example.org;user-domain=stafff", ERROR_NOT_FOUND,
     "instance third: user-domain stafff does not exist", "did you mean staff?"},

    {MAIL__OBJECT__BODY_ADMIN, NULL, "team", "role=viewer;uid=8;instances=main,secnod", ERROR_NOT_FOUND,
     "admin team: instance secnod does not exist", "did you mean second?"},

    {MAIL__OBJECT__BODY_DOMAIN, "main", "example.org", "user-addresses=no", 0, NULL, NULL},
    {MAIL__OBJECT__BODY_DOMAIN, "main", "new.example.org", "", 0, NULL, NULL},
    {MAIL__OBJECT__BODY_DOMAIN, "second", "example.org", "", ERROR_EXISTS,
     "domain example.org: exists in instance main: a domain lies in one", NULL},
    {MAIL__OBJECT__BODY_DOMAIN, "nowhere", "new.example.org", "", ERROR_NOT_FOUND,
     "domain new.example.org: instance nowhere does not exist", NULL},
    {MAIL__OBJECT__BODY_DOMAIN, "main", "far.example.com", "", ERROR_CONFLICT,
     "domain far.example.com: address x@example.org delivers to y@far.example.com, which would be taken over",
     "mailctl address set x@example.org to-=y@far.example.com"},
    {MAIL__OBJECT__BODY_DOMAIN, "second", "far.example.com", "", 0, NULL,
     NULL}, /* F-081: other instances are outside */

    {MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org", "to=alice", 0, NULL, NULL},
    {MAIL__OBJECT__BODY_ADDRESS, "main", "info@*", "to=alice", 0, NULL, NULL},
    {MAIL__OBJECT__BODY_ADDRESS, "main", "info@gone.example.org", "to=alice;dormant", 0, NULL, NULL},
    {MAIL__OBJECT__BODY_ADDRESS, "main", "info@exmaple.org", "to=alice", ERROR_NOT_FOUND,
     "address info@exmaple.org: domain exmaple.org does not exist", "did you mean example.org?"},
    {MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.net", "to=alice", ERROR_NOT_FOUND,
     "address info@example.net: domain example.net lies in instance second", NULL},
    {MAIL__OBJECT__BODY_ADDRESS, "nowhere", "info@*", "to=alice", ERROR_NOT_FOUND,
     "address info@* of nowhere: instance nowhere does not exist", NULL},
    {MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org", "to=alice,y@example.org", ERROR_INVALID,
     "address info@example.org: to 'y@example.org': example.org is a domain of this instance",
     "write user:NAME, group:NAME or public:NAME"},
    {MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org", "to=y@example.net", 0, NULL, NULL},
    {MAIL__OBJECT__BODY_ADDRESS, "main", "info@*", "to=y@example.org", ERROR_INVALID,
     "address info@* of main: to 'y@example.org': example.org is a domain of this instance",
     "write user:NAME, group:NAME or public:NAME"},

    {MAIL__OBJECT__BODY_MAILBOX, "main", "alice", "forward=bob@example.org", 0, NULL, NULL},
    {MAIL__OBJECT__BODY_MAILBOX, "mian", "alice", "quota=1G", ERROR_NOT_FOUND,
     "mailbox alice of mian: instance mian does not exist", "did you mean main?"},
    {MAIL__OBJECT__BODY_POLICY, "main", NULL, "default-quota=5G", 0, NULL, NULL},
    {MAIL__OBJECT__BODY_POLICY, "nowhere", NULL, "", ERROR_NOT_FOUND,
     "policy of nowhere: instance nowhere does not exist", NULL},
};

static void check_error(size_t row, const Error *err, ErrorCode code, const char *what, const char *hint)
{
    const char *said = err ? err->what : "nothing", *hinted = err && err->hint ? err->hint : "";

    if (!err != !code ||
        (err && (err->code != code || strcmp(said, what) != 0 || strcmp(hinted, hint ? hint : "") != 0)))
        fail_msg("row %zu: %s (hint: %s), wanted %s (hint: %s)", row, said, hinted, what ? what : "nothing",
                 hint ? hint : "");
}

static void put(void **state)
{
    State all = {0};
    StateView view = view_of(&all);

    (void)state;
    site(&all);
    for (size_t i = 0; i < sizeof puts_ / sizeof *puts_; i++) {
        DEFER(object_free) Object *object = stated(puts_[i].kind, puts_[i].instance, puts_[i].name, puts_[i].fields);
        DEFER(error_free) Error *err = object_check_put(object, &view);
        check_error(i, err, puts_[i].code, puts_[i].what, puts_[i].hint);
    }
    forget(&all);
}

/* There is one kind of user domain today: the older one is made to be of another. */
static void fixed_fields_stay(void **state)
{
    State all = {0};
    StateView view = view_of(&all);
    DEFER(object_free) Object *object = stated(MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff", "kind=internal;node=mx1");

    (void)state;
    site(&all);
    all.objects[3]->user_domain->kind = (Mail__UserDomainKind)1;
    DEFER(error_free) Error *err = object_check_put(object, &view);
    check_error(0, err, ERROR_INVALID, "user-domain staff: kind 'internal': never changes, it is 1", NULL);
    forget(&all);
}

/* The cost of an address is look-ups by name; so is that of a domain that is there already. */
static void cost_follows_the_change(void **state)
{
    State all = {0};
    StateView view = view_of(&all);
    DEFER(object_free)
    Object *address =
        stated(MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org", "to=alice,a@b.example,c@d.example");
    DEFER(object_free) Object *domain = stated(MAIL__OBJECT__BODY_DOMAIN, "main", "example.org", "");

    (void)state;
    site(&all);
    assert_null(object_check_put(address, &view));
    assert_int_equal(all.n_seen, 0);
    assert_null(object_check_put(domain, &view));
    assert_int_equal(all.n_seen, 1); /* itself */
    forget(&all);
}

/* ---- remove --------------------------------------------------------------------------- */

static void removed(void **state)
{
    static const struct {
        ObjectRef ref;
        const char *what; /* NULL: nobody names it */
    } rows[] = {
        {{MAIL__OBJECT__BODY_NODE, NULL, "mx1"}, "node mx1: user-domain staff names it (node)"},
        {{MAIL__OBJECT__BODY_NODE, NULL, "mx2"}, "node mx2: user-domain staff names it (replicas)"},
        {{MAIL__OBJECT__BODY_NODE, NULL, "mx3"}, NULL},
        {{MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff"}, "user-domain staff: instance main names it (user-domain)"},
        {{MAIL__OBJECT__BODY_INSTANCE, NULL, "second"}, "instance second: admin help names it (instances)"},
        {{MAIL__OBJECT__BODY_INSTANCE, NULL, "main"}, NULL},
        {{MAIL__OBJECT__BODY_DOMAIN, "main", "example.org"}, NULL},
        {{MAIL__OBJECT__BODY_ADMIN, NULL, "help"}, NULL},
        {{MAIL__OBJECT__BODY_POLICY, "main", NULL}, NULL},
    };
    State all = {0};
    StateView view = view_of(&all);

    (void)state;
    site(&all);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DEFER(error_free) Error *err = object_check_remove(&rows[i].ref, &view);
        check_error(i, err, rows[i].what ? ERROR_CONFLICT : (ErrorCode)0, rows[i].what, NULL);
    }
    forget(&all);
}

/* ---- eyes that fail ------------------------------------------------------------------- */

static Error *blind_get(void *self, const ObjectRef *ref, Object **ret_object)
{
    (void)self;
    (void)ref;
    (void)ret_object;
    return error_new(ERROR_DAMAGED, "store");
}

static Error *blind_each(void *self, Kind kind, const char *instance, const char *name,
                         Error *(*each)(void *context, const Object *object), void *context)
{
    (void)self;
    (void)kind;
    (void)instance;
    (void)name;
    (void)each;
    (void)context;
    return error_new(ERROR_DAMAGED, "store");
}

static void a_failing_view_is_passed_on(void **state)
{
    StateView view = {NULL, blind_get, blind_each};
    DEFER(object_free) Object *address = stated(MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org", "to=alice");
    DEFER(error_free) Error *put_err = object_check_put(address, &view);
    DEFER(error_free) Error *gone = object_check_remove(&(ObjectRef){MAIL__OBJECT__BODY_NODE, NULL, "mx1"}, &view);

    (void)state;
    assert_int_equal(put_err->code, ERROR_DAMAGED);
    assert_int_equal(gone->code, ERROR_DAMAGED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put),
        cmocka_unit_test(fixed_fields_stay),
        cmocka_unit_test(cost_follows_the_change),
        cmocka_unit_test(removed),
        cmocka_unit_test(a_failing_view_is_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "replication.h"

#include "base/alloc.h"
#include "base/path.h"

#include "expect.h"

#include <stdio.h>
#include <sys/stat.h>

enum { GROUP = 2 }; /* slapd's, so to speak */

static char root[32], pairs[48];

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/replication.XXXXXX");
    if (!mkdtemp(root))
        return -1;
    snprintf(pairs, sizeof pairs, "%s/pairs", root);
    return mkdir(pairs, 0700) == 0 && chown(pairs, (uid_t)-1, GROUP) == 0 && chmod(pairs, 02750) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return folder_remove(root);
}

/* ---- what node.db wants ---- */

typedef struct Stated {
    const char *name, *node, *replica; /* replica NULL: none */
    uint64_t number;                   /* of its pair; 0: none */
    const char *pair;                  /* NULL: it is not here */
} Stated;

static Object *object_of(const Stated *stated)
{
    Object *object = object_new(MAIL__OBJECT__BODY_USER_DOMAIN, NULL, stated->name);
    Mail__UserDomain *domain = object->user_domain;

    domain->has_kind = true;
    domain->kind = MAIL__USER_DOMAIN_KIND__INTERNAL;
    domain->node = xstrdup(stated->node);
    if (stated->replica) {
        domain->replicas = xcalloc(1, sizeof *domain->replicas);
        domain->replicas[domain->n_replicas++] = xstrdup(stated->replica);
    }
    domain->has_replication = stated->number != 0;
    domain->replication = stated->number;
    return object;
}

/* One user domain more in a part of a delta. */
static void add(const Stated *stated, Buf *bytes, Digest *sum, Mail__Delta *delta)
{
    DEFER(object_free) Object *object = object_of(stated);

    object_pack(object, bytes);
    Digest one = digest_of(bytes->data, bytes->size);
    digest_add(sum, &one);
    delta->objects[delta->n_objects++] = (ProtobufCBinaryData){bytes->size, bytes->data};
    if (stated->pair)
        *delta->secrets[delta->n_secrets++] = (Mail__SecretValue){
            .base = PROTOBUF_C_MESSAGE_INIT(&mail__secret_value__descriptor),
            .has_id = true,
            .id = stated->number,
            .has_value = true,
            .value = {strlen(stated->pair), (uint8_t *)(uintptr_t)stated->pair},
        };
}

/* The node.db of a node that was told these two. */
static Journal *told(const Stated *a, const Stated *b)
{
    DEFER(buf_done) Buf of_a = {0};
    DEFER(buf_done) Buf of_b = {0};
    Journal *journal = NULL;
    Path path = path_in(root, "node.db");
    Mail__Delta delta = MAIL__DELTA__INIT;
    ProtobufCBinaryData objects[2];
    Mail__SecretValue values[2], *secrets[2] = {&values[0], &values[1]};
    Digest sum = {{0}}, chain = digest_of("chain", 5);

    unlink(path.text);
    ok(journal_open(path.text, &journal));
    delta.objects = objects;
    delta.secrets = secrets;
    add(a, &of_a, &sum, &delta);
    if (b)
        add(b, &of_b, &sum, &delta);
    delta.has_from_revision = delta.has_to_revision = delta.has_to_chain = delta.has_to_digest = true;
    delta.to_revision = 1;
    delta.to_chain = (ProtobufCBinaryData){DIGEST_SIZE, chain.octets};
    delta.to_digest = (ProtobufCBinaryData){DIGEST_SIZE, sum.octets};
    ok(journal_delta_begin(journal, &delta, 0));
    ok(journal_delta_part(journal, &delta));
    ok(journal_delta_end(journal));
    return journal;
}

/* ---- what came of it ---- */

static void written(Journal *journal, const char *node, size_t wanted)
{
    size_t n = 99;

    ok(replication_write(pairs, journal, node, &n));
    assert_int_equal(n, wanted);
}

static char *at(const char *name)
{
    return xasprintf("%s/%s", pairs, name);
}

/* text NULL: no such file. */
static void holds(const char *name, const char *text)
{
    DEFER(xfree) char *path = at(name);
    DEFER(buf_done) Buf there = {0};
    struct stat st;

    if (!text) {
        assert_int_equal(lstat(path, &st), -1);
        return;
    }
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(st.st_gid, GROUP);
    ok(file_read(path, 100, &there));
    assert_string_equal(buf_text(&there), text);
}

static const Stated staff = {"staff", "mx1", "mx2", 7, "pair 7"}, newer = {"staff", "mx1", "mx2", 9, "pair 9"},
                    guests = {"guests", "mx3", NULL, 0, NULL};

/* SPEC F-179: whoever has the pair is believed, so it goes to these two alone. */
static void holder_and_replica_have_the_pair(void **state)
{
    DEFER(journal_free) Journal *journal = told(&staff, &guests);

    (void)state;
    written(journal, "mx3", 0);
    holds("staff-7.pem", NULL);
    written(journal, "mx1", 1);
    holds("staff-7.pem", "pair 7");
    written(journal, "mx1", 0);
    DEFER(xfree) char *path = at("staff-7.pem");
    assert_int_equal(unlink(path), 0);
    written(journal, "mx2", 1);
    holds("staff-7.pem", "pair 7");
}

/* What is not as it was written is written again, and a link leads nobody astray. */
static void what_was_changed_is_mended(void **state)
{
    DEFER(journal_free) Journal *journal = told(&staff, NULL);
    DEFER(xfree) char *path = at("staff-7.pem");
    Path other = path_in(root, "other");
    DEFER(buf_done) Buf there = {0};

    (void)state;
    written(journal, "mx1", 1);
    assert_int_equal(chmod(path, 0644), 0);
    written(journal, "mx1", 1);
    holds("staff-7.pem", "pair 7");
    assert_int_equal(chown(path, (uid_t)-1, GROUP + 1), 0);
    written(journal, "mx1", 1);
    holds("staff-7.pem", "pair 7");
    ok(file_write(path, "pair 8", 6, 0640, (gid_t)-1));
    written(journal, "mx1", 1);
    holds("staff-7.pem", "pair 7");
    ok(file_write(other.text, "pair 7", 6, 0640, GROUP));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(other.text, path), 0);
    written(journal, "mx1", 1);
    holds("staff-7.pem", "pair 7");
    ok(file_read(other.text, 100, &there));
    assert_string_equal(buf_text(&there), "pair 7");
}

/* The configuration that goes and the one that comes name one each; which is which the sweep is told by node.db. */
static void old_and_new_stand_side_by_side(void **state)
{
    Journal *journal = told(&staff, NULL);

    (void)state;
    written(journal, "mx2", 1);
    journal_free(&journal);
    journal = told(&newer, NULL);
    written(journal, "mx2", 1);
    holds("staff-7.pem", "pair 7");
    holds("staff-9.pem", "pair 9");
    ok(replication_sweep(pairs, journal, "mx2"));
    holds("staff-7.pem", NULL);
    holds("staff-9.pem", "pair 9");
    ok(replication_sweep(pairs, journal, "mx3")); /* no node of it any more */
    holds("staff-9.pem", NULL);
    journal_free(&journal);
}

static void what_is_not_here_is_not_written(void **state)
{
    static const Stated erased = {"staff", "mx1", "mx2", 7, NULL};
    DEFER(journal_free) Journal *journal = told(&erased, NULL);
    Path none = path_in(root, "none");
    size_t n = 99;

    (void)state;
    written(journal, "mx1", 0);
    holds("staff-7.pem", NULL);
    ok(replication_sweep(none.text, journal, "mx1"));
    journal_free(&journal);
    journal = told(&staff, NULL);
    fails(replication_write(none.text, journal, "mx1", &n), ERROR_SYSTEM, "certificates of replicas");
    assert_int_equal(n, 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(holder_and_replica_have_the_pair, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_changed_is_mended, setup, teardown),
        cmocka_unit_test_setup_teardown(old_and_new_stand_side_by_side, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_here_is_not_written, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

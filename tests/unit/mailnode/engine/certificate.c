#include "engine/certificate.h"

#include "engine/pair.h"
#include "expect.h"
#include "pems.h"

#include <grp.h>
#include <sys/stat.h>

typedef struct Scene {
    char root[32];
    Mail__Instance instance;
    Mail__Tls tls;
    NodeState state;
    Path certificate, key; /* followed */
} Scene;

static Scene *scene(void **state)
{
    return *state;
}

static int begin(void **state)
{
    Scene *new = xcalloc(1, sizeof *new);

    snprintf(new->root, sizeof new->root, "/tmp/cert-XXXXXX");
    assert_non_null(mkdtemp(new->root));
    mail__instance__init(&new->instance);
    mail__tls__init(&new->tls);
    new->instance.hostname = (char *)"mail.example.org";
    new->state = (NodeState){.root = new->root, .node = "mx1", .instance = &new->instance, .tls = &new->tls};
    new->certificate = path_in(new->root, "etc/mailnode/tls/mail.pem");
    new->key = path_in(new->root, "etc/mailnode/tls/mail.key");
    ok(folder_make(path_in(new->root, "etc/mailnode/tls").text, 0755, 0, 0));
    ok(folder_make(path_in(new->root, "var/lib/mailnode/engine").text, 0711, 0, 0));
    *state = new;
    return 0;
}

static int end(void **state)
{
    Scene *old = scene(state);

    folder_remove(old->root);
    free(old);
    return 0;
}

static void follow(Scene *on, const char *name, int from_days, int to_days)
{
    DEFER(buf_done) Buf certificate = {0}, key = {0};
    Pem pem = pem_make(name, NULL, NULL, false, from_days, to_days);

    pem_certificate(&pem, &certificate);
    pem_key(&pem, NULL, &key);
    ok(file_write(on->certificate.text, certificate.data, certificate.size, 0644, (gid_t)-1));
    ok(file_write(on->key.text, key.data, key.size, 0600, (gid_t)-1));
    on->tls.follow_certificate = on->certificate.text;
    on->tls.follow_key = on->key.text;
    pem_free(&pem);
}

static mode_t mode_of(const Path *folder, const char *name)
{
    struct stat st;
    DEFER(xfree) char *path = xasprintf("%s/%s", folder->text, name);

    return stat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

static void test_self_signed(void **state)
{
    Scene *on = scene(state);
    Path first, again, other;
    int64_t left = 0;
    char issuer[128];

    ok(certificate_take(&on->state, &first));
    assert_int_equal(mode_of(&first, "."), 0711);
    assert_int_equal(mode_of(&first, "key.pem"), 0600);
    assert_int_equal(mode_of(&first, "chain.pem"), 0600);
    assert_int_equal(mode_of(&first, "cert.pem"), 0600);
    assert_int_equal(mode_of(&first, "ldap-key.pem"), 0);
    ok(certificate_take(&on->state, &again));
    assert_string_equal(first.text, again.text);
    assert_false(certificate_due(&on->state, first.text));
    ok(certificate_ends(first.text, &left, issuer));
    assert_true(left > 824 * (int64_t)DAY && left <= 825 * (int64_t)DAY);
    assert_string_equal(issuer, "self-signed");

    on->instance.hostname = (char *)"other.example.org";
    assert_true(certificate_due(&on->state, first.text));
    ok(certificate_take(&on->state, &other));
    assert_string_not_equal(first.text, other.text);

    on->instance.hostname = (char *)"mail.example.org";
    ok(certificate_take(&on->state, &again));
    assert_string_equal(first.text, again.text);
}

/* In its last 30 days it is made anew; half of a pair is none. */
static void test_self_signed_renewed(void **state)
{
    Scene *on = scene(state);
    DEFER(pair_done) Pair pair = {0};
    Path kept = path_in(on->root, "var/lib/mailnode/engine/tls/self/mail.example.org/cert.pem");
    Path key = path_in(on->root, "var/lib/mailnode/engine/tls/self/mail.example.org/key.pem");
    Path first, second, third;

    ok(certificate_take(&on->state, &first));
    ok(pair_make("mail.example.org", time(NULL) - 60, time(NULL) + 29 * DAY, &pair));
    ok(file_write(kept.text, pair.certificates.data, pair.certificates.size, 0600, (gid_t)-1));
    ok(file_write(key.text, pair.key.data, pair.key.size, 0600, (gid_t)-1));
    assert_true(certificate_due(&on->state, first.text));
    ok(certificate_take(&on->state, &second));
    assert_string_not_equal(first.text, second.text);
    assert_false(certificate_due(&on->state, second.text));

    ok(file_write(key.text, "torn", 4, 0600, (gid_t)-1));
    assert_true(certificate_due(&on->state, second.text));
    ok(certificate_take(&on->state, &third));
    assert_string_not_equal(second.text, third.text);
}

static void test_followed(void **state)
{
    Scene *on = scene(state);
    Path first, second;

    follow(on, "mail.example.org", -1, 80);
    ok(certificate_take(&on->state, &first));
    assert_false(certificate_due(&on->state, first.text));
    follow(on, "mail.example.org", -1, 90);
    assert_true(certificate_due(&on->state, first.text));
    ok(certificate_take(&on->state, &second));
    assert_string_not_equal(first.text, second.text);
    assert_int_equal(access(first.text, F_OK), 0); /* daemons still serve it */
}

/* What is written is put right when it is not as it was. */
static void test_mended(void **state)
{
    Scene *on = scene(state);
    Path folder;

    ok(certificate_take(&on->state, &folder));
    DEFER(xfree) char *chain = xasprintf("%s/chain.pem", folder.text), *key = xasprintf("%s/key.pem", folder.text);
    ok(file_write(chain, "", 0, 0644, (gid_t)-1));
    assert_int_equal(unlink(key), 0);
    ok(certificate_take(&on->state, &folder));
    assert_int_equal(mode_of(&folder, "key.pem"), 0600);
    assert_int_equal(mode_of(&folder, "chain.pem"), 0600);
    struct stat st;
    assert_int_equal(stat(chain, &st), 0);
    assert_true(st.st_size > 500);
}

static void test_refused(void **state)
{
    Scene *on = scene(state);
    Path folder;

    follow(on, "mail.example.org", -20, -10);
    fails(certificate_take(&on->state, &folder), ERROR_INVALID, "tls: certificate 'mail.example.org' ended at ");
    assert_true(certificate_due(&on->state, "/x"));
    follow(on, "mail.example.org", -1, 80);
    on->tls.follow_key = NULL;
    fails(certificate_take(&on->state, &folder), ERROR_INVALID,
          "tls: follow-certificate and follow-key are set together");
    on->tls.follow_key = (char *)"/etc/ssl/none.key";
    fails(certificate_take(&on->state, &folder), ERROR_NOT_FOUND, "tls: /etc/ssl/none.key: no such file");
    on->tls.follow_key = (char *)"/etc/ssl/certs";
    fails(certificate_take(&on->state, &folder), ERROR_INVALID, "tls: /etc/ssl/certs: not a regular file");
}

/* Outside of the folders nothing is read, whatever name leads there; root may name one more. */
static void test_folders(void **state)
{
    Scene *on = scene(state);
    Path folder, outside = path_in(on->root, "outside"), named = path_in(on->root, "etc/mailnode/tls-folders");
    Path moved = path_in(on->root, "outside/mail.key"), pipe = path_in(on->root, "etc/mailnode/tls/pipe");

    follow(on, "mail.example.org", -1, 80);
    ok(folder_make(outside.text, 0755, 0, 0));
    assert_int_equal(rename(on->key.text, moved.text), 0);
    on->tls.follow_key = moved.text;
    fails(certificate_take(&on->state, &folder), ERROR_DENIED, "mail.key: lies outside the folders");
    assert_int_equal(symlink(moved.text, on->key.text), 0);
    on->tls.follow_key = on->key.text;
    fails(certificate_take(&on->state, &folder), ERROR_DENIED, "mail.key: lies outside the folders");
    DEFER(xfree) char *around = xasprintf("%s/etc/mailnode/tls/../../../outside/mail.key", on->root);
    on->tls.follow_key = around;
    fails(certificate_take(&on->state, &folder), ERROR_DENIED, "mail.key: lies outside the folders");
    on->tls.follow_key = (char *)"/proc/self/environ";
    fails(certificate_take(&on->state, &folder), ERROR_DENIED, "/proc/self/environ: lies outside the folders");

    ok(folder_make(path_in(on->root, "etc/mailnode/node").text, 0755, 0, 0));
    DEFER(xfree) char *line = xasprintf("relative\n%s\n", outside.text);
    ok(file_write(named.text, line, strlen(line), 0644, (gid_t)-1));
    on->tls.follow_key = on->key.text;
    ok(certificate_take(&on->state, &folder));

    assert_int_equal(mkfifo(pipe.text, 0600), 0);
    on->tls.follow_key = pipe.text;
    fails(certificate_take(&on->state, &folder), ERROR_INVALID, "pipe: not a regular file");
}

static void test_slapd(void **state)
{
    Scene *on = scene(state);
    Path folder;
    struct stat st;

    if (!getgrnam("openldap"))
        skip();
    on->state.instance = NULL;
    ok(certificate_take(&on->state, &folder));
    assert_string_equal(folder.text, ""); /* nobody shows one */
    on->state.n_directories = 1;
    ok(certificate_take(&on->state, &folder));
    DEFER(xfree) char *key = xasprintf("%s/ldap-key.pem", folder.text);
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(st.st_gid, getgrnam("openldap")->gr_gid);
}

static void test_sweep(void **state)
{
    Scene *on = scene(state);
    Path old, used, kept = path_in(on->root, "var/lib/mailnode/engine/tls/self/mail.example.org/key.pem");

    ok(certificate_take(&on->state, &old));
    follow(on, "mail.example.org", -1, 80);
    ok(certificate_take(&on->state, &used));
    certificates_sweep(on->root, (const char *const[]){used.text}, 1);
    assert_int_equal(access(old.text, F_OK), -1);
    assert_int_equal(access(used.text, F_OK), 0);
    assert_int_equal(access(kept.text, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_self_signed, begin, end),
        cmocka_unit_test_setup_teardown(test_self_signed_renewed, begin, end),
        cmocka_unit_test_setup_teardown(test_followed, begin, end),
        cmocka_unit_test_setup_teardown(test_mended, begin, end),
        cmocka_unit_test_setup_teardown(test_refused, begin, end),
        cmocka_unit_test_setup_teardown(test_folders, begin, end),
        cmocka_unit_test_setup_teardown(test_slapd, begin, end),
        cmocka_unit_test_setup_teardown(test_sweep, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

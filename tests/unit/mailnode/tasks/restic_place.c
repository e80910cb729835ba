/* Addresses and logins as an admin writes them, and as an attacker would like restic and ssh to read them. */
#include "tasks/restic_place.h"

#include "base/path.h"
#include "expect.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

static char root[] = "/tmp/place-XXXXXX";

static int make(void **state)
{
    (void)state;
    if (!mkdtemp(root))
        return -1;
    DEFER(xfree) char *backup = xasprintf("%s/var/lib/mailnode/backup", root);
    DEFER(xfree) char *node = xasprintf("%s/etc/mailnode/node", root);
    DEFER(xfree) char *other = xasprintf("%s/other/vault", root);
    DEFER(xfree) char *link = xasprintf("%s/out", backup);
    ok(folder_make(backup, 0755, (uid_t)-1, (gid_t)-1));
    ok(folder_make(node, 0755, (uid_t)-1, (gid_t)-1));
    ok(folder_make(other, 0755, (uid_t)-1, (gid_t)-1));
    return symlink("/etc", link);
}

static int clean(void **state)
{
    (void)state;
    return folder_remove(root);
}

static Error *place_of(const char *repository, const char *env, ResticPlace *ret)
{
    DEFER(secret_free) Secret *secret = env ? secret_new(env, strlen(env)) : NULL;

    return restic_place_read(root, repository, "main", secret, ret);
}

static void shown(const char *repository, const char *wanted)
{
    DEFER(restic_place_done) ResticPlace place = {0};

    ok(place_of(repository, NULL, &place));
    assert_string_equal(place.shown, wanted);
    assert_string_equal(secret_text(place.repository), wanted);
}

static void refused(const char *repository, ErrorCode code, const char *words)
{
    ResticPlace place = {0};

    fails(place_of(repository, NULL, &place), code, words);
}

static void test_each_instance_has_its_own(void **state)
{
    (void)state;
    shown("rest:https://nas.example.org/mail/", "rest:https://nas.example.org/mail/main/");
    shown("rest:http://[::1]:8000", "rest:http://[::1]:8000/main/");
    shown("s3:s3.example.org/bucket", "s3:s3.example.org/bucket/main");
    shown("s3:http://127.0.0.1:9000/bucket/mail/", "s3:http://127.0.0.1:9000/bucket/mail/main");
    shown("b2:bucket:", "b2:bucket:/main");
    shown("b2:bucket:mail", "b2:bucket:mail/main");
    shown("azure:box:/", "azure:box:/main");
    shown("gs:box:/mail", "gs:box:/mail/main");
    shown("swift:box:/mail//", "swift:box:/mail/main");
    shown("sftp:bk@nas:/srv/mail", "sftp:bk@nas:/srv/mail/main");
    shown("sftp://nas//srv", "sftp://nas//srv/main");
}

static void test_ssh_parts(void **state)
{
    DEFER(restic_place_done) ResticPlace place = {0}, other = {0};
    (void)state;

    ok(place_of("sftp://bk@[::1]:2222//srv", NULL, &place));
    assert_string_equal(place.ssh_user, "bk");
    assert_string_equal(place.ssh_host, "::1");
    assert_string_equal(place.ssh_port, "2222");
    ok(place_of("sftp:nas.example.org:mail", NULL, &other));
    assert_null(other.ssh_user);
    assert_null(other.ssh_port);
    assert_string_equal(other.ssh_host, "nas.example.org");
}

/* The model's own tests have more of them; these must not come through here, either. */
static void test_hostile_S10(void **state)
{
    static const char *const cases[] = {
        "",
        "/srv",
        "rclone:remote:x",
        "sftp:-oProxyCommand=id:/srv",
        "sftp:bk@-oProxyCommand=id:/srv",
        "sftp:-l@nas:/srv",
        "sftp:b k@nas:/srv",
        "sftp:bk@nas\":/srv",
        "sftp:$(id)@nas:/srv",
        "sftp:nas",
        "sftp:nas:",
        "sftp://nas",
        "sftp://nas:22x/srv",
        "sftp://-h:22/srv",
        "rest:ftp://nas/",
        "rest:nas/",
        "rest:https://",
        "s3:host",
        "s3:-h/b",
        "rest:https://bk:s3cret@nas/",
        "s3:https://AK:s3cret@host/bucket",
        "b2:-b:/p",
        "rest:https://nas/\n",
        "rest:-x",
        "local:relative",
        "local:/srv/../etc",
    };
    ResticPlace place = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error *err = place_of(cases[i], NULL, &place);
        if (!err)
            fail_msg("'%s' was taken", cases[i]);
        assert_null(strstr(err->what, "s3cret"));
        fails(err, ERROR_INVALID, "repository: ");
    }
}

static void test_local_folders(void **state)
{
    DEFER(xfree) char *inside = xasprintf("local:%s/var/lib/mailnode/backup/vault", root);
    DEFER(xfree) char *inside_main = xasprintf("%s/main", inside);
    DEFER(xfree) char *beside = xasprintf("local:%s/var/lib/mailnode/backup-not", root);
    DEFER(xfree) char *link = xasprintf("local:%s/var/lib/mailnode/backup/out", root);
    DEFER(xfree) char *other = xasprintf("local:%s/other/vault", root);
    DEFER(xfree) char *other_main = xasprintf("%s/main", other);
    DEFER(xfree) char *list = xasprintf("%s/etc/mailnode/node/backup-folders", root);
    DEFER(xfree) char *line = xasprintf("# not a folder\nother\n%s/nothing\n%s/other\n", root, root);
    (void)state;

    shown(inside, inside_main);
    refused("local:/etc", ERROR_DENIED, "outside the folders for backups");
    refused("local:/root", ERROR_DENIED, "outside the folders for backups");
    refused(beside, ERROR_DENIED, "outside the folders for backups");
    refused(link, ERROR_DENIED, "outside the folders for backups");
    refused(other, ERROR_DENIED, "outside the folders for backups");

    ok(file_write(list, line, strlen(line), 0644, (gid_t)-1));
    shown(other, other_main);
    refused(inside, ERROR_DENIED, "outside the folders for backups");
    refused("local:/etc", ERROR_DENIED, "outside the folders for backups");
    chmod(list, 0666); /* anybody's: then it is no word of root's */
    refused(other, ERROR_DENIED, "outside the folders for backups");
    unlink(list);
}

static void env_refused(const char *repository, const char *env, const char *words)
{
    ResticPlace place = {0};

    Error *err = place_of(repository, env, &place);
    assert_null(err ? strstr(err->what, "s3cret") : NULL);
    fails(err, ERROR_INVALID, words);
}

static void test_names_allowed(void **state)
{
    static const char *const never[] = {
        "RESTIC_PASSWORD_COMMAND=touch /x",
        "PATH=/tmp",
        "LD_PRELOAD=/tmp/x.so",
        "RESTIC_PASSWORD=s3cret",
        "HOME=/",
        "RESTIC_REPOSITORY=/x",
        "AWS_SHARED_CREDENTIALS_FILE=/etc/shadow",
        "AWS_PROFILE=x",
        "GODEBUG=x",
        "=x",
        "SSL_CERT_FILE=/x",
        "HTTPS_PROXY=http://x",
        "AWS_ACCESS_KEY_ID =x",
        " AWS_ACCESS_KEY_ID=x",
        "RESTIC_CACHE_DIR=/x",
    };
    DEFER(restic_place_done) ResticPlace place = {0};

    (void)state;
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        env_refused("s3:host/bucket", never[i], "env: line 1: '");
    env_refused("s3:host/bucket", "AWS_ACCESS_KEY_ID=AK\n\nB2_ACCOUNT_ID=x",
                "line 3: 'B2_ACCOUNT_ID' may not be set for s3:");
    env_refused("s3:host/bucket", "s3cret", "line 1: write NAME=VALUE");
    env_refused("s3:host/bucket", "s3cret word=x", "line 1: '?' may not be set");
    env_refused("sftp:nas:/srv", "AWS_ACCESS_KEY_ID=AK", "may not be set for sftp:");
    env_refused("gs:b:/p", "GOOGLE_APPLICATION_CREDENTIALS=/etc/shadow", "write the account's JSON itself");
    env_refused("rest:https://nas/", "RESTIC_REST_USERNAME=bk", "stand together");
    ok(place_of("s3:host/bucket", "AWS_ACCESS_KEY_ID=AK\r\nAWS_SECRET_ACCESS_KEY=a=b c\n", &place));
    assert_int_equal(place.n_env, 2);
    assert_string_equal(secret_text(place.env[0]), "AWS_ACCESS_KEY_ID=AK");
    assert_string_equal(secret_text(place.env[1]), "AWS_SECRET_ACCESS_KEY=a=b c");
}

static void test_logins(void **state)
{
    DEFER(restic_place_done) ResticPlace place = {0}, google = {0};

    (void)state;
    ok(place_of("rest:https://nas/mail", "RESTIC_REST_PASSWORD=p@s/w:d%\nRESTIC_REST_USERNAME=b k", &place));
    assert_string_equal(place.shown, "rest:https://nas/mail/main/");
    assert_string_equal(secret_text(place.repository), "rest:https://b%20k:p%40s%2Fw%3Ad%25@nas/mail/main/");
    assert_int_equal(place.n_env, 0);
    ok(place_of("gs:b:/p", "GOOGLE_PROJECT_ID=7\nGOOGLE_APPLICATION_CREDENTIALS={\"type\":\"x\"}", &google));
    assert_int_equal(google.n_env, 1);
    assert_string_equal(secret_text(google.google), "{\"type\":\"x\"}");
}

static void test_instance_is_a_name(void **state)
{
    static const char *const cases[] = {"", "..", "a/b", "-a", "a b", "a\n"};
    ResticPlace place = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        fails(restic_place_read(root, "s3:h/b", cases[i], NULL, &place), ERROR_INVALID, "instance: not a name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_instance_has_its_own),
        cmocka_unit_test(test_ssh_parts),
        cmocka_unit_test(test_hostile_S10),
        cmocka_unit_test(test_local_folders),
        cmocka_unit_test(test_names_allowed),
        cmocka_unit_test(test_logins),
        cmocka_unit_test(test_instance_is_a_name),
    };

    return cmocka_run_group_tests(tests, make, clean);
}

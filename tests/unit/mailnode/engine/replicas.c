#include "engine/replicas.h"

#include "base/path.h"
#include "expect.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[32];

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/replicas.XXXXXX");
    return mkdtemp(root) && chmod(root, 0755) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return folder_remove(root);
}

static Path at(const char *where, const char *name)
{
    return path_in(root, "var/lib/mailnode/%s/%s", where, name);
}

static void data_of(const char *name)
{
    const struct passwd *slapd = getpwnam("openldap");
    Path above = path_in(root, "var/lib/mailnode/slapd"), data = at("slapd", name);
    DEFER(xfree) char *file = xasprintf("%s/data.mdb", data.text);

    assert_non_null(slapd);
    ok(folder_make(above.text, 0700, slapd->pw_uid, slapd->pw_gid));
    ok(folder_make(data.text, 0700, slapd->pw_uid, slapd->pw_gid));
    ok(file_write(file, "hashes", 6, 0600, (gid_t)-1));
    assert_int_equal(chown(file, slapd->pw_uid, slapd->pw_gid), 0);
}

static void there(const char *where, const char *name, bool wanted)
{
    if ((access(at(where, name).text, F_OK) == 0) != wanted)
        fail_msg("%s/%s %s", where, name, wanted ? "is missing" : "is there");
}

/* A copy goes when the node has it no more; what the node holds itself never does. */
static void copies_go_and_originals_stay(void **state)
{
    DirectoryState both[] = {{"guests", NULL, true}, {"staff", NULL, true}}, held = {"staff", NULL, false};
    NodeState now = {.root = root, .directories = both, .n_directories = 2};

    (void)state;
    ok(replicas_mark(root, &now));
    ok(replicas_mark(root, &now));
    there("engine/replicas", "staff", true);
    data_of("staff");
    data_of("guests");
    data_of("own");
    replicas_sweep(root, NULL);
    replicas_sweep(root, &now);
    there("slapd", "guests/data.mdb", true);

    now.directories = &held; /* it holds the one now, and has nothing of the other */
    now.n_directories = 1;
    replicas_sweep(root, &now);
    there("slapd", "guests", false);
    there("slapd", "staff/data.mdb", true);
    there("slapd", "own/data.mdb", true);
    there("engine/replicas", "guests", false);
    there("engine/replicas", "staff", false);
    now.n_directories = 0;
    replicas_sweep(root, &now);
    there("slapd", "staff/data.mdb", true);
}

/* slapd's user owns the folder of the copies: what it puts there leads root nowhere. */
static void links_are_not_followed(void **state)
{
    DirectoryState copy = {"staff", NULL, true};
    NodeState now = {.root = root, .directories = &copy, .n_directories = 1};
    Path safe = at("safe", "kept"), folder = path_in(root, "var/lib/mailnode/safe"),
         above = path_in(root, "var/lib/mailnode/slapd");

    (void)state;
    ok(folder_make(folder.text, 0777, (uid_t)-1, (gid_t)-1));
    ok(file_write(safe.text, "x", 1, 0666, (gid_t)-1));
    ok(folder_make(above.text, 0777, (uid_t)-1, (gid_t)-1));
    assert_int_equal(chmod(above.text, 0777), 0);
    assert_int_equal(symlink(folder.text, at("slapd", "staff").text), 0);
    ok(replicas_mark(root, &now));
    now.n_directories = 0;
    replicas_sweep(root, &now);
    there("safe", "kept", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(copies_go_and_originals_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(links_are_not_followed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "usage.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "expect.h"

static char folder[64];
static Usage *usage;
static Msec now;

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/unit-usage-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    usage = usage_new(folder);
    usage_run(usage, now = 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    usage_free(&usage);
    return folder_remove(folder);
}

static char *in_folder(const char *file)
{
    return xasprintf("%s/%s", folder, file);
}

/* As Dovecot does: another file, and then this one's name. */
static void put(const char *file, const char *text)
{
    DEFER(xfree) char *temporary = in_folder(".temp.1.2");
    DEFER(xfree) char *path = in_folder(file);
    FILE *to = fopen(temporary, "w");

    assert_non_null(to);
    fputs(text, to);
    fclose(to);
    assert_int_equal(rename(temporary, path), 0);
}

#define FIGURES(bytes, messages) "priv/quota/storage\n" bytes "\npriv/quota/messages\n" messages "\n"

static void is(const char *name, uint64_t bytes, uint64_t messages)
{
    UsageOf of = {99, 99};

    assert_true(usage_of(usage, name, &of));
    assert_int_equal(of.bytes, bytes);
    assert_int_equal(of.messages, messages);
}

static void what_moved_is_told_once(void **state)
{
    UsageOf of;

    (void)state;
    assert_null(usage_trouble(usage));
    assert_null(usage_moved(usage));
    put("alice.usage", FIGURES("10", "1"));
    put(".b'ob @x.usage", "priv/quota/messages\n7\npriv/quota/storage\n-5\n");
    assert_false(usage_of(usage, "alice", &of)); /* nothing changes between two runs */
    usage_run(usage, ++now);
    is("alice", 10, 1);
    is(".b'ob @x", 0, 7);
    assert_non_null(usage_moved(usage));
    assert_non_null(usage_moved(usage));
    assert_null(usage_moved(usage));
    put("alice.usage", FIGURES("20", "2"));
    put(".b'ob @x.usage", FIGURES("0", "7")); /* the same */
    usage_run(usage, ++now);
    is("alice", 20, 2);
    assert_string_equal(usage_moved(usage), "alice");
    assert_null(usage_moved(usage));
    assert_false(usage_of(usage, "carol", &of));
}

static void what_is_there_already_is_read(void **state)
{
    (void)state;
    put("alice.usage", FIGURES("10", "1"));
    usage_free(&usage);
    usage = usage_new(folder);
    usage_run(usage, ++now);
    is("alice", 10, 1);
}

static void what_is_no_figure_is_passed_over(void **state)
{
    static const char *const texts[] = {
        "",
        "\n",
        "priv/quota/storage\n",
        "priv/quota/storage\n12",
        "priv/quota/storage\n12\n",
        FIGURES("12", ""),
        FIGURES("12", "3x"),
        FIGURES("99999999999999999999", "3"),
        FIGURES("12", "3") "priv/other\n1\n",
    };
    char text[600];
    UsageOf of;

    (void)state;
    put("alice.usage", FIGURES("10", "1"));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put("alice.usage", texts[i]);
        put("bob.usage", texts[i]);
        usage_run(usage, ++now);
    }
    memset(text, '1', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    put("bob.usage", text);
    put("other", FIGURES("1", "1"));
    put(".usage", FIGURES("1", "1"));
    DEFER(xfree) char *link = in_folder("link.usage");
    DEFER(xfree) char *other = in_folder("other");
    assert_int_equal(symlink(other, link), 0);
    usage_run(usage, ++now);
    usage_free(&usage);
    usage = usage_new(folder);
    usage_run(usage, ++now);
    assert_null(usage_trouble(usage));
    for (size_t i = 0; i < 4; i++)
        assert_false(usage_of(usage, ((const char *const[]){"bob", "", "link", "other"})[i], &of));
}

static void another_folder_is_noticed(void **state)
{
    DEFER(xfree) char *away = xasprintf("%s.away", folder);

    (void)state;
    put("alice.usage", FIGURES("10", "1"));
    usage_run(usage, ++now);
    assert_int_equal(rename(folder, away), 0);
    usage_run(usage, ++now);
    assert_non_null(usage_trouble(usage));
    usage_run(usage, now += 10000);
    assert_non_null(usage_trouble(usage));
    assert_int_equal(folder_remove(away), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    put("bob.usage", FIGURES("3", "1"));
    usage_run(usage, now += 10000);
    assert_null(usage_trouble(usage));
    is("alice", 10, 1); /* what was known stays */
    is("bob", 3, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_moved_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_there_already_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_figure_is_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(another_folder_is_noticed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

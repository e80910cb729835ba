#include "render/override.h"

#include "base/path.h"

#include "expect.h"

#include <stdio.h>
#include <sys/stat.h>

typedef struct Site {
    char root[32];
} Site;

static int site_make(void **state)
{
    static Site site;

    strcpy(site.root, "/tmp/override.XXXXXX");
    *state = &site;
    return mkdtemp(site.root) ? 0 : -1;
}

static int site_remove(void **state)
{
    return folder_remove(((Site *)*state)->root);
}

static void put(const Site *site, const char *name, const void *text, size_t size)
{
    Path path = path_in(site->root, "etc/mailnode/override/%s", name);
    char folder[PATH_SIZE];

    snprintf(folder, sizeof folder, "%s", path.text);
    *strrchr(folder, '/') = '\0';
    ok(folder_make(folder, 0755, 0, 0));
    ok(file_write(path.text, text, size, 0644, 0));
}

static void put_text(const Site *site, const char *name, const char *text)
{
    put(site, name, text, strlen(text));
}

static void test_none(void **state)
{
    const Site *site = *state;
    DEFER(overrides_free) Overrides *none = NULL;
    const Digest zero = {{0}};

    ok(overrides_read(site->root, &none));
    assert_false(overrides_any(none));
    assert_false(overrides_any(NULL));
    assert_true(digest_equal(&none->digest, &zero));
}

static void test_by_name(void **state)
{
    const Site *site = *state;
    DEFER(overrides_free) Overrides *a = NULL;
    DEFER(overrides_free) Overrides *b = NULL;

    put_text(site, "postfix.d/20-b.cf", "b = 2\n");
    put_text(site, "postfix.d/10-a.cf", "");
    put_text(site, "postfix.d/.10-a.cf.swp", "x");
    put_text(site, "postfix.d/README", "x");
    put_text(site, "rspamd.d/actions.conf", "reject = 20;");
    put_text(site, "rspamd.d/options.inc", "y");
    ok(overrides_read(site->root, &a));
    assert_true(overrides_any(a));
    assert_int_equal(a->n[OVERRIDE_POSTFIX], 2);
    assert_int_equal(a->n[OVERRIDE_DOVECOT], 0);
    assert_int_equal(a->n[OVERRIDE_RSPAMD], 2);
    assert_string_equal(a->files[OVERRIDE_POSTFIX][0].name, "override/postfix.d/10-a.cf");
    assert_string_equal(a->files[OVERRIDE_POSTFIX][1].file, "20-b.cf");
    assert_string_equal(a->files[OVERRIDE_POSTFIX][1].text, "b = 2\n");

    put_text(site, "postfix.d/20-b.cf", "b = 3\n");
    ok(overrides_read(site->root, &b));
    assert_false(digest_equal(&a->digest, &b->digest));
}

static void make_group_writable(const Site *site)
{
    put_text(site, "dovecot.d/a.conf", "");
    assert_int_equal(chmod(path_in(site->root, "etc/mailnode/override/dovecot.d/a.conf").text, 0664), 0);
}

static void make_foreign(const Site *site)
{
    put_text(site, "dovecot.d/a.conf", "");
    assert_int_equal(chown(path_in(site->root, "etc/mailnode/override/dovecot.d/a.conf").text, 65534, 0), 0);
}

static void make_open_folder(const Site *site)
{
    put_text(site, "dovecot.d/a.conf", "");
    assert_int_equal(chmod(path_in(site->root, "etc/mailnode/override/dovecot.d").text, 0777), 0);
}

static void make_open_all(const Site *site)
{
    put_text(site, "dovecot.d/a.conf", "");
    assert_int_equal(chmod(path_in(site->root, "etc/mailnode/override").text, 0777), 0);
}

static void make_link(const Site *site)
{
    put_text(site, "dovecot.d/a.conf", "");
    assert_int_equal(symlink("a.conf", path_in(site->root, "etc/mailnode/override/dovecot.d/b.conf").text), 0);
}

static void make_pipe(const Site *site)
{
    put_text(site, "dovecot.d/a.conf", "");
    assert_int_equal(mkfifo(path_in(site->root, "etc/mailnode/override/dovecot.d/p.conf").text, 0600), 0);
}

static void make_nul(const Site *site)
{
    put(site, "postfix.d/a.cf", "a\0b", 3);
}

static void make_large(const Site *site)
{
    DEFER(xfree) char *text = xmalloc(OVERRIDE_BYTES_MAX);

    memset(text, '#', OVERRIDE_BYTES_MAX);
    put(site, "postfix.d/a.cf", text, OVERRIDE_BYTES_MAX);
    put(site, "postfix.d/b.cf", text, 1);
}

static void make_many(const Site *site)
{
    char name[32];

    for (int i = 0; i <= OVERRIDE_FILES_MAX; i++) {
        snprintf(name, sizeof name, "rspamd.d/%d.inc", i);
        put_text(site, name, "");
    }
}

static void make_strange_name(const Site *site)
{
    put_text(site, "dovecot.d/a b.conf", "");
}

static void test_refused(void **state)
{
    static const struct {
        void (*make)(const Site *site);
        ErrorCode code;
        const char *words;
    } cases[] = {
        {make_group_writable, ERROR_DENIED, "override/dovecot.d/a.conf: its group may write it"},
        {make_foreign, ERROR_DENIED, "override/dovecot.d/a.conf: belongs to uid 65534"},
        {make_open_folder, ERROR_DENIED, "override/dovecot.d: everybody may write it"},
        {make_open_all, ERROR_DENIED, "override: everybody may write it"},
        {make_link, ERROR_DENIED, "override/dovecot.d/b.conf: a link"},
        {make_pipe, ERROR_DENIED, "override/dovecot.d/p.conf: no regular file"},
        {make_nul, ERROR_INVALID, "override/postfix.d/a.cf: holds a NUL"},
        {make_large, ERROR_INVALID, "override/postfix.d/b.cf: overrides of one daemon are at most 262144 octets"},
        {make_many, ERROR_INVALID, "override/rspamd.d: more than 64 files"},
        {make_strange_name, ERROR_INVALID, "override/dovecot.d/a b.conf: its name"},
    };
    const Site *site = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(overrides_free) Overrides *overrides = NULL;
        cases[i].make(site);
        fails(overrides_read(site->root, &overrides), cases[i].code, cases[i].words);
        assert_null(overrides);
        folder_remove(path_in(site->root, "etc").text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_none, site_make, site_remove),
        cmocka_unit_test_setup_teardown(test_by_name, site_make, site_remove),
        cmocka_unit_test_setup_teardown(test_refused, site_make, site_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

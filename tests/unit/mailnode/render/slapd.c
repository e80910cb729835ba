#include "render/slapd.h"

#include "render/ldif.h"
#include "render/render.h"
#include "render/slapdconf.h"

#include "expect.h"

static void words_are_quoted_where_they_must_be(void **state)
{
    static const struct {
        const char *word, *line;
    } cases[] = {
        {"mdb", "directory mdb\n"},
        {"dc=staff,dc=mailnode", "directory dc=staff,dc=mailnode\n"},
        {"/a b", "directory \"/a b\"\n"},
        {"", "directory \"\"\n"},
        {"a\"b", "directory \"a\\\"b\"\n"},
        {"a\\b", "directory \"a\\\\b\"\n"},
        {"#a", "directory \"#a\"\n"},
        {"by", "directory\n    by\n"},
        {"\xc3\xa9", "directory \"\xc3\xa9\"\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(fileset_free) FileSet *set = fileset_new();
        SlapdConf conf = {set, fileset_add(set, "slapd/slapd.conf", NULL)};
        slapdconf(&conf, "directory", cases[i].word);
        assert_string_equal(buf_text(conf.text), cases[i].line);
        ok(fileset_refused(set));
    }
}

static void control_characters_are_refused(void **state)
{
    static const char *const words[] = {"a\nrootpw secret", "a\rb", "\t", "\x7f", "\x01"};

    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        DEFER(fileset_free) FileSet *set = fileset_new();
        SlapdConf conf = {set, fileset_add(set, "slapd/slapd.conf", NULL)};
        slapdconf(&conf, "directory", words[i]);
        assert_int_equal(conf.text->size, 0);
        fails(fileset_refused(set), ERROR_INVALID, "slapd.conf: a control character in a value");
    }
}

static void ldif_values(void **state)
{
    static const struct {
        const char *value, *line;
    } cases[] = {
        {"alice", "cn: alice\n"},
        {"", "cn: \n"},
        {" alice", "cn:: IGFsaWNl\n"},
        {"alice ", "cn:: YWxpY2Ug\n"},
        {":x", "cn:: Ong=\n"},
        {"<file:///etc/shadow", "cn:: PGZpbGU6Ly8vZXRjL3NoYWRvdw==\n"},
        {"a\ndn: x", "cn:: YQpkbjogeA==\n"},
        {"jos\xc3\xa9", "cn:: am9zw6k=\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_done) Buf text = {0};
        ldif_add(&(Ldif){&text}, "cn", cases[i].value);
        assert_string_equal(buf_text(&text), cases[i].line);
    }
}

static NodeState node_with(DirectoryState *directories, size_t n)
{
    return (NodeState){
        .root = "/n 1",
        .node = "mx1",
        .directories = directories,
        .n_directories = n,
        .uid_mailagent = 995,
        .uid_dovecot = 103,
    };
}

static void urls(void **state)
{
    char *four[] = {(char *)"192.0.2.1"}, *more[] = {(char *)"192.0.2.1", (char *)"192.0.2.11", (char *)"2001:db8::1"};
    Mail__UserDomain staff = MAIL__USER_DOMAIN__INIT, pupils = MAIL__USER_DOMAIN__INIT;
    DirectoryState directories[] = {{"pupils", &pupils, false}, {"staff", &staff, false}};
    NodeState node = node_with(directories, 2);

    (void)state;
    staff.n_listen = 3;
    staff.listen = more;
    pupils.n_listen = 1;
    pupils.listen = four;
    DEFER(xfree) char *without = slapd_urls(&node);
    assert_string_equal(without, "ldapi://%2Fn%201%2Frun%2Fmailnode%2Fslapd%2Fldapi");
    node.certificate = "/tls";
    DEFER(xfree) char *with = slapd_urls(&node);
    assert_string_equal(with, "ldapi://%2Fn%201%2Frun%2Fmailnode%2Fslapd%2Fldapi ldaps://192.0.2.1:636 "
                              "ldaps://192.0.2.11:636 ldaps://[2001:db8::1]:636");
}

/* Of a copy the addresses are those of the other node. */
static void copies_listen_nowhere(void **state)
{
    char *listen[] = {(char *)"192.0.2.1"};
    Mail__UserDomain staff = MAIL__USER_DOMAIN__INIT;
    DirectoryState directory = {"staff", &staff, true};
    NodeState node = node_with(&directory, 1);
    DEFER(fileset_free) FileSet *set = fileset_new();

    (void)state;
    staff.n_listen = 1;
    staff.listen = listen;
    node.certificate = "/tls";
    DEFER(xfree) char *urls = slapd_urls(&node);
    assert_string_equal(urls, "ldapi://%2Fn%201%2Frun%2Fmailnode%2Fslapd%2Fldapi");
    render_slapd(&node, set);
    fails(fileset_refused(set), ERROR_INVALID, "user-domain staff: replicas without a certificate");
}

/* A zero would make the agent's rights root's, or root's the agent's. */
static void uids_must_be_known(void **state)
{
    Mail__UserDomain staff = MAIL__USER_DOMAIN__INIT;
    DirectoryState directory = {"staff", &staff, false};
    NodeState node = node_with(&directory, 1);
    DEFER(fileset_free) FileSet *set = fileset_new();

    (void)state;
    node.uid_dovecot = 0;
    render_slapd(&node, set);
    fails(fileset_refused(set), ERROR_INVALID, "the uids of mailagent and dovecot are not known");
}

/* Where slapd listens is no part of its file: the change must restart it all the same. */
static void listening_elsewhere_is_a_restart(void **state)
{
    char *listen[] = {(char *)"192.0.2.1"};
    Mail__UserDomain staff = MAIL__USER_DOMAIN__INIT;
    DirectoryState directory = {"staff", &staff, false};
    NodeState node = node_with(&directory, 1);
    DEFER(fileset_free) FileSet *one = fileset_new();
    DEFER(fileset_free) FileSet *other = fileset_new();

    (void)state;
    node.certificate = "/tls";
    staff.n_listen = 1;
    staff.listen = listen;
    render_slapd(&node, one);
    listen[0] = (char *)"192.0.2.2";
    render_slapd(&node, other);
    ok(fileset_refused(one));
    Digest a = fileset_restart_digest(one, "slapd"), b = fileset_restart_digest(other, "slapd");
    assert_false(digest_equal(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_quoted_where_they_must_be),
        cmocka_unit_test(control_characters_are_refused),
        cmocka_unit_test(ldif_values),
        cmocka_unit_test(urls),
        cmocka_unit_test(copies_listen_nowhere),
        cmocka_unit_test(uids_must_be_known),
        cmocka_unit_test(listening_elsewhere_is_a_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

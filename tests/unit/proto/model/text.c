#include "model/text.h"

#include "base/alloc.h"
#include "model/text_inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- what was read ---------------------------------------------------------------------- */

typedef struct Got {
    Object **objects;
    size_t n;
    Buf places;
} Got;

static Error *gather(void *context, Object *object, const char *place)
{
    Got *got = context;

    got->objects = xrealloc(got->objects, (got->n + 1) * sizeof(Object *));
    got->objects[got->n++] = object;
    buf_printf(&got->places, "%s ", place);
    return NULL;
}

static void got_done(Got *got)
{
    for (size_t i = 0; i < got->n; i++)
        object_free(&got->objects[i]);
    free(got->objects);
    buf_done(&got->places);
}

static Error *read_text(const char *text, Got *got)
{
    return text_read_octets("f", text, strlen(text), gather, NULL, got);
}

static char *written(const Got *got, TextForm form)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    TextWriter writer;

    assert_non_null(out);
    text_write_begin(&writer, out, form);
    for (size_t i = 0; i < got->n; i++)
        text_write_item(&writer, got->objects[i]);
    text_write_end(&writer);
    fclose(out);
    return text;
}

static void same_text(const char *text, const char *wanted)
{
    if (strcmp(text, wanted) != 0)
        fail_msg("got:\n%s\nwanted:\n%s", text, wanted);
}

/* ---- both ways ---------------------------------------------------------------------------- */

static const char every_kind[] = "version: 1\n"
                                 "items:\n"
                                 "  - kind: node\n"
                                 "    name: mx1\n"
                                 "    description: \"R\xc3\xa4"
                                 "ck 7: \\\"left\\\"; # no comment \\\\\"\n"
                                 "  - kind: user-domain\n"
                                 "    name: staff\n"
                                 "    user_domain_kind: internal\n"
                                 "    node: mx1\n"
                                 "    replicas: [mx2, mx3]\n"
                                 "    listen: [\"192.0.2.1\"]\n"
                                 "    replication: \"(hidden)\"\n"
                                 "  - kind: instance\n"
                                 "    name: main\n"
                                 "    node: mx1\n"
                                 "    hostname: mx1.example.org\n"
                                 "    user_domain: staff\n"
                                 "    listen: [\"127.0.0.1\", \"::1\"]\n"
                                 "    running: false\n"
                                 "  - kind: admin\n"
                                 "    name: helpdesk\n"
                                 "    role: operator\n"
                                 "    uid: 12345\n"
                                 "    instances: [main]\n"
                                 "  - kind: domain\n"
                                 "    instance: main\n"
                                 "    name: xn--exmple-cua.org\n"
                                 "    user_addresses: false\n"
                                 "    group_addresses: true\n"
                                 "    catch_all: user:bob\n"
                                 "    description: \"no\"\n"
                                 "    dkim: false\n"
                                 "  - kind: policy\n"
                                 "    instance: main\n"
                                 "    default_quota: 500M\n"
                                 "    spam_retention: 20d\n"
                                 "    sender_login_match: include-groups\n"
                                 "    sender_login_exempt: [alice]\n"
                                 "    public_creators: [user:alice, group:sales]\n"
                                 "  - kind: settings\n"
                                 "    instance: main\n"
                                 "    message_size: 50M\n"
                                 "    queue_lifetime: 2d\n"
                                 "    delay_warning: 4h\n"
                                 "    junk: false\n"
                                 "    junk_folder: Junk/2\n"
                                 "    login_mode: security\n"
                                 "    over_quota: reject\n"
                                 "    restore_reserve: 2G\n"
                                 "    shared_seen: false\n"
                                 "  - kind: filter\n"
                                 "    instance: main\n"
                                 "    antivirus: false\n"
                                 "    infected: reject\n"
                                 "    scanner_away: pass\n"
                                 "    spam_flag: 5\n"
                                 "    deny: 12.25\n"
                                 "  - kind: tls\n"
                                 "    instance: main\n"
                                 "    follow_certificate: \"/etc/ssl/mail.pem\"\n"
                                 "    follow_key: \"/etc/ssl/mail.key\"\n"
                                 "  - kind: public-mailbox\n"
                                 "    instance: main\n"
                                 "    name: Sales/Leads\n"
                                 "    acl: [user:alice:full, group:sales:lr]\n"
                                 "  - kind: address\n"
                                 "    instance: main\n"
                                 "    name: o'neil@example.org\n"
                                 "    to: [user:alice, group:sales, x@far.example.com]\n"
                                 "    internal: true\n"
                                 "    description: \"yes\"\n"
                                 "    dormant: true\n"
                                 "  - kind: mailbox\n"
                                 "    instance: main\n"
                                 "    name: alice\n"
                                 "    enabled: false\n"
                                 "    forward: [a@b.example.com, c@d.example.com]\n"
                                 "    keep_copy: false\n"
                                 "    quota: unlimited\n"
                                 "    spam_retention: \"off\"\n"
                                 "  - kind: relay\n"
                                 "    instance: main\n"
                                 "    name: recipient/.example.com\n"
                                 "    host: smtp.example.net\n"
                                 "    port: 587\n"
                                 "    user: us\n"
                                 "    password: \"(hidden)\"\n"
                                 "    tls: encrypt\n"
                                 "    enabled: false\n"
                                 "  - kind: relay-client\n"
                                 "    instance: main\n"
                                 "    name: \"192.0.2.0/24\"\n"
                                 "    description: printers\n"
                                 "  - kind: destination\n"
                                 "    name: vault\n"
                                 "    repository: \"sftp:backup@vault.example.net:/srv/mail\"\n"
                                 "    password: \"(hidden)\"\n"
                                 "    env: \"(hidden)\"\n"
                                 "    ssh_key: \"(hidden)\"\n"
                                 "    known_hosts: [vault.example.net ssh-ed25519 AAAA]\n"
                                 "    upload_limit: 2M\n"
                                 "    download_limit: 4M\n"
                                 "  - kind: plan\n"
                                 "    name: nightly\n"
                                 "    destinations: [vault]\n"
                                 "    instances: [main]\n"
                                 "    schedule: daily 02:10\n"
                                 "    time_zone: Europe/Berlin\n"
                                 "    jitter: 5m\n"
                                 "    keep_last: 1\n"
                                 "    keep_hourly: 2\n"
                                 "    keep_daily: 3\n"
                                 "    keep_weekly: 5\n"
                                 "    keep_monthly: 7\n"
                                 "    keep_yearly: 8\n"
                                 "    check: 1d\n"
                                 "    check_data: 5\n"
                                 "    alarm_after: 3d\n";

static const char every_kind_json[] =
    "{\"version\":1,\"items\":[\n"
    "{\"kind\":\"node\",\"name\":\"mx1\",\"description\":\"R\xc3\xa4"
    "ck 7: \\\"left\\\"; # no comment \\\\\"},\n"
    "{\"kind\":\"user-domain\",\"name\":\"staff\",\"user_domain_kind\":\"internal\",\"node\":\"mx1\","
    "\"replicas\":[\"mx2\",\"mx3\"],\"listen\":[\"192.0.2.1\"],\"replication\":\"(hidden)\"},\n"
    "{\"kind\":\"instance\",\"name\":\"main\",\"node\":\"mx1\",\"hostname\":\"mx1.example.org\","
    "\"user_domain\":\"staff\",\"listen\":[\"127.0.0.1\",\"::1\"],\"running\":false},\n"
    "{\"kind\":\"admin\",\"name\":\"helpdesk\",\"role\":\"operator\",\"uid\":12345,\"instances\":[\"main\"]},\n"
    "{\"kind\":\"domain\",\"instance\":\"main\",\"name\":\"xn--exmple-cua.org\",\"user_addresses\":false,"
    "\"group_addresses\":true,\"catch_all\":\"user:bob\",\"description\":\"no\",\"dkim\":false},\n"
    "{\"kind\":\"policy\",\"instance\":\"main\",\"default_quota\":\"500M\",\"spam_retention\":\"20d\","
    "\"sender_login_match\":\"include-groups\",\"sender_login_exempt\":[\"alice\"],\"public_creators\":[\"user:alice\",\"group:sales\"]},\n"
    "{\"kind\":\"settings\",\"instance\":\"main\",\"message_size\":\"50M\",\"queue_lifetime\":\"2d\","
    "\"delay_warning\":\"4h\",\"junk\":false,\"junk_folder\":\"Junk/2\",\"login_mode\":\"security\","
    "\"over_quota\":\"reject\",\"restore_reserve\":\"2G\",\"shared_seen\":false},\n"
    "{\"kind\":\"filter\",\"instance\":\"main\",\"antivirus\":false,\"infected\":\"reject\",\"scanner_away\":\"pass\","
    "\"spam_flag\":5,\"deny\":12.25},\n"
    "{\"kind\":\"tls\",\"instance\":\"main\",\"follow_certificate\":\"/etc/ssl/mail.pem\","
    "\"follow_key\":\"/etc/ssl/mail.key\"},\n"
    "{\"kind\":\"public-mailbox\",\"instance\":\"main\",\"name\":\"Sales/Leads\","
    "\"acl\":[\"user:alice:full\",\"group:sales:lr\"]},\n"
    "{\"kind\":\"address\",\"instance\":\"main\",\"name\":\"o'neil@example.org\","
    "\"to\":[\"user:alice\",\"group:sales\",\"x@far.example.com\"],\"internal\":true,\"description\":\"yes\","
    "\"dormant\":true},\n"
    "{\"kind\":\"mailbox\",\"instance\":\"main\",\"name\":\"alice\",\"enabled\":false,"
    "\"forward\":[\"a@b.example.com\",\"c@d.example.com\"],\"keep_copy\":false,\"quota\":\"unlimited\","
    "\"spam_retention\":\"off\"},\n"
    "{\"kind\":\"relay\",\"instance\":\"main\",\"name\":\"recipient/.example.com\",\"host\":\"smtp.example.net\","
    "\"port\":587,\"user\":\"us\",\"password\":\"(hidden)\",\"tls\":\"encrypt\",\"enabled\":false},\n"
    "{\"kind\":\"relay-client\",\"instance\":\"main\",\"name\":\"192.0.2.0/24\",\"description\":\"printers\"},\n"
    "{\"kind\":\"destination\",\"name\":\"vault\",\"repository\":\"sftp:backup@vault.example.net:/srv/mail\","
    "\"password\":\"(hidden)\",\"env\":\"(hidden)\",\"ssh_key\":\"(hidden)\","
    "\"known_hosts\":[\"vault.example.net ssh-ed25519 AAAA\"],\"upload_limit\":\"2M\",\"download_limit\":\"4M\"},\n"
    "{\"kind\":\"plan\",\"name\":\"nightly\",\"destinations\":[\"vault\"],\"instances\":[\"main\"],"
    "\"schedule\":\"daily 02:10\",\"time_zone\":\"Europe/Berlin\",\"jitter\":\"5m\",\"keep_last\":1,"
    "\"keep_hourly\":2,\"keep_daily\":3,\"keep_weekly\":5,\"keep_monthly\":7,\"keep_yearly\":8,\"check\":\"1d\","
    "\"check_data\":5,\"alarm_after\":\"3d\"}\n"
    "]}\n";

/* Every field of every kind is in the table above, so that a new one is not forgotten. */
static void every_field_is_in_the_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_kinds; i++) {
        const KindInfo *info = kind_info(kinds[i]);
        if (info->meta->made) /* no file states one */
            continue;
        DEFER(xfree) char *kind = xasprintf("kind: %s\n", info->name);
        const char *item = strstr(every_kind, kind);
        if (!item) {
            fail_msg("%s is missing", info->name);
            return;
        }
        const char *end = strstr(item, "\n  - ");
        DEFER(xfree) char *fields = end ? xstrndup(item, (size_t)(end - item)) : xstrdup(item);
        for (size_t k = 0; k < info->meta->n_fields; k++) {
            DEFER(xfree) char *key = xasprintf("\n    %s: ", text_field_name(info, &info->meta->fields[k]).text);
            bool exclusive = info->kind == MAIL__OBJECT__BODY_ADMIN; /* one of uid, group and key */
            if (!strstr(fields, key) && !exclusive)
                fail_msg("%s of %s is missing", key, info->name);
        }
    }
}

static void F_170_yaml_and_json_both_ways(void **state)
{
    DEFER(got_done) Got yaml = {0}, json = {0};
    (void)state;

    DEFER(error_free) Error *err = read_text(every_kind, &yaml);
    if (err)
        fail_msg("%s", err->what);
    assert_int_equal(yaml.n, 16);
    same_text(buf_text(&yaml.places),
              "f:3 f:6 f:13 f:20 f:25 f:33 f:40 f:51 f:58 f:62 f:66 f:73 f:81 f:90 f:94 f:103 ");
    DEFER(xfree) char *yaml_again = written(&yaml, TEXT_YAML);
    same_text(yaml_again, every_kind);
    DEFER(xfree) char *as_json = written(&yaml, TEXT_JSON);
    same_text(as_json, every_kind_json);

    DEFER(error_free) Error *wrong = read_text(every_kind_json, &json);
    if (wrong)
        fail_msg("%s", wrong->what);
    same_text(buf_text(&json.places), "f:2 f:3 f:4 f:5 f:6 f:7 f:8 f:9 f:10 f:11 f:12 f:13 f:14 f:15 f:16 f:17 ");
    assert_int_equal(json.n, yaml.n);
    for (size_t i = 0; i < json.n; i++)
        assert_true(object_equal(json.objects[i], yaml.objects[i]));
}

#define NODE "version: 1\nitems:\n  - kind: node\n    name: mx1\n"
#define DESCRIBED NODE "    description: "
#define ADDRESS "version: 1\nitems:\n  - kind: address\n    instance: main\n    name: a@example.org\n"
#define TO ADDRESS "    to: [user:alice]\n"

/* What people may write, and the one form of it. */
static const struct {
    const char *text, *wanted;
} ways[] = {
    {"version: 1\nitems: []\n", "version: 1\nitems: []\n"},
    {"{\"items\": [], \"version\": 1}", "version: 1\nitems: []\n"},
    {NODE, NODE},
    {"\n\n--- # comment\nitems:\n- name: mx1\n  kind: node\nversion: 1\n...\n", NODE},
    {"# c\r\nversion: 1\r\nitems:\r\n  - kind: node  # c\r\n    name: mx1\r\n", NODE},
    {"--- {version: 1, items: [{name: mx1, kind: node}]}", NODE},
    {"\"version\": '1'\n'items': [{\"kind\": node, \"name\": mx1}]\n", NODE},
    {"\t\r\n {\"version\":1,\n\"items\":[{\"name\":\"mx1\",\"kind\":\"node\"}]}\n\n", NODE},
    {NODE "    description: !!str 12\n", DESCRIBED "\"12\"\n"},
    {NODE "    description: >-\n      two\n      lines\n", DESCRIBED "two lines\n"},
    {NODE "    description: ''\n", NODE},
    {TO, TO},
    {ADDRESS "    to: alice\n", TO},
    {ADDRESS "    to:\n    - alice\n    - user:alice\n", TO},
    {"version: 1\nitems:\n  - kind: address\n    instance: main\n    name: A@Example.ORG\n    to: [user:alice]\n    internal: yes\n",
     TO "    internal: true\n"},
    {TO "    internal: false\n", TO}, /* the default is not stated */
    {"{\"version\":1,\"items\":[{\"kind\":\"mailbox\",\"instance\":\"main\",\"name\":\"bob\",\"keep-copy\":false,\"quota\":500}]}",
     "version: 1\nitems:\n  - kind: mailbox\n    instance: main\n    name: bob\n    keep_copy: false\n    quota: \"500\"\n"},
    {"version: 1\nitems:\n  - kind: user_domain\n    name: staff\n    user-domain-kind: internal\n    node: mx1\n",
     "version: 1\nitems:\n  - kind: user-domain\n    name: staff\n    user_domain_kind: internal\n    node: mx1\n"},
};

static void what_people_may_write(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        DEFER(got_done) Got got = {0};
        DEFER(error_free) Error *err = read_text(ways[i].text, &got);
        DEFER(xfree) char *text = err ? NULL : written(&got, TEXT_YAML);
        if (err || strcmp(text, ways[i].wanted) != 0)
            fail_msg("%s\n%s\nwanted:\n%s", ways[i].text, err ? err->what : text, ways[i].wanted);
    }
}

/* Texts that a reader of YAML takes for something else than a text, unless quoted. */
static const struct {
    const char *text, *yaml, *json;
} texts[] = {
    {"plain words, no more", "\"plain words, no more\"", "\"plain words, no more\""},
    {"rack 7", "rack 7", "\"rack 7\""},
    {"a-b_c.d/e+f@g", "a-b_c.d/e+f@g", "\"a-b_c.d/e+f@g\""},
    {"yes", "\"yes\"", "\"yes\""},
    {"No", "\"No\"", "\"No\""},
    {"on", "\"on\"", "\"on\""},
    {"TRUE", "\"TRUE\"", "\"TRUE\""},
    {"null", "\"null\"", "\"null\""},
    {"y", "\"y\"", "\"y\""},
    {"~", "\"~\"", "\"~\""},
    {"12", "\"12\"", "\"12\""},
    {"1e5", "\"1e5\"", "\"1e5\""},
    {"0x1F", "\"0x1F\"", "\"0x1F\""},
    {"1:30", "\"1:30\"", "\"1:30\""},
    {"2026-01-01", "\"2026-01-01\"", "\"2026-01-01\""},
    {".inf", "\".inf\"", "\".inf\""},
    {"500M", "500M", "\"500M\""},
    {"-", "\"-\"", "\"-\""},
    {"- a", "\"- a\"", "\"- a\""},
    {"# no comment", "\"# no comment\"", "\"# no comment\""},
    {"a # b", "\"a # b\"", "\"a # b\""},
    {"a#b", "\"a#b\"", "\"a#b\""},
    {"a: b", "\"a: b\"", "\"a: b\""},
    {"a:", "\"a:\"", "\"a:\""},
    {"a:b", "a:b", "\"a:b\""},
    {": ", "\": \"", "\": \""},
    {"<<", "\"<<\"", "\"<<\""},
    {"---", "\"---\"", "\"---\""},
    {"a  b", "\"a  b\"", "\"a  b\""},
    {"*a", "\"*a\"", "\"*a\""},
    {"&a", "\"&a\"", "\"&a\""},
    {"!a", "\"!a\"", "\"!a\""},
    {"%a", "\"%a\"", "\"%a\""},
    {"@a", "\"@a\"", "\"@a\""},
    {"`a", "\"`a\"", "\"`a\""},
    {"{a}", "\"{a}\"", "\"{a}\""},
    {"a]", "\"a]\"", "\"a]\""},
    {"it's", "it's", "\"it's\""},
    {"'a'", "\"'a'\"", "\"'a'\""},
    {"\"q\" \\", "\"\\\"q\\\" \\\\\"", "\"\\\"q\\\" \\\\\""},
    {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
     "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
    /* Not stored by us, but shown whatever a controller sends. */
    {"\x1b[31m\n\t\x7f", "\"\\u001b[31m\\u000a\\u0009\\u007f\"", "\"\\u001b[31m\\u000a\\u0009\\u007f\""},
    {"\xc2\x9b"
     "a",
     "\"\\u009ba\"", "\"\\u009ba\""},
    {"a\xe2\x80\xae"
     "b\xef\xbb\xbf",
     "\"a\\u202eb\\ufeff\"", "\"a\\u202eb\\ufeff\""},
    {"\xf3\xa0\x80\xa0", "\"\\U000e0020\"", "\"\\udb40\\udc20\""},
    {"a\xff\xc3", "\"a\\ufffd\\ufffd\"", "\"a\\ufffd\\ufffd\""},
};

static void texts_are_quoted_where_needed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        Object *object = object_new(MAIL__OBJECT__BODY_NODE, NULL, "mx1");
        object->node->description = xstrdup(texts[i].text);
        DEFER(got_done) Got got = {0};
        assert_null(gather(&got, object, "f"));

        DEFER(xfree) char *yaml = written(&got, TEXT_YAML), *json = written(&got, TEXT_JSON);
        DEFER(xfree) char *want_yaml = xasprintf(DESCRIBED "%s\n", texts[i].yaml);
        DEFER(xfree)
        char *want_json = xasprintf(
            "{\"version\":1,\"items\":[\n{\"kind\":\"node\",\"name\":\"mx1\",\"description\":%s}\n]}\n", texts[i].json);
        same_text(yaml, want_yaml);
        same_text(json, want_json);
    }
}

static void a_long_list_goes_one_item_a_line(void **state)
{
    DEFER(got_done) Got got = {0}, again = {0};
    DEFER(buf_done) Buf want = {0};
    Object *object = object_new(MAIL__OBJECT__BODY_ADDRESS, "main", "a@example.org");
    (void)state;

    object->address->to = xcalloc(1000, sizeof(char *));
    buf_append_text(&want, ADDRESS "    to:\n");
    for (int i = 0; i < 1000; i++) {
        object->address->to[object->address->n_to++] = xasprintf("user:u%d", i);
        buf_printf(&want, "      - user:u%d\n", i);
    }
    assert_null(gather(&got, object, "f"));
    DEFER(xfree) char *text = written(&got, TEXT_YAML);
    same_text(text, buf_text(&want));
    DEFER(error_free) Error *err = read_text(text, &again);
    assert_null(err);
    assert_true(object_equal(again.objects[0], object));
}

/* ---- errors -------------------------------------------------------------------------------- */

static const struct {
    const char *text, *error, *hint;
} errors[] = {
    {"", "f:1: empty: version and items are missing", NULL},
    {" \r\n", "f:1: empty: version and items are missing", NULL},
    {"# nothing\n", "f:2: empty: version and items are missing", NULL},
    {"just text", "f:1: the keys version and items are wanted", NULL},
    {"- a\n- b\n", "f:1: the keys version and items are wanted", NULL},
    {"\xef\xbb\xbf" NODE, "f:1: begins with a BOM (U+FEFF): save it without", NULL},
    {"\xff\xfev", "f:1: begins with a BOM of UTF-16: save it as UTF-8", NULL},
    {DESCRIBED "\xff\n", "f:5: not UTF-8", NULL},
    {"version: 9\nitems: []\n", "f:1: version 9: write version: 1", NULL},
    {"version: [1]\nitems: []\n", "f:1: version must be a number", NULL},
    {"items: []\n", "f:2: version is missing", NULL},
    {"version: 1\n", "f:2: items is missing", NULL},
    {"version: 1\nitems: x\n", "f:2: items must be a list", NULL},
    {"version: 1\nitems: []\nmore: 1\n", "f:3: 'more': only version, secrets and items may be here", NULL},
    {"version: 1\nversion: 1\nitems: []\n", "f:2: version is there twice", NULL},
    {"version: 1\nitems:\n  - x\n", "f:3: an item must be keys with values: kind, name ...", NULL},
    {"version: 1\nitems:\n  - {}\n", "f:3: kind is missing", NULL},
    {"version: 1\nitems:\n  - kind: adress\n    name: a@example.org\n", "f:3: kind 'adress': there is no such kind",
     "did you mean address?"},
    {"version: 1\nitems:\n  - kind: [node]\n", "f:3: kind: one word is wanted, not a list", NULL},
    {TO "    too: x\n", "f:7: 'too' is no field of kind address", "did you mean to?"},
    {"version: 1\nitems:\n  - kind: user-domain\n    name: staff\n    knd: internal\n",
     "f:5: 'knd' is no field of kind user-domain", "did you mean user_domain_kind?"},
    {TO "    to: [user:bob]\n", "f:7: to is there twice", NULL},
    {"version: 1\nitems:\n  - kind: domain\n    catch-all: bob\n    catch_all: bob\n", "f:5: catch_all is there twice",
     NULL},
    {ADDRESS "    to: {a: b}\n", "f:6: to: a word or a list of words is wanted", NULL},
    {ADDRESS "    to: [[[[[[[[[[[[x]]]]]]]]]]]]\n", "f:6: a list holds words, nothing deeper", NULL},
    {TO "    internal: maybe\n", "f:7: address a@example.org: internal 'maybe': write yes or no", NULL},
    {TO "    internal: [yes]\n", "f:7: address a@example.org: internal: one value is wanted, not a list", NULL},
    {ADDRESS "    to:\n      - user:alice\n      - 'user:'\n", "f:8: address a@example.org: to 'user:': names nobody",
     NULL},
    {"version: 1\nitems:\n  - kind: address\n    instance: main\n    name: sales\n    to: [user:alice]\n",
     "f:3: address sales: '@' is missing", "write LOCAL@DOMAIN, or LOCAL@* for every domain"},
    {"version: 1\nitems:\n  - &x\n    kind: address\n  - *x\n", "f:3: an anchor (&): write it out", NULL},
    {DESCRIBED "*x\n", "f:5: an alias (*): write it out", NULL},
    {DESCRIBED "!x y\n", "f:5: a tag (!): leave it out", NULL},
    {"version: 1\nitems: !!set {a}\n", "f:2: a tag (!): leave it out", NULL},
    {DESCRIBED "~\n", "f:5: no value: leave the key out, or quote the text", NULL},
    {DESCRIBED "\n", "f:5: no value: leave the key out, or quote the text", NULL},
    {DESCRIBED "\"a\\0b\"\n", "f:5: a text holds a NUL", NULL},
    {"? [version]\n: 1\n", "f:1: a key must be a word", NULL},
    {NODE "---\n" NODE, "f:5: a second document: write one file each", NULL},
    {"version: 1\nitems:\n - [\n", "f:3: an item must be keys with values: kind, name ...", NULL},
    {DESCRIBED "\"open\n", "f:5: no YAML: double-quoted scalar without closing quote", NULL},
    {"version: 1\nitems:\n\t- kind: node\n", "f:3: no YAML: tab character may not be used as indentation", NULL},

    {"{\"version\": 1, \"items\": []} trailing", "f:1: more behind the last '}'", NULL},
    {"{\"version\": 1,\n \"items\": [],}", "f:2: no JSON: a key in quotes is wanted", NULL},
    {"{\"version\": 1, \"items\": [], \"items\": []}", "f:1: items is there twice", NULL},
    {"{\"version\": 1, \"items\": [\n{\"kind\": \"address\", \"kind\": \"address\"}]}",
     "f:2: no JSON: duplicate object key near '\"kind\"'", NULL},
    {"{\"version\": 2, \"items\": []}", "f:1: version 2: write version: 1", NULL},
    {"{\"version\": \"1\", \"items\": []}", "f:1: version \"1\": write version: 1", NULL},
    {"{\"version\": 1, \"items\": {}}", "f:1: items must be a list", NULL},
    {"{\"version\": 1, \"items\": [1]}", "f:1: an item must be an object: {\"kind\": ...}", NULL},
    {"{\"version\": 1, \"items\": [{\"kind\": \"node\", \"name\": \"mx1\"} {}]}",
     "f:1: no JSON: ',' or ']' is wanted behind an item", NULL},
    {"{\"version\": 1, \"items\": [\n\n{\"kind\": \"node\", \"name\": null}]}",
     "f:3: name: null is no value: leave the key out", NULL},
    {"{\"version\": 1, \"items\": [{\"kind\": \"admin\", \"uid\": 1.5}]}",
     "f:1: admin: uid '1.5': write a whole number", NULL},
    {"{\"version\": 1, \"items\": [{\"kind\": \"node\", \"name\": {\"a\": 1}}]}",
     "f:1: name: a word or a list of words is wanted", NULL},
    {"{\"version\": 1, \"items\": [\n{\"kind\": \"node\",\n\"name\": \"mx1\",\n\"descr\n",
     "f:4: no JSON: unexpected newline near '\"descr'", NULL},
};

static void F_170_errors_name_line_and_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        DEFER(got_done) Got got = {0};
        DEFER(error_free) Error *err = read_text(errors[i].text, &got);
        const char *said = err ? err->what : "taken", *hint = err && err->hint ? err->hint : "none";
        const char *want_hint = errors[i].hint ? errors[i].hint : "none";
        if (strcmp(said, errors[i].error) != 0 || strcmp(hint, want_hint) != 0)
            fail_msg("%s\n%s (hint %s)\nwanted:\n%s (hint %s)", errors[i].text, said, hint, errors[i].error, want_hint);
        assert_true(err && err->code == ERROR_INVALID);
    }
}

/* An item of too many octets, a line, keys, brackets: each by its limit. */
static void refused_by_limit(const char *before, const char *again, size_t n, const char *wanted)
{
    DEFER(buf_done) Buf text = {0};
    DEFER(got_done) Got got = {0};

    buf_append_text(&text, before);
    for (size_t i = 0; i < n; i++)
        buf_append_text(&text, again);
    DEFER(error_free) Error *err = read_text(buf_text(&text), &got);
    if (!err || strcmp(err->what, wanted) != 0)
        fail_msg("%s...%s...: %s, wanted %s", before, again, err ? err->what : "taken", wanted);
}

static void B37_limits(void **state)
{
    (void)state;
    refused_by_limit("version: 1\nitems:\n  - kind: ", "x", 600000, "f:3: a line of more than 524288 octets");
    refused_by_limit("version: 1\nitems:\n  - kind: ", "x", 300000, "f:3: the item has more than 262144 octets");
    refused_by_limit(ADDRESS "    to:\n", "      - aaaaaaaaaaaaaaaa\n", 20000,
                     "f:16388: the item has more than 262144 octets");
    refused_by_limit("version: 1\nitems:\n", "[", 1000, "f:3: an item must be keys with values: kind, name ...");
    refused_by_limit("{\"version\": 1, \"items\": ", "[", 100000, "f:1: an item must be an object: {\"kind\": ...}");
    refused_by_limit("{\"version\": 1, \"items\": [{\"a\": ", "[", 100000,
                     "f:1: no JSON: maximum parsing depth reached near '['");
    refused_by_limit("{\"version\": 1, \"items\": [{\"kind\": \"", "x", 300000, "f:1: no JSON: premature end of input");
}

/* The word of 'each' ends the reading, and is not changed. */
static Error *refuse_second(void *context, Object *object, const char *place)
{
    size_t *n = context;

    object_free(&object);
    return ++*n < 2 ? NULL : error_new(ERROR_CONFLICT, "second at %s", place);
}

static void the_first_error_ends_it(void **state)
{
    static const char text[] = "version: 1\nitems:\n- {kind: node, name: a}\n- {kind: node, name: b}\n- broken\n";
    size_t n = 0;
    (void)state;

    DEFER(error_free) Error *err = text_read_octets("f", text, strlen(text), refuse_second, NULL, &n);
    assert_non_null(err);
    assert_int_equal(err->code, ERROR_CONFLICT);
    assert_string_equal(err->what, "second at f:4");
    assert_int_equal(n, 2);
}

/* ---- files --------------------------------------------------------------------------------- */

static void files_by_name_and_size(void **state)
{
    char path[] = "/tmp/text.XXXXXX";
    DEFER(got_done) Got got = {0};
    (void)state;

    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, NODE, strlen(NODE)), strlen(NODE));
    assert_null(text_read(path, gather, &got));
    DEFER(xfree) char *place = xasprintf("%s:3 ", path);
    same_text(buf_text(&got.places), place);

    assert_int_equal(ftruncate(fd, (off_t)TEXT_FILE_MAX + 1), 0); /* a hole: refused before it is read */
    DEFER(error_free) Error *large = text_read(path, gather, &got);
    assert_non_null(large);
    assert_int_equal(large->code, ERROR_INVALID);
    DEFER(xfree) char *words = xasprintf("%s: larger than 64 MiB", path);
    assert_string_equal(large->what, words);
    close(fd);
    unlink(path);

    DEFER(error_free) Error *missing = text_read(path, gather, &got);
    assert_int_equal(missing->code, ERROR_NOT_FOUND);
    DEFER(error_free) Error *folder = text_read("/tmp", gather, &got);
    assert_int_equal(folder->code, ERROR_SYSTEM);
    assert_string_equal(folder->what, "/tmp: read: Is a directory");
}

static void standard_input_is_called_minus(void **state)
{
    DEFER(got_done) Got got = {0};
    int saved = dup(STDIN_FILENO), ends[2];
    (void)state;

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], NODE, strlen(NODE)), strlen(NODE));
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    Error *err = text_read("-", gather, &got);
    dup2(saved, STDIN_FILENO);
    close(saved);
    assert_null(err);
    same_text(buf_text(&got.places), "-:3 ");
}

/* ---- differences --------------------------------------------------------------------------- */

static const struct {
    const char *before, *after, *wanted; /* NULL: not there */
} diffs[] = {
    {NULL, TO, "+ address a@example.org\n  + to: user:alice\n"},
    {TO "    internal: yes\n", NULL, "- address a@example.org\n  - to: user:alice\n  - internal: yes\n"},
    {TO, ADDRESS "    to: [bob]\n", "~ address a@example.org\n  - to: user:alice\n  + to: user:bob\n"},
    {ADDRESS "    to: [a, b, c]\n", ADDRESS "    to: [a, c, d]\n",
     "~ address a@example.org\n  - to: user:b\n  + to: user:d\n"},
    {ADDRESS "    to: [a, b]\n", ADDRESS "    to: [b, a]\n",
     "~ address a@example.org\n  - to: user:a,user:b\n  + to: user:b,user:a\n"},
    {TO, TO "    description: d\n", "~ address a@example.org\n  + description: d\n"},
    {"version: 1\nitems:\n- {kind: policy, instance: main}\n",
     "version: 1\nitems:\n- {kind: policy, instance: main, default_quota: 5G, spam_retention: 'off'}\n",
     "~ policy of main\n  + default-quota: 5G\n  + spam-retention: off\n"},
    {TO, TO, "~ address a@example.org\n"},
};

static void diff_prints_what_differs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof diffs / sizeof *diffs; i++) {
        DEFER(got_done) Got before = {0}, after = {0};
        DEFER(xfree) char *text = NULL;
        size_t size = 0;

        if (diffs[i].before)
            assert_null(read_text(diffs[i].before, &before));
        if (diffs[i].after)
            assert_null(read_text(diffs[i].after, &after));
        FILE *out = open_memstream(&text, &size);
        assert_non_null(out);
        text_write_diff(out, before.n ? before.objects[0] : NULL, after.n ? after.objects[0] : NULL);
        fclose(out);
        same_text(text, diffs[i].wanted);
    }
}

static void a_hostile_value_forges_no_line(void **state)
{
    DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_NODE, NULL, "mx1\n+ node mx2");
    DEFER(xfree) char *text = NULL;
    size_t size = 0;
    (void)state;

    object->node->description = xstrdup("a\x1b[2J\n+ b\xff");
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    text_write_diff(out, NULL, object);
    fclose(out);
    size_t n_lines = 0;
    for (const char *c = text; *c; c++) {
        n_lines += *c == '\n';
        assert_true(*c == '\n' || (*c >= 0x20 && *c < 0x7f));
    }
    assert_int_equal(n_lines, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_in_the_text),
        cmocka_unit_test(F_170_yaml_and_json_both_ways),
        cmocka_unit_test(what_people_may_write),
        cmocka_unit_test(texts_are_quoted_where_needed),
        cmocka_unit_test(a_long_list_goes_one_item_a_line),
        cmocka_unit_test(F_170_errors_name_line_and_field),
        cmocka_unit_test(B37_limits),
        cmocka_unit_test(the_first_error_ends_it),
        cmocka_unit_test(files_by_name_and_size),
        cmocka_unit_test(standard_input_is_called_minus),
        cmocka_unit_test(diff_prints_what_differs),
        cmocka_unit_test(a_hostile_value_forges_no_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "ldap/sync.h"

#include "expect.h"

#define U1 "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"
#define U2 "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6\xf5\xf4\xf3\xf2\xf1\xf0"
#define OCTETS(text) (text), sizeof(text) - 1

static void requests(void **state)
{
    DEFER(buf_done) Buf first = {0};
    DEFER(buf_done) Buf later = {0};

    (void)state;
    sync_request(NULL, &first);
    assert_int_equal(first.size, 8);
    assert_memory_equal(first.data, "\x30\x06\x0a\x01\x03\x01\x01\x00", 8);
    sync_request("rid=1", &later);
    assert_int_equal(later.size, 15);
    assert_memory_equal(later.data, "\x30\x0d\x0a\x01\x03\x04\x05rid=1\x01\x01\x00", 15);
}

static void states(void **state)
{
    static const struct {
        const char *octets;
        size_t size;
        bool good;
        SyncWhat what;
        const char *cookie;
    } cases[] = {
        {OCTETS("\x30\x15\x0a\x01\x00\x04\x10" U1), true, SYNC_PRESENT, ""},
        {OCTETS("\x30\x15\x0a\x01\x01\x04\x10" U1), true, SYNC_CHANGED, ""},
        {OCTETS("\x30\x15\x0a\x01\x02\x04\x10" U1), true, SYNC_CHANGED, ""},
        {OCTETS("\x30\x1a\x0a\x01\x03\x04\x10" U1 "\x04\x03"
                "a=b"),
         true, SYNC_DELETED, "a=b"},
        {OCTETS("\x30\x15\x0a\x01\x04\x04\x10" U1), false, 0, NULL}, /* no such state */
        {OCTETS("\x30\x15\x0a\x01\xff\x04\x10" U1), false, 0, NULL},
        {OCTETS("\x30\x14\x0a\x01\x01\x04\x0f" U1), false, 0, NULL}, /* no UUID */
        {OCTETS("\x30\x15\x0a\x01\x01\x04\x7f" U1), false, 0, NULL}, /* longer than it is */
        {OCTETS("\x30\x1a\x0a\x01\x03\x04\x10" U1 "\x04\x03"
                "a\0b"),
         false, 0, NULL}, /* a cookie that is no text */
        {OCTETS(""), false, 0, NULL},
        {OCTETS("\x30"), false, 0, NULL},
        {OCTETS("\x30\x80\x0a\x01\x01"), false, 0, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SyncState said = {0};
        if (sync_state_read(cases[i].octets, cases[i].size, &said) != cases[i].good)
            fail_msg("row %zu", i);
        if (!cases[i].good)
            continue;
        assert_int_equal(said.what, cases[i].what);
        assert_string_equal(said.cookie, cases[i].cookie);
        assert_memory_equal(said.uuid, U1, UUID_OCTETS);
    }
}

static void infos(void **state)
{
    static const struct {
        const char *octets;
        size_t size;
        bool good, then_refreshed;
        SyncWhat what;
        size_t n_uuids;
        const char *cookie;
    } cases[] = {
        {OCTETS("\x80\x03"
                "a=b"),
         true, false, SYNC_COOKIE, 0, "a=b"},
        {OCTETS("\xa1\x00"), true, true, SYNC_COOKIE, 0, ""},
        {OCTETS("\xa1\x08\x04\x03"
                "a=b\x01\x01\x00"),
         true, false, SYNC_COOKIE, 0, "a=b"},
        {OCTETS("\xa2\x05\x04\x03"
                "a=b"),
         true, true, SYNC_MENTIONED, 0, "a=b"},
        {OCTETS("\xa2\x03\x01\x01\x00"), true, false, SYNC_MENTIONED, 0, ""},
        {OCTETS("\xa3\x26\x31\x24\x04\x10" U1 "\x04\x10" U2), true, false, SYNC_PRESENT, 2, ""},
        {OCTETS("\xa3\x1c\x04\x03"
                "a=b\x01\x01\xff\x31\x12\x04\x10" U1),
         true, false, SYNC_DELETED, 1, "a=b"},
        {OCTETS("\xa3\x02\x31\x00"), true, false, SYNC_PRESENT, 0, ""},
        {OCTETS("\xa3\x00"), false, false, 0, 0, NULL},
        {OCTETS("\xa3\x06\x31\x04\x04\x02xy"), false, false, 0, 0, NULL},             /* no UUID */
        {OCTETS("\xa3\x26\x31\x24\x04\x10" U1 "\x04\x10"), false, false, 0, 0, NULL}, /* cut */
        {OCTETS("\xa4\x00"), false, false, 0, 0, NULL},
        {OCTETS("\x80\x7f"), false, false, 0, 0, NULL},
        {OCTETS(""), false, false, 0, 0, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SyncInfo said = {0};
        if (sync_info_read(cases[i].octets, cases[i].size, &said) != cases[i].good)
            fail_msg("row %zu", i);
        if (!cases[i].good)
            continue;
        if (said.what != cases[i].what || said.then_refreshed != cases[i].then_refreshed ||
            said.uuids.size != cases[i].n_uuids * UUID_OCTETS)
            fail_msg("row %zu", i);
        assert_string_equal(said.cookie, cases[i].cookie);
        buf_done(&said.uuids);
    }
}

static void cookies(void **state)
{
    static const struct {
        const char *cookie, *csn;
    } cases[] = {
        {"rid=000,csn=20261128190000.000001Z#000000#000#000000", "20261128190000.000001Z#000000#000#000000"},
        {"rid=000,sid=001,csn=2#1;3#0;1#9", "3#0"},
        {"rid=000", ""},
        {"csn=", ""},
        {"", ""},
    };
    char csn[SYNC_COOKIE_MAX + 1], text[UUID_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sync_cookie_csn(cases[i].cookie, csn);
        assert_string_equal(csn, cases[i].csn);
    }
    uuid_text((const unsigned char *)U2, text);
    assert_string_equal(text, "fffefdfc-fbfa-f9f8-f7f6-f5f4f3f2f1f0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(states),
        cmocka_unit_test(infos),
        cmocka_unit_test(cookies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

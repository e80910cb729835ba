#include "dkim_record.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static Object *key(const char *name, size_t public_size)
{
    Object *object = object_new(MAIL__OBJECT__BODY_DKIM_KEY, "main", name);
    char *text = xcalloc(1, public_size + 1);

    for (size_t i = 0; i < public_size; i++)
        text[i] = (char)('A' + i % 26);
    object->dkim_key->public_key = text;
    return object;
}

static void a_short_key_is_one_string(void **state)
{
    DEFER(object_free) Object *object = key("example.org/Default.S1", 8);
    DEFER(dkim_record_done) DkimRecord record = {0};

    (void)state;
    dkim_record_of(object, &record);
    assert_string_equal(record.domain, "example.org");
    assert_string_equal(record.selector, "Default.S1");
    assert_string_equal(record.name, "Default.S1._domainkey.example.org");
    assert_string_equal(record.value, "v=DKIM1; k=rsa; p=ABCDEFGH");
    assert_string_equal(record.zone,
                        "Default.S1._domainkey.example.org. IN TXT (\n    \"v=DKIM1; k=rsa; p=ABCDEFGH\" )\n");
}

/* F-038: whatever its length, the strings are at most 255 octets and are the value together. */
static void F_038_strings_add_up(void **state)
{
    (void)state;
    for (size_t size = 1; size < 1024; size++) {
        DEFER(object_free) Object *object = key("example.org/default", size);
        DEFER(dkim_record_done) DkimRecord record = {0};
        DEFER(buf_done) Buf together = {0};
        dkim_record_of(object, &record);
        for (const char *at = strchr(record.zone, '"'); at; at = strchr(at, '"')) {
            size_t len = strcspn(++at, "\"");
            assert_in_range(len, 1, 255);
            buf_append(&together, at, len);
            at += len + 1;
        }
        assert_string_equal(buf_text(&together), record.value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_key_is_one_string),
        cmocka_unit_test(F_038_strings_add_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "seal/keys.h"

#include "base/alloc.h"
#include "base/path.h"

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

/* Pairs made for these tests. */
#define PUBLIC "ieF<TOdF)I(6(13@6v9iXYy2Xi0MYtupA4P+hW>f"
#define SECRET "wU7Y91HMQhtW<D%BW/KfLhvBC}Q^G>3auwNAOPOF"
#define OTHER "G36(/yfcs>8R#@jymN]ZeN(ntk:Ly$f%uCX^xKCF"

static char file[64];

static int setup(void **state)
{
    (void)state;
    snprintf(file, sizeof file, "/tmp/unit-keys-%d.json", (int)getpid());
    unlink(file);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(file);
    return 0;
}

static void good(Error *err)
{
    if (err)
        fail_msg("%s", err->what);
}

/* ---- keys ---- */

static const struct {
    const char *key;
    bool valid, published;
} keys[] = {
    {PUBLIC, true, false},
    {SECRET, true, false},
    {"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", true, true},
    {"D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs", true, true},
    {"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", true, true},
    {"JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6", true, true},
    {"", false, false},
    {"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf", false, false},
    {"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf77", false, false},
    {"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf~", false, false},
    {"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf ", false, false},
    {"#####>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", false, false}, /* over 2^32 - 1 */
    {"%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0", true, false},  /* 2^32 - 1 in every group */
    {"%nSc1%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0", false, false},
};

static void keys_valid_and_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (curve_key_valid(keys[i].key) != keys[i].valid || curve_key_published(keys[i].key) != keys[i].published)
            fail_msg("row %zu: '%s'", i, keys[i].key);
}

static void fingerprint_for_people(void **state)
{
    (void)state;
    assert_string_equal(key_fingerprint("abc").text, "ba78 16bf 8f01 cfea"); /* FIPS 180-2 */
}

/* ---- identity files ---- */

static char *endpoints[] = {(char *)"tcp://192.0.2.1:6464", (char *)"tcp://[2001:db8::1]:6464"};
static char *enrol_endpoints[] = {(char *)"tcp://192.0.2.1:6465"};

static void same_texts(char *const *a, size_t n_a, char *const *b, size_t n_b)
{
    assert_int_equal(n_a, n_b);
    for (size_t i = 0; i < n_a; i++)
        assert_string_equal(a[i], b[i]);
}

static void identity_written_and_read(void **state)
{
    (void)state;
    for (int of_node = 0; of_node <= 1; of_node++) {
        DEFER(secret_free) Secret *secret = secret_new(SECRET, strlen(SECRET));
        Identity identity = {.public_key = PUBLIC, .secret_key = secret, .endpoints = endpoints, .n_endpoints = 2};
        DEFER(identity_free) Identity *back = NULL;
        struct stat st;
        if (of_node) {
            identity.node = (char *)"mx1";
            memcpy(identity.controller_key, OTHER, CURVE_KEY_SIZE);
        } else {
            identity.enrol_endpoints = enrol_endpoints;
            identity.n_enrol_endpoints = 1;
        }
        good(identity_write(file, &identity));
        assert_int_equal(stat(file, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        good(identity_read(file, &back));
        assert_string_equal(back->public_key, PUBLIC);
        assert_true(secret_equal(back->secret_key, secret));
        same_texts(back->endpoints, back->n_endpoints, endpoints, 2);
        same_texts(back->enrol_endpoints, back->n_enrol_endpoints, enrol_endpoints, of_node ? 0 : 1);
        assert_string_equal(back->controller_key, of_node ? OTHER : "");
        if (of_node)
            assert_string_equal(back->node, "mx1");
        else
            assert_null(back->node);
    }
}

#define PAIR "\"public_key\": \"" PUBLIC "\", \"secret_key\": \"" SECRET "\""
#define NODE "\"node\": \"mx1\", \"controller_key\": \"" OTHER "\""
#define ENDPOINTS "\"endpoints\": [\"tcp://192.0.2.1:6464\"]"
#define ENROL "\"enrol_endpoints\": [\"tcp://192.0.2.1:6465\"]"

static const struct {
    const char *text;
    mode_t mode;
    ErrorCode code; /* 0: good */
    const char *words;
} files[] = {
    {"{" PAIR ", " NODE ", " ENDPOINTS "}", 0600, 0, NULL},
    {"{" PAIR ", " ENDPOINTS ", " ENROL "}", 0400, 0, NULL},
    {NULL, 0, ERROR_NOT_FOUND, "no such file"},
    {"{" PAIR ", " NODE ", " ENDPOINTS "}", 0640, ERROR_DENIED, "others than its owner may read it"},
    {"{" PAIR ", " NODE ", " ENDPOINTS "}", 0601, ERROR_DENIED, "others than its owner may read it"},
    {"", 0600, ERROR_DAMAGED, "line 1: no JSON"},
    {"{" PAIR ", " NODE ", ", 0600, ERROR_DAMAGED, "no JSON"},
    {"[]", 0600, ERROR_DAMAGED, "no JSON object"},
    {"{" NODE ", " ENDPOINTS "}", 0600, ERROR_DAMAGED, "public_key is missing"},
    {"{\"public_key\": \"" PUBLIC "\", " NODE ", " ENDPOINTS "}", 0600, ERROR_DAMAGED, "secret_key is missing"},
    {"{\"public_key\": \"short\", " NODE ", " ENDPOINTS "}", 0600, ERROR_DAMAGED, "public_key is no CURVE key"},
    {"{\"public_key\": \"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\", " NODE "}", 0600, ERROR_DAMAGED,
     "public_key is printed in zmq_curve(7)"},
    {"{" PAIR ", \"node\": \"\", " ENDPOINTS "}", 0600, ERROR_DAMAGED, "node is no name"},
    {"{" PAIR ", \"node\": 7, " ENDPOINTS "}", 0600, ERROR_DAMAGED, "node is no name"},
    {"{" PAIR ", \"node\": \"mx1\", " ENDPOINTS "}", 0600, ERROR_DAMAGED, "controller_key is missing"},
    {"{" PAIR ", " NODE "}", 0600, ERROR_DAMAGED, "endpoints is missing"},
    {"{" PAIR ", " NODE ", \"endpoints\": []}", 0600, ERROR_DAMAGED, "endpoints has 0 items: write 1 to 64"},
    {"{" PAIR ", " NODE ", \"endpoints\": [\"tcp://x\"]}", 0600, ERROR_DAMAGED,
     "endpoints[0]: write tcp://ADDRESS:PORT"},
    {"{" PAIR ", " NODE ", \"endpoints\": [7]}", 0600, ERROR_DAMAGED, "endpoints[0]: write tcp://ADDRESS:PORT"},
    {"{" PAIR ", " NODE ", \"endpoints\": [\"ipc:///tmp/x\"]}", 0600, ERROR_DAMAGED, "endpoints[0]: write tcp://"},
    {"{" PAIR ", " ENDPOINTS "}", 0600, ERROR_DAMAGED, "enrol_endpoints is missing"},
    {"{" PAIR ", " NODE ", " ENDPOINTS ", " ENROL "}", 0600, ERROR_DAMAGED, "key 'enrol_endpoints' is not known"},
    {"{" PAIR ", " NODE ", " ENDPOINTS ", " ENDPOINTS "}", 0600, ERROR_DAMAGED, "line 1: no JSON"},
};

static void identity_files_that_are_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        DEFER(identity_free) Identity *identity = NULL;
        unlink(file);
        if (files[i].text)
            good(file_write(file, files[i].text, strlen(files[i].text), files[i].mode, (gid_t)-1));
        Error *err = identity_read(file, &identity);
        if (!files[i].code && err)
            fail_msg("row %zu: %s", i, err->what);
        if (files[i].code && !err)
            fail_msg("row %zu: no error", i);
        if (err && (err->code != files[i].code || !strstr(err->what, files[i].words) || !strstr(err->what, file)))
            fail_msg("row %zu: %s: %s", i, error_code_name(err->code), err->what);
        if (err && strstr(err->what, SECRET))
            fail_msg("row %zu: the secret is in the words: %s", i, err->what);
        assert_true(err ? !identity : identity != NULL);
        error_free(&err);
    }
}

/* ---- tokens ---- */

static void token_fill(Mail__TokenText *token)
{
    static uint8_t secret[32] = {0xfb, 0xff, 0xfe};

    mail__token_text__init(token);
    token->node = (char *)"mx1";
    token->endpoints = endpoints;
    token->n_endpoints = 2;
    token->enrol_endpoints = enrol_endpoints;
    token->n_enrol_endpoints = 1;
    token->controller_key = (char *)PUBLIC;
    token->has_secret = true;
    token->secret = (ProtobufCBinaryData){sizeof secret, secret};
}

static void token_written_and_read(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "ab", "abc", "abcd"}; /* every length modulo 3 */

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Mail__TokenText token;
        DEFER(token_free) Mail__TokenText *back = NULL;
        token_fill(&token);
        token.node = (char *)names[i];
        DEFER(xfree) char *text = token_text(&token);
        if (strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != strlen(text))
            fail_msg("row %zu: no base64url: %s", i, text);
        good(token_read(text, &back));
        assert_string_equal(back->node, names[i]);
        assert_string_equal(back->controller_key, PUBLIC);
        same_texts(back->endpoints, back->n_endpoints, endpoints, 2);
        same_texts(back->enrol_endpoints, back->n_enrol_endpoints, enrol_endpoints, 1);
        assert_int_equal(back->secret.len, 32);
        assert_memory_equal(back->secret.data, token.secret.data, 32);
    }
}

static void unnamed(Mail__TokenText *token)
{
    token->node = NULL;
}
static void named_like_a_path(Mail__TokenText *token)
{
    token->node = (char *)"../mx1";
}
static void without_endpoints(Mail__TokenText *token)
{
    token->n_endpoints = 0;
}
static void with_a_false_endpoint(Mail__TokenText *token)
{
    static char *false_ones[] = {(char *)"tcp://192.0.2.1:6465;x"};
    token->enrol_endpoints = false_ones;
}
static void without_key(Mail__TokenText *token)
{
    token->controller_key = NULL;
}
static void with_a_false_key(Mail__TokenText *token)
{
    token->controller_key = (char *)"x";
}
static void with_a_short_secret(Mail__TokenText *token)
{
    token->secret.len = 31;
}

static const struct {
    void (*spoil)(Mail__TokenText *token);
    const char *words;
} spoilt[] = {
    {unnamed, "token: the node's name is missing or wrong"},
    {named_like_a_path, "token: the node's name is missing or wrong"},
    {without_endpoints, "token: the controller's addresses are missing or wrong"},
    {with_a_false_endpoint, "token: the addresses for enrolment are missing or wrong"},
    {without_key, "token: the controller's key is missing or wrong"},
    {with_a_false_key, "token: the controller's key is missing or wrong"},
    {with_a_short_secret, "token: the secret is missing or wrong"},
};

static void refused(const char *text, const char *words, size_t row)
{
    Mail__TokenText *token = NULL;

    Error *err = token_read(text, &token);
    if (!err || err->code != ERROR_INVALID || strcmp(err->what, words) != 0)
        fail_msg("row %zu: %s", row, err ? err->what : "no error");
    error_free(&err);
    assert_null(token);
}

static void tokens_that_lack_something(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof spoilt / sizeof *spoilt; i++) {
        Mail__TokenText token;
        token_fill(&token);
        spoilt[i].spoil(&token);
        DEFER(xfree) char *text = token_text(&token);
        refused(text, spoilt[i].words, i);
    }
}

static void texts_that_are_no_token(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "x", "====", "!!!!", "CgNteDE=", "CgNt eDE", "CgNteDF", "_____"};
    Mail__TokenText token;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        refused(texts[i], "this is no token, or a part of one", i);
    token_fill(&token);
    DEFER(xfree) char *text = token_text(&token);
    for (size_t len = strlen(text) - 1; len > 0; len--) { /* cut off in copying */
        Mail__TokenText *part = NULL;
        text[len] = '\0';
        Error *err = token_read(text, &part);
        if (!err)
            fail_msg("%zu characters of it are taken", len);
        error_free(&err);
    }
    DEFER(xfree) char *large = xmalloc(20000);
    memset(large, 'A', 19999);
    large[19999] = '\0';
    refused(large, "token: over 16384 characters", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_valid_and_published),
        cmocka_unit_test(fingerprint_for_people),
        cmocka_unit_test_setup_teardown(identity_written_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(identity_files_that_are_none, setup, teardown),
        cmocka_unit_test(token_written_and_read),
        cmocka_unit_test(tokens_that_lack_something),
        cmocka_unit_test(texts_that_are_no_token),
    };
    return cmocka_run_group_tests_name("seal/keys", tests, NULL, NULL);
}

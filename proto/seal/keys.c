#include "seal/keys.h"

#include "base/alloc.h"
#include "model/curve_key.h"
#include "seal/endpoint.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_LEN = CURVE_KEY_SIZE - 1, GROUP_LEN = 5, TOKEN_TEXT_MAX = 16 * 1024, TOKEN_SECRET_SIZE = 32 };
enum { TOKEN_NODE_MAX = 63 };

/* ---- keys ---- */

/* ZeroMQ RFC 32/Z85: five characters for four octets, so a group may not be over 2^32 - 1. */
bool curve_key_valid(const char *key)
{
    static const char digits[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

    if (strlen(key) != KEY_LEN)
        return false;
    for (const char *group = key; *group; group += GROUP_LEN) {
        uint64_t value = 0;
        for (int i = 0; i < GROUP_LEN; i++) {
            const char *digit = strchr(digits, group[i]);
            if (!digit)
                return false;
            value = value * (sizeof digits - 1) + (uint64_t)(digit - digits);
        }
        if (value > UINT32_MAX)
            return false;
    }
    return true;
}

bool curve_key_published(const char *key)
{
    return curve_key_is_published(key);
}

Fingerprint key_fingerprint(const char *key)
{
    Fingerprint print;
    Digest digest = digest_of(key, strlen(key));
    const uint8_t *o = digest.octets;

    snprintf(print.text, sizeof print.text, "%02x%02x %02x%02x %02x%02x %02x%02x", o[0], o[1], o[2], o[3], o[4], o[5],
             o[6], o[7]);
    return print;
}

/* ---- base64url without padding (RFC 4648 5) ---- */

static char *base64url(const uint8_t *data, size_t size)
{
    size_t room = (size + 2) / 3 * 4 + 1;
    char *text = xmalloc(room);
    int len = EVP_EncodeBlock((unsigned char *)text, data, (int)size);

    while (len > 0 && text[len - 1] == '=')
        text[--len] = '\0';
    for (char *c = text; *c; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    return text;
}

/* False: not what base64url() would have written.  *ret_data is owned by the caller in either case. */
static bool base64url_read(const char *text, uint8_t **ret_data, size_t *ret_size)
{
    size_t len = strlen(text), whole = (len + 3) / 4 * 4;
    DEFER(xfree) char *padded = xcalloc(1, whole + 1);

    *ret_data = xcalloc(1, whole + 1);
    for (size_t i = 0; i < whole; i++)
        padded[i] = i >= len ? '=' : text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
    int got = strpbrk(text, "+/= \t\r\n") ? -1 : EVP_DecodeBlock(*ret_data, (const unsigned char *)padded, (int)whole);
    wipe(padded, whole);
    if (got < 0)
        return false;
    *ret_size = (size_t)got - (whole - len); /* EVP_DecodeBlock counts the padding as octets */
    DEFER(xfree) char *again = base64url(*ret_data, *ret_size);
    bool same = strcmp(again, text) == 0;
    wipe(again, strlen(again));
    return same;
}

/* ---- the join token ---- */

char *token_text(const Mail__TokenText *token)
{
    size_t size = mail__token_text__get_packed_size(token);
    DEFER(xfree) uint8_t *packed = xmalloc(size + 1);

    mail__token_text__pack(token, packed);
    char *text = base64url(packed, size);
    wipe(packed, size);
    return text;
}

static bool node_name_fits(const char *name)
{
    size_t len = name ? strlen(name) : 0;

    return len > 0 && len <= TOKEN_NODE_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static bool endpoints_fit(char *const *endpoints, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!endpoint_valid(endpoints[i]))
            return false;
    return n > 0 && n <= ENDPOINTS_MAX;
}

/* NULL: all is there, and looks as it should. */
static const char *token_lacks(const Mail__TokenText *token)
{
    if (!node_name_fits(token->node))
        return "the node's name is";
    if (!endpoints_fit(token->endpoints, token->n_endpoints))
        return "the controller's addresses are";
    if (!endpoints_fit(token->enrol_endpoints, token->n_enrol_endpoints))
        return "the addresses for enrolment are";
    if (!token->controller_key || !curve_key_valid(token->controller_key))
        return "the controller's key is";
    if (!token->has_secret || token->secret.len != TOKEN_SECRET_SIZE)
        return "the secret is";
    return NULL;
}

Error *token_read(const char *text, Mail__TokenText **ret_token)
{
    DEFER(token_free) Mail__TokenText *token = NULL;
    DEFER(xfree) uint8_t *packed = NULL;
    size_t size = 0;

    if (strlen(text) > TOKEN_TEXT_MAX)
        return error_new(ERROR_INVALID, "token: over %d characters", (int)TOKEN_TEXT_MAX);
    bool read = *text && base64url_read(text, &packed, &size);
    if (read)
        token = mail__token_text__unpack(NULL, size, packed);
    if (packed)
        wipe(packed, size);
    if (!token)
        return error_new(ERROR_INVALID, "this is no token, or a part of one");
    const char *lacks = token_lacks(token);
    if (lacks)
        return error_new(ERROR_INVALID, "token: %s missing or wrong", lacks);
    *ret_token = token;
    token = NULL;
    return NULL;
}

void token_free(Mail__TokenText **token)
{
    if (!*token)
        return;
    if ((*token)->secret.data)
        wipe((*token)->secret.data, (*token)->secret.len);
    mail__token_text__free_unpacked(*token, NULL);
    *token = NULL;
}

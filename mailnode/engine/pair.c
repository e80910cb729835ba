#include "engine/pair.h"

#include "base/alloc.h"
#include "seal/digest.h"
#include "seal/x509.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct Chain509 {
    X509 *items[PAIR_CHAIN_MAX];
    size_t n;
} Chain509;

static void chain_done(Chain509 *chain)
{
    for (size_t i = 0; i < chain->n; i++)
        X509_free(chain->items[i]);
    chain->n = 0;
}

static void key_free(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
    *key = NULL;
}

static void bio_done(BIO **bio)
{
    BIO_free_all(*bio);
    *bio = NULL;
}

static void tls_free(SSL_CTX **tls)
{
    SSL_CTX_free(*tls);
    *tls = NULL;
}

static void x509_done(X509 **x)
{
    X509_free(*x);
    *x = NULL;
}

void pair_done(Pair *pair)
{
    if (pair->key.data)
        OPENSSL_cleanse(pair->key.data, pair->key.room);
    buf_done(&pair->key);
    buf_done(&pair->certificates);
    *pair = (Pair){0};
}

/* The library's own words, and its queue is empty again. */
static const char *library_words(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *words = code ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    return words ? words : "no reason given";
}

/* Where the name has one, its CN; else all of it. */
static void name_text(const X509_NAME *name, char *out, size_t size)
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    unsigned char *text = NULL;

    out[0] = '\0';
    if (at >= 0 && ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at))) >= 0)
        snprintf(out, size, "%s", (char *)text);
    else
        X509_NAME_oneline(name, out, (int)size);
    OPENSSL_free(text);
}

static Error *certificates_parse(const Buf *text, Chain509 *chain)
{
    DEFER(bio_done) BIO *bio = BIO_new_mem_buf(text->data, (int)text->size);

    ERR_clear_error();
    for (;;) {
        X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (!x)
            break;
        if (chain->n == PAIR_CHAIN_MAX) {
            X509_free(x);
            return error_new(ERROR_INVALID, "more than %d certificates in one file", PAIR_CHAIN_MAX);
        }
        chain->items[chain->n++] = x;
    }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    const char *words = library_words();
    if (!at_end)
        return error_new(ERROR_INVALID, "certificate %zu does not read: %s", chain->n + 1, words);
    if (!chain->n)
        return error_new(ERROR_INVALID, "no certificate in PEM form ('-----BEGIN CERTIFICATE-----')");
    return NULL;
}

static size_t count_of(const Buf *text, const char *word)
{
    const uint8_t *at = text->data, *end = text->data + text->size;
    size_t n = 0;

    while (at && at < end && (at = memmem(at, (size_t)(end - at), word, strlen(word))) != NULL) {
        n++;
        at += strlen(word);
    }
    return n;
}

/* Instead of the library's own, which asks on the terminal. */
static int no_password(char *out, int size, int writing, void *context)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)context;
    return 0;
}

static Error *key_parse(const Buf *text, EVP_PKEY **ret_key)
{
    size_t n = count_of(text, "PRIVATE KEY-----") / 2; /* BEGIN and END */

    if (count_of(text, "ENCRYPTED"))
        return error_hint(error_new(ERROR_INVALID, "the key is encrypted: no daemon can be asked for its password"),
                          "openssl pkey -in KEY -out KEY.plain");
    if (n > 1)
        return error_new(ERROR_INVALID, "%zu private keys in one file: one is wanted", n);

    DEFER(bio_done) BIO *bio = BIO_new_mem_buf(text->data, (int)text->size);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    if (!key) {
        const char *words = library_words();
        return n ? error_new(ERROR_INVALID, "the key does not read: %s", words)
                 : error_new(ERROR_INVALID, "no private key in PEM form ('-----BEGIN PRIVATE KEY-----')");
    }
    *ret_key = key;
    return NULL;
}

static bool issued(const X509 *issuer, X509 *subject)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    bool yes = X509_check_issued((X509 *)issuer, subject) == X509_V_OK && key && X509_verify(subject, key) == 1;

    ERR_clear_error();
    return yes;
}

static bool is_root(X509 *x)
{
    bool yes = X509_self_signed(x, 0) == 1;

    ERR_clear_error();
    return yes;
}

static X509 *taken(Chain509 *from, size_t index)
{
    X509 *x = from->items[index];

    memmove(&from->items[index], &from->items[index + 1], (from->n - index - 1) * sizeof(X509 *));
    from->n--;
    return x;
}

/* Own certificate first, then who issued it and so on; roots are left behind, which nobody needs to be sent. */
static Error *chain_order(Chain509 *given, const EVP_PKEY *key, Chain509 *out)
{
    size_t own = 0;

    while (own < given->n && X509_check_private_key(given->items[own], key) != 1)
        own++;
    ERR_clear_error();
    if (own == given->n)
        return error_hint(error_new(ERROR_INVALID, "certificate and key do not match"),
                          "set follow-certificate and follow-key to files that were made together");
    out->items[out->n++] = taken(given, own);
    for (size_t i = 0; i < given->n;) {
        X509 *last = out->items[out->n - 1];
        if (is_root(last) || !issued(given->items[i], last)) {
            i++;
            continue;
        }
        out->items[out->n++] = taken(given, i);
        i = 0;
    }
    for (size_t i = 0; i < given->n; i++) {
        char name[128];
        bool twice = X509_cmp(given->items[i], out->items[0]) == 0;
        if (twice || is_root(given->items[i]))
            continue;
        name_text(X509_get_subject_name(given->items[i]), name, sizeof name);
        return error_new(ERROR_INVALID, "certificate '%s' does not belong to the chain", name);
    }
    while (out->n > 1 && is_root(out->items[out->n - 1]))
        X509_free(out->items[--out->n]);
    return NULL;
}

static int64_t seconds_of(const ASN1_TIME *at)
{
    struct tm tm = {0};

    return ASN1_TIME_to_tm(at, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void date_text(int64_t seconds, char out[24])
{
    time_t at = (time_t)seconds;
    struct tm tm;

    gmtime_r(&at, &tm);
    strftime(out, 24, "%Y-%m-%d %H:%M UTC", &tm);
}

static Error *times_check(const X509 *x, int64_t now)
{
    int64_t begins = seconds_of(X509_get0_notBefore(x)), ends = seconds_of(X509_get0_notAfter(x));
    char name[128], date[24];

    name_text(X509_get_subject_name(x), name, sizeof name);
    if (begins > now) {
        date_text(begins, date);
        return error_new(ERROR_INVALID, "certificate '%s' is not valid before %s", name, date);
    }
    if (ends <= now) {
        date_text(ends, date);
        return error_new(ERROR_INVALID, "certificate '%s' ended at %s", name, date);
    }
    return NULL;
}

/* Would a daemon of this machine serve it?  Its own rules (least key size, digests) are those of the TLS library. */
static Error *library_check(const Chain509 *chain, EVP_PKEY *key)
{
    DEFER(tls_free) SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    bool good = tls && SSL_CTX_use_certificate(tls, chain->items[0]) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1;

    for (size_t i = 1; good && i < chain->n; i++)
        good = SSL_CTX_add1_chain_cert(tls, chain->items[i]) == 1;
    const char *words = library_words();
    return good ? NULL : error_new(ERROR_INVALID, "the TLS library refuses the pair: %s", words);
}

static void bio_into(BIO *bio, Buf *out)
{
    char *data = NULL;
    long size = BIO_get_mem_data(bio, &data);

    buf_append(out, data, (size_t)size);
}

static void pair_fill(const Chain509 *chain, const EVP_PKEY *key, Pair *pair)
{
    DEFER(bio_done) BIO *pem = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_secmem());
    DEFER(buf_done) Buf der = {0};

    for (size_t i = 0; i < chain->n; i++) {
        unsigned char *octets = NULL;
        int size = i2d_X509(chain->items[i], &octets);
        int64_t ends = seconds_of(X509_get0_notAfter(chain->items[i]));
        buf_append(&der, octets, size > 0 ? (size_t)size : 0);
        OPENSSL_free(octets);
        PEM_write_bio_X509(pem, chain->items[i]);
        if (i == 0 || ends < pair->ends)
            pair->ends = ends;
    }
    PEM_write_bio_PKCS8PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL);
    bio_into(pem, &pair->certificates);
    bio_into(secret, &pair->key);
    Digest digest = digest_of(der.data, der.size);
    char hex[DIGEST_HEX_SIZE];
    digest_hex(&digest, hex);
    snprintf(pair->name, sizeof pair->name, "%.*s", PAIR_NAME_SIZE - 1, hex);
    if (is_root(chain->items[0]))
        snprintf(pair->issuer, sizeof pair->issuer, "self-signed");
    else
        name_text(X509_get_issuer_name(chain->items[0]), pair->issuer, sizeof pair->issuer);
}

Error *pair_read(const Buf *certificates, const Buf *key_text, int64_t now, Pair *ret_pair)
{
    DEFER(chain_done) Chain509 given = {0}, chain = {0};
    DEFER(key_free) EVP_PKEY *key = NULL;
    Pair pair = {0};

    Error *err = certificates_parse(certificates, &given);
    if (!err)
        err = key_parse(key_text, &key);
    if (!err)
        err = chain_order(&given, key, &chain);
    for (size_t i = 0; i < chain.n && !err && now; i++)
        err = times_check(chain.items[i], now);
    if (!err)
        err = library_check(&chain, key);
    if (err)
        return err;
    pair_fill(&chain, key, &pair);
    *ret_pair = pair;
    return NULL;
}

/* RFC 5280 A.1: a CN has at most 64 characters; the name that counts is the one in subjectAltName. */
static bool subject_set(X509 *x, const char *hostname)
{
    X509_NAME *name = X509_get_subject_name(x);
    char cn[65];

    snprintf(cn, sizeof cn, "%.64s", hostname);
    return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, (unsigned char *)cn, -1, -1, 0) == 1 &&
           X509_set_issuer_name(x, name) == 1;
}

static bool certificate_fill(X509 *x, EVP_PKEY *key, const char *hostname, int64_t begins, int64_t ends)
{
    DEFER(xfree) char *names = xasprintf("DNS:%s", hostname);

    return X509_set_version(x, X509_VERSION_3) == 1 && x509_serial_set(x) && subject_set(x, hostname) &&
           ASN1_TIME_set(X509_getm_notBefore(x), (time_t)begins) &&
           ASN1_TIME_set(X509_getm_notAfter(x), (time_t)ends) && X509_set_pubkey(x, key) == 1 &&
           x509_extension_add(x, NID_basic_constraints, "critical,CA:FALSE") &&
           x509_extension_add(x, NID_key_usage, "critical,digitalSignature") &&
           x509_extension_add(x, NID_ext_key_usage, "serverAuth") &&
           x509_extension_add(x, NID_subject_alt_name, names) && X509_sign(x, key, EVP_sha256()) > 0;
}

Error *pair_make(const char *hostname, int64_t begins, int64_t ends, Pair *ret_pair)
{
    DEFER(key_free) EVP_PKEY *key = EVP_EC_gen("P-256");
    DEFER(x509_done) X509 *x = X509_new();
    Pair pair = {0};

    if (!key || !x || !certificate_fill(x, key, hostname, begins, ends))
        return error_new(ERROR_SYSTEM, "self-signed certificate for %s: %s", hostname, library_words());
    pair_fill(&(Chain509){.items = {x}, .n = 1}, key, &pair);
    *ret_pair = pair;
    return NULL;
}

bool pair_covers(const Pair *pair, const char *hostname)
{
    DEFER(bio_done) BIO *bio = BIO_new_mem_buf(pair->certificates.data, (int)pair->certificates.size);
    DEFER(x509_done) X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    bool covers = x && X509_check_host(x, hostname, 0, 0, NULL) == 1;

    ERR_clear_error();
    return covers;
}

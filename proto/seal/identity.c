#include "base/alloc.h"
#include "base/path.h"
#include "seal/endpoint.h"
#include "seal/keys.h"

#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX = 64 * 1024 };

static void texts_free(char ***texts, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        free((*texts)[i]);
    free(*texts);
    *texts = NULL;
    *n = 0;
}

void identity_free(Identity **identity)
{
    if (!*identity)
        return;
    secret_free(&(*identity)->secret_key);
    free((*identity)->node);
    texts_free(&(*identity)->endpoints, &(*identity)->n_endpoints);
    texts_free(&(*identity)->enrol_endpoints, &(*identity)->n_enrol_endpoints);
    free(*identity);
    *identity = NULL;
}

/* ---- jansson's memory, which holds the secret key for a while ---- */

static void wipe_and_free(void *data)
{
    if (data)
        wipe(data, malloc_usable_size(data));
    free(data);
}

/* Both sets are malloc's: what was allocated under one may be freed under the other. */
static void json_wiping(bool on)
{
    json_set_alloc_funcs(malloc, on ? wipe_and_free : free);
}

static void json_done(json_t **root)
{
    json_decref(*root);
    *root = NULL;
}

/* ---- reading ---- */

static Error *keys_known(json_t *root, bool of_node)
{
    static const char *const controller[] = {"secret_key", "public_key", "endpoints", "enrol_endpoints", NULL};
    static const char *const node[] = {"secret_key", "public_key", "endpoints", "node", "controller_key", NULL};
    const char *const *known = of_node ? node : controller;
    const char *key;
    json_t *value;

    json_object_foreach(root, key, value)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return error_new(ERROR_DAMAGED, "key '%s' is not known", key);
    }
    return NULL;
}

static Error *curve_key_of(json_t *root, const char *key, char ret_text[CURVE_KEY_SIZE])
{
    const char *text = json_string_value(json_object_get(root, key));

    if (!text)
        return error_new(ERROR_DAMAGED, "%s is missing", key);
    if (!curve_key_valid(text))
        return error_new(ERROR_DAMAGED, "%s is no CURVE key: 40 characters of Z85", key);
    if (curve_key_published(text))
        return error_new(ERROR_DAMAGED, "%s is printed in zmq_curve(7) and known to everybody", key);
    memcpy(ret_text, text, CURVE_KEY_SIZE);
    return NULL;
}

static Error *pair_of(json_t *root, Identity *identity)
{
    char secret_key[CURVE_KEY_SIZE];

    Error *err = curve_key_of(root, "public_key", identity->public_key);
    if (!err)
        err = curve_key_of(root, "secret_key", secret_key);
    if (err)
        return err;
    identity->secret_key = secret_new(secret_key, CURVE_KEY_SIZE - 1);
    wipe(secret_key, sizeof secret_key);
    return NULL;
}

static Error *endpoints_of(json_t *root, const char *key, char ***ret_texts, size_t *ret_n)
{
    json_t *list = json_object_get(root, key), *item;
    size_t i;

    if (!json_is_array(list))
        return error_new(ERROR_DAMAGED, "%s is missing", key);
    if (json_array_size(list) == 0 || json_array_size(list) > ENDPOINTS_MAX)
        return error_new(ERROR_DAMAGED, "%s has %zu items: write 1 to %d", key, json_array_size(list),
                         (int)ENDPOINTS_MAX);
    json_array_foreach(list, i, item)
    {
        const char *text = json_string_value(item);
        if (!text || !endpoint_valid(text))
            return error_new(ERROR_DAMAGED, "%s[%zu]: write tcp://ADDRESS:PORT", key, i);
    }
    *ret_texts = xcalloc(json_array_size(list), sizeof **ret_texts);
    *ret_n = json_array_size(list);
    json_array_foreach(list, i, item)(*ret_texts)[i] = xstrdup(json_string_value(item));
    return NULL;
}

static Error *node_of(json_t *root, Identity *identity)
{
    const char *node = json_string_value(json_object_get(root, "node"));

    if (!node || !*node)
        return error_new(ERROR_DAMAGED, "node is no name");
    identity->node = xstrdup(node);
    return curve_key_of(root, "controller_key", identity->controller_key);
}

static Error *parse(const Buf *content, Identity *identity)
{
    json_error_t where;
    DEFER(json_done)
    json_t *root = json_loadb((const char *)content->data, content->size, JSON_REJECT_DUPLICATES, &where);

    if (!root) /* jansson's words quote the place in the text, which may be the key */
        return error_new(ERROR_DAMAGED, "line %d: no JSON", where.line);
    if (!json_is_object(root))
        return error_new(ERROR_DAMAGED, "no JSON object");
    bool of_node = json_object_get(root, "node") != NULL;
    Error *err = keys_known(root, of_node);
    if (!err)
        err = pair_of(root, identity);
    if (!err)
        err = endpoints_of(root, "endpoints", &identity->endpoints, &identity->n_endpoints);
    if (!err && of_node)
        err = node_of(root, identity);
    if (!err && !of_node)
        err = endpoints_of(root, "enrol_endpoints", &identity->enrol_endpoints, &identity->n_enrol_endpoints);
    return err;
}

Error *identity_read(const char *path, Identity **ret_identity)
{
    DEFER(identity_free) Identity *identity = xcalloc(1, sizeof *identity);
    DEFER(buf_done) Buf content = {.data = NULL};
    struct stat st;

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & (S_IRWXG | S_IRWXO)))
        return error_hint(error_new(ERROR_DENIED, "%s: others than its owner may read it", path), "chmod 600 %s", path);
    buf_reserve(&content, FILE_MAX); /* at once: growing would leave copies behind */
    Error *err = file_read(path, FILE_MAX, &content);
    if (err && err->code == ERROR_INVALID)
        err->code = ERROR_DAMAGED; /* larger, or no file at all */
    if (!err) {
        json_wiping(true);
        err = error_in(parse(&content, identity), "%s", path);
        json_wiping(false);
    }
    wipe(content.data, content.size);
    if (err)
        return err;
    *ret_identity = identity;
    identity = NULL;
    return NULL;
}

/* ---- writing ---- */

static json_t *list_of(char *const *texts, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(texts[i]));
    return list;
}

static char *print(const Identity *identity)
{
    DEFER(json_done) json_t *root = json_object();

    json_object_set_new(root, "secret_key", json_string(secret_text(identity->secret_key)));
    json_object_set_new(root, "public_key", json_string(identity->public_key));
    if (identity->node) {
        json_object_set_new(root, "node", json_string(identity->node));
        json_object_set_new(root, "controller_key", json_string(identity->controller_key));
    }
    json_object_set_new(root, "endpoints", list_of(identity->endpoints, identity->n_endpoints));
    if (!identity->node)
        json_object_set_new(root, "enrol_endpoints", list_of(identity->enrol_endpoints, identity->n_enrol_endpoints));
    return json_dumps(root, JSON_INDENT(2));
}

Error *identity_write(const char *path, const Identity *identity)
{
    json_wiping(true);
    DEFER(xfree) char *text = print(identity);
    json_wiping(false);

    if (!text)
        return error_new(ERROR_INVALID, "%s: an identity that is no UTF-8", path);
    size_t len = strlen(text);
    text[len] = '\n'; /* in place of the NUL: a copy would be one more place to wipe */
    Error *err = file_write(path, text, len + 1, S_IRUSR | S_IWUSR, (gid_t)-1);
    wipe(text, len);
    return err;
}

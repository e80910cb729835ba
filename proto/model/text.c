#include "model/text_inside.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/utf8.h"
#include "model/shown.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

Error *text_error_at(const TextReader *reader, size_t line, Error *err)
{
    return error_in(err, "%s:%zu", reader->file, line);
}

/* ---- the outer keys ------------------------------------------------------------- */

static bool text_is(const char *text, size_t size, const char *wanted)
{
    return size == strlen(wanted) && memcmp(text, wanted, size) == 0;
}

static char *shown_part(const char *text, size_t size)
{
    DEFER(xfree) char *copy = xstrndup(text, size);
    return shown(copy);
}

Error *text_outer_key(TextReader *reader, size_t line, const char *key, size_t size, TextKey *ret_key)
{
    TextKey found = text_is(key, size, "version")   ? TEXT_KEY_VERSION
                    : text_is(key, size, "secrets") ? TEXT_KEY_SECRETS
                                                    : TEXT_KEY_ITEMS;
    bool *seen = found == TEXT_KEY_VERSION   ? &reader->has_version
                 : found == TEXT_KEY_SECRETS ? &reader->secrets
                                             : &reader->has_items;

    if (found == TEXT_KEY_ITEMS && !text_is(key, size, "items")) {
        DEFER(xfree) char *name = shown_part(key, size);
        return text_error_at(reader, line,
                             error_new(ERROR_INVALID, "'%s': only version, secrets and items may be here", name));
    }
    if (*seen)
        return text_error_at(reader, line, error_new(ERROR_INVALID, "%.*s is there twice", (int)size, key));
    *seen = true;
    *ret_key = found;
    return NULL;
}

/* Before the items: whoever reads them knows by then what a value of a secret field means. */
Error *text_secrets(TextReader *reader, size_t line, const char *text, size_t size)
{
    if (!text_is(text, size, "stated"))
        return text_error_at(reader, line, error_new(ERROR_INVALID, "secrets: write secrets: stated"));
    if (reader->has_items)
        return text_error_at(reader, line, error_new(ERROR_INVALID, "secrets: belongs before items"));
    if (!reader->secret)
        return text_error_at(reader, line, error_new(ERROR_INVALID, "secrets: none may be stated here"));
    return NULL;
}

/* What a parser says of a place may be a piece of it. */
Error *text_no_syntax(const TextReader *reader, size_t line, const char *what, const char *words)
{
    Error *err =
        reader->secrets ? error_new(ERROR_INVALID, "%s", what) : error_new(ERROR_INVALID, "%s: %s", what, words);

    return text_error_at(reader, line, err);
}

Error *text_version(const TextReader *reader, size_t line, const char *text, size_t size)
{
    if (text_is(text, size, "1"))
        return NULL;
    DEFER(xfree) char *version = shown_part(text, size);
    return text_error_at(reader, line, error_new(ERROR_INVALID, "version %s: write version: 1", version));
}

Error *text_outer_end(const TextReader *reader, size_t line)
{
    const char *missing = !reader->has_version ? "version" : !reader->has_items ? "items" : NULL;

    if (!missing)
        return NULL;
    return text_error_at(reader, line, error_new(ERROR_INVALID, "%s is missing", missing));
}

/* ---- octets ----------------------------------------------------------------------- */

static bool starts_with(const char *data, size_t size, const char *start)
{
    return size >= strlen(start) && memcmp(data, start, strlen(start)) == 0;
}

/* Both grammars' parsers would say it in their own words, or not at all. */
static Error *octets_check(const TextReader *reader, const char *data, size_t size)
{
    size_t line = 1;

    if (starts_with(data, size, "\xef\xbb\xbf"))
        return text_error_at(reader, 1, error_new(ERROR_INVALID, "begins with a BOM (U+FEFF): save it without"));
    if (starts_with(data, size, "\xff\xfe") || starts_with(data, size, "\xfe\xff"))
        return text_error_at(reader, 1, error_new(ERROR_INVALID, "begins with a BOM of UTF-16: save it as UTF-8"));
    for (size_t at = 0; at < size;) {
        size_t len = utf8_char_len(data + at, size - at);
        if (!len)
            return text_error_at(reader, line, error_new(ERROR_INVALID, "not UTF-8"));
        if (!data[at])
            return text_error_at(reader, line, error_new(ERROR_INVALID, "holds a NUL"));
        line += data[at] == '\n';
        at += len;
    }
    return NULL;
}

static size_t first_sign(const char *data, size_t size)
{
    size_t at = 0;

    while (at < size && strchr(" \t\r\n", data[at]))
        at++;
    return at;
}

Error *text_read_octets(const char *file, const char *data, size_t size, TextItem *each, TextSecretHeard *secret,
                        void *context)
{
    TextReader reader = {.file = file, .each = each, .secret = secret, .context = context};

    Error *err = octets_check(&reader, data, size);
    if (err)
        return err;
    size_t first = first_sign(data, size);
    if (first == size)
        return text_error_at(&reader, 1, error_new(ERROR_INVALID, "empty: version and items are missing"));
    err = data[first] == '{' ? text_read_json(&reader, data, size) : text_read_yaml(&reader, data, size);
    text_item_drop(&reader);
    return err;
}

/* ---- files ------------------------------------------------------------------------ */

static Error *too_large(const char *file)
{
    return error_new(ERROR_INVALID, "%s: larger than %d MiB", file, TEXT_FILE_MAX / 1024 / 1024);
}

/* A pipe has no size to look at: it is read until it is over the limit. */
static Error *descriptor_read(int fd, const char *file, Buf *out)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return error_in(error_system("stat"), "%s", file);
    if (S_ISREG(st.st_mode) && st.st_size > TEXT_FILE_MAX)
        return too_large(file);
    for (;;) {
        enum { CHUNK = 256 * 1024 };
        if (out->size > TEXT_FILE_MAX)
            return too_large(file);
        ssize_t got = read(fd, buf_reserve(out, CHUNK), CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_in(error_system("read"), "%s", file);
        if (got == 0)
            return NULL;
        out->size += (size_t)got;
    }
}

static Error *file_open(const char *file, int *ret_fd)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0 && errno == ENOENT)
        return error_new(ERROR_NOT_FOUND, "%s: no such file", file);
    if (fd < 0)
        return error_in(error_system("open"), "%s", file);
    *ret_fd = fd;
    return NULL;
}

Error *text_read(const char *file, TextItem *each, void *context)
{
    return text_read_secrets(file, each, NULL, context);
}

Error *text_read_secrets(const char *file, TextItem *each, TextSecretHeard *secret, void *context)
{
    DEFER(buf_done) Buf octets = {0};
    int fd = STDIN_FILENO;
    bool is_stdin = strcmp(file, "-") == 0;

    Error *err = is_stdin ? NULL : file_open(file, &fd);
    if (err)
        return err;
    err = descriptor_read(fd, file, &octets);
    if (!is_stdin)
        close(fd);
    if (err)
        return err;
    err = text_read_octets(file, buf_text(&octets), octets.size, each, secret, context);
    explicit_bzero(octets.data, octets.size);
    return err;
}

#include "engine/rendered.h"

#include "base/alloc.h"
#include "engine/daemon.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_SIZE = 512 };
static const char first_line[] = "mailnode-generation 1\n";
static const char as_it_was[] = "as-it-was"; /* what a file set read back restarts on: the digest of what it was */

void rendered_done(Rendered *rendered)
{
    buf_done(&rendered->prepare);
    fileset_free(&rendered->files);
    *rendered = (Rendered){0};
}

static void piece(Buf *out, const void *data, size_t size)
{
    buf_append(out, data, size);
    buf_append_text(out, "\n");
}

static void texts_pack(const FileSet *files, Buf *out)
{
    char hex[DIGEST_HEX_SIZE];

    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        Digest restart = fileset_restart_digest(files, daemons[id].name);
        digest_hex(&restart, hex);
        buf_printf(out, "restart %s %s\n", daemons[id].name, hex);
    }
    for (size_t i = 0; i < fileset_count(files); i++) {
        File file = fileset_file(files, i);
        buf_printf(out, "file %zu %s %s\n", file.text->size, file.group ? file.group : "-", file.path);
        piece(out, file.text->data, file.text->size);
    }
}

Digest rendered_texts(const FileSet *files)
{
    DEFER(buf_done) Buf texts = {0};

    texts_pack(files, &texts);
    return digest_of(texts.data, texts.size);
}

void rendered_pack(const Rendered *rendered, Buf *out)
{
    char hex[DIGEST_HEX_SIZE];

    buf_append_text(out, first_line);
    buf_printf(out, "certificate %s\n", rendered->certificate.text[0] ? rendered->certificate.text : "-");
    digest_hex(&rendered->overrides, hex);
    buf_printf(out, "overrides %s\n", hex);
    buf_printf(out, "objects %zu\n", rendered->prepare.size);
    piece(out, rendered->prepare.data, rendered->prepare.size);
    texts_pack(rendered->files, out);
    Digest all = digest_of(out->data, out->size);
    digest_hex(&all, hex);
    buf_printf(out, "end %s\n", hex);
}

/* ---- read back --------------------------------------------------------------------- */

typedef struct Reader {
    const uint8_t *at, *end;
    char line[LINE_SIZE];
} Reader;

static bool line_next(Reader *reader)
{
    const uint8_t *stop = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));

    if (!stop || (size_t)(stop - reader->at) >= sizeof reader->line)
        return false;
    memcpy(reader->line, reader->at, (size_t)(stop - reader->at));
    reader->line[stop - reader->at] = '\0';
    reader->at = stop + 1;
    return true;
}

/* What stands behind 'word ' in the line. */
static const char *word_rest(const Reader *reader, const char *word)
{
    size_t len = strlen(word);

    return strncmp(reader->line, word, len) == 0 && reader->line[len] == ' ' ? reader->line + len + 1 : NULL;
}

static bool piece_next(Reader *reader, size_t size, Buf *out)
{
    if ((size_t)(reader->end - reader->at) < size + 1 || reader->at[size] != '\n')
        return false;
    buf_append(out, reader->at, size);
    reader->at += size + 1;
    return true;
}

static bool path_is_safe(const char *path)
{
    return strchr(path, '/') && path[0] != '/' && !strstr(path, "..") && !strstr(path, "//");
}

static bool file_next(Reader *reader, FileSet *files)
{
    size_t size = 0;
    char group[64];
    int path_at = 0;
    File there;

    if (sscanf(reader->line, "file %zu %63s %n", &size, group, &path_at) != 2 || !path_at) /* NOLINT(cert-err34-c) */
        return false;
    const char *path = reader->line + path_at;
    if (!path_is_safe(path) || size > (size_t)(reader->end - reader->at) || fileset_find(files, path, &there))
        return false;
    return piece_next(reader, size, fileset_add(files, path, strcmp(group, "-") == 0 ? NULL : group));
}

static bool header_next(Reader *reader, Rendered *rendered)
{
    const char *certificate = line_next(reader) ? word_rest(reader, "certificate") : NULL;

    if (!certificate || strlen(certificate) >= sizeof rendered->certificate.text)
        return false;
    if (strcmp(certificate, "-") != 0)
        snprintf(rendered->certificate.text, sizeof rendered->certificate.text, "%s", certificate);
    const char *overrides = line_next(reader) ? word_rest(reader, "overrides") : NULL;
    if (!overrides || !digest_from_hex(overrides, &rendered->overrides))
        return false;
    const char *objects = line_next(reader) ? word_rest(reader, "objects") : NULL;
    size_t size = objects ? strtoul(objects, NULL, 10) : 0;
    return objects && size <= (size_t)(reader->end - reader->at) && piece_next(reader, size, &rendered->prepare);
}

static bool texts_next(Reader *reader, FileSet *files)
{
    while (reader->at < reader->end) {
        if (!line_next(reader))
            return false;
        char *name = (char *)word_rest(reader, "restart");
        char *hex = name ? strchr(name, ' ') : NULL;
        if (hex) {
            *hex++ = '\0';
            fileset_restart_on(files, name, as_it_was, hex);
        } else if (!file_next(reader, files)) {
            return false;
        }
    }
    return true;
}

/* The last line is "end HEX" over everything before it. */
static bool whole(const Buf *bytes, size_t *ret_size)
{
    enum { END_SIZE = 4 + 2 * DIGEST_SIZE + 1 };
    char hex[DIGEST_HEX_SIZE], last[END_SIZE + 1];

    if (bytes->size < sizeof first_line - 1 + END_SIZE || memcmp(bytes->data, first_line, sizeof first_line - 1) != 0)
        return false;
    size_t size = bytes->size - END_SIZE;
    Digest digest = digest_of(bytes->data, size);
    digest_hex(&digest, hex);
    snprintf(last, sizeof last, "end %s\n", hex);
    *ret_size = size;
    return memcmp(bytes->data + size, last, END_SIZE) == 0;
}

Error *rendered_unpack(const Buf *bytes, Rendered *ret_rendered)
{
    DEFER(rendered_done) Rendered rendered = {.files = fileset_new()};
    size_t size = 0;

    if (!whole(bytes, &size))
        return error_new(ERROR_DAMAGED, "does not read back");
    Reader reader = {.at = bytes->data + sizeof first_line - 1, .end = bytes->data + size};
    if (!header_next(&reader, &rendered))
        return error_new(ERROR_DAMAGED, "its head does not read back");
    const uint8_t *texts = reader.at;
    if (!texts_next(&reader, rendered.files))
        return error_new(ERROR_DAMAGED, "its files do not read back");
    rendered.texts = digest_of(texts, (size_t)(reader.end - texts));
    *ret_rendered = rendered;
    rendered = (Rendered){0};
    return NULL;
}

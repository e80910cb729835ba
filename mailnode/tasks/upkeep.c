#include "tasks/upkeep.h"

#include "base/path.h"
#include "tables/places.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UPKEEP_BYTES_MAX = 256 * 1024 };

static Path place(const char *root)
{
    return path_in(root, "%s/upkeep", &PLACE_WORK[3]);
}

/* "SECONDS WORK REPOSITORY"; NULL: not of these two. */
static bool line_is(const char *line, size_t len, const char *repository, const char *work, uint64_t *ret_seconds)
{
    char *end = NULL;
    uint64_t seconds = strtoull(line, &end, 10);
    size_t work_len = strlen(work), used = (size_t)(end - line) + work_len + 2;

    if (end == line || used > len || *end != ' ' || strncmp(end + 1, work, work_len) != 0 || end[1 + work_len] != ' ' ||
        len - used != strlen(repository) || memcmp(line + used, repository, len - used) != 0)
        return false;
    *ret_seconds = seconds;
    return true;
}

/* 0: never, as far as is known. */
static uint64_t last_of(const char *root, const char *repository, const char *work)
{
    DEFER(buf_done) Buf text = {0};
    uint64_t last = 0;

    Error *err = file_read(place(root).text, UPKEEP_BYTES_MAX, &text);
    error_free(&err);
    for (const char *line = buf_text(&text); *line;) {
        size_t len = strcspn(line, "\n");
        if (line_is(line, len, repository, work, &last))
            return last;
        line += len + (line[len] == '\n');
    }
    return 0;
}

bool upkeep_due(const char *root, const char *repository, const char *work, uint64_t every_s, uint64_t now_s)
{
    uint64_t last = last_of(root, repository, work);

    return last > now_s || now_s - last >= every_s;
}

bool upkeep_ever(const char *root, const char *repository, const char *work)
{
    return last_of(root, repository, work) != 0;
}

Error *upkeep_done(const char *root, const char *repository, const char *work, uint64_t now_s)
{
    DEFER(buf_done) Buf text = {0}, next = {0};
    uint64_t last = 0;

    Error *err = file_read(place(root).text, UPKEEP_BYTES_MAX, &text);
    error_free(&err);
    for (const char *line = buf_text(&text); *line;) {
        size_t len = strcspn(line, "\n");
        if (len && !line_is(line, len, repository, work, &last))
            buf_printf(&next, "%.*s\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
    buf_printf(&next, "%" PRIu64 " %s %s\n", now_s, work, repository);
    return file_write(place(root).text, next.data, next.size, 0600, (gid_t)-1);
}

/* What restic prints with --json, which is as hostile as who can write the repository: its list of snapshots, the lines of
 * `ls`, the lines of `backup`. */
#include "fuzz.h"

#include "base/alloc.h"
#include "tasks/restic_words.h"

#include <string.h>

static void is_refusal(const Error *err)
{
    REQUIRE(err->code == ERROR_DAMAGED);
    REQUIRE(!strchr(err->what, '\n'));
}

/* The first snapshot that begins so is it when its whole id was given, and no other ever is. */
static void choose(const ResticSnapshots *read, const ResticSnapshot *wanted)
{
    const ResticSnapshot *found = NULL;
    char digits[9];

    snprintf(digits, sizeof digits, "%s", wanted->id);
    DEFER(error_free) Error *err = restic_snapshot_choose(read, digits, 0, &found);
    REQUIRE((err == NULL) == (found != NULL));
    REQUIRE(!err || err->code == ERROR_CONFLICT);
    REQUIRE(!found || found == wanted);
}

static void snapshots(const uint8_t *data, size_t size)
{
    DEFER(restic_snapshots_done) ResticSnapshots read = {0};
    DEFER(error_free) Error *err = restic_snapshots_read((const char *)data, size, &read);
    const ResticSnapshot *latest = NULL;

    if (err) {
        is_refusal(err);
        REQUIRE(!read.list && !read.kept);
        return;
    }
    for (size_t i = 0; i < read.n; i++) {
        const ResticSnapshot *one = &read.list[i];
        uint64_t time_s = 0;
        REQUIRE(restic_id_valid(one->id));
        REQUIRE(restic_time_read(one->time_text, &time_s) && time_s == one->time_s);
        REQUIRE(i == 0 || read.list[i - 1].time_s >= one->time_s);
        for (size_t k = 0; k < one->n_tags; k++)
            REQUIRE(one->tags[k] && !one->tags[one->n_tags]);
        for (size_t k = 0; k < one->n_paths; k++)
            REQUIRE(one->paths[k] && !one->paths[one->n_paths]);
        if (i < 64)
            choose(&read, one);
    }
    DEFER(error_free) Error *none = restic_snapshot_choose(&read, "latest", 0, &latest);
    REQUIRE((none == NULL) == (read.n != 0));
    REQUIRE(none || latest == read.list);
}

static void node(const char *line, size_t size)
{
    DEFER(restic_json_free) json_t *kept = NULL;
    ResticNode node = {0};
    bool is = false;

    DEFER(error_free) Error *err = restic_node_read(line, size, &node, &is, &kept);
    REQUIRE((err == NULL) == (kept != NULL));
    if (err) {
        is_refusal(err);
        return;
    }
    REQUIRE(strchr("fdlo", node.type) && node.type);
    REQUIRE(!is || node.path[0] == '/');
    DEFER(xfree) char *pattern = restic_literal(node.path);
    REQUIRE(strlen(pattern) >= strlen(node.path));
}

static void step(const char *line, size_t size)
{
    ResticStep step = restic_step_read(line, size);
    size_t digits = strspn(step.snapshot, "0123456789abcdef");

    REQUIRE((step.kind == RESTIC_STEP_ERROR) == (step.item != NULL));
    /* It becomes the name of a file, and is shown. */
    REQUIRE(step.snapshot[digits] == '\0' && (digits == 0 || digits >= 8));
    REQUIRE(step.kind == RESTIC_STEP_SUMMARY || !digits);
    free(step.item);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data, *end = at + size;

    snapshots(data, size);
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop ? stop : end) - at);
        node(at, length);
        step(at, length);
        at += length + 1;
    }
    return 0;
}

#include "store_copy.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/path.h"
#include "seal/digest.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 30 * 1000, /* for the next part; a controller that is busy is asked again meanwhile */
    AGAIN_MS = 1000,
    INFO_MAX = 4096,
};

static const uint64_t copy_max_bytes = 4ULL << 30; /* as mail-engine takes it */

typedef enum CopyState { RESTING, ASKING, TAKING } CopyState;

struct StoreCopy {
    Link *link;
    Path held, info, coming; /* files: the copy, its last part, what is being received */
    Mail__CopyPart *last;    /* mark and info of what is held; NULL: nothing is */
    CopyState state;
    uint64_t asked; /* our question's id; 0: to be said */
    uint64_t session;
    uint32_t seq; /* of the next part */
    uint64_t size;
    int fd;
    Msec until, ask_at;
    char *trouble;
};

/* ---- what is held ---- */

static void last_set(StoreCopy *copy, Mail__CopyPart *last)
{
    if (copy->last)
        mail__copy_part__free_unpacked(copy->last, NULL);
    copy->last = last;
}

static bool is_whole(const Mail__CopyPart *part)
{
    return part && part->info && part->has_mark && part->mark.len == DIGEST_SIZE && part->info->has_revision &&
           part->info->has_time;
}

/* One without the other is nothing: it is asked for again. */
static void held_read(StoreCopy *copy)
{
    DEFER(buf_done) Buf bytes = {0};
    Error *err = access(copy->held.text, R_OK) == 0 ? file_read(copy->info.text, INFO_MAX, &bytes)
                                                    : error_new(ERROR_NOT_FOUND, "none");
    Mail__CopyPart *last = err ? NULL : mail__copy_part__unpack(NULL, bytes.size, bytes.data);

    error_free(&err);
    if (is_whole(last))
        last_set(copy, last);
    else if (last)
        mail__copy_part__free_unpacked(last, NULL);
}

StoreCopy *store_copy_new(Link *link, const char *folder)
{
    StoreCopy *copy = xcalloc(1, sizeof *copy);
    Error *err = folder_make(folder, 0700, (uid_t)-1, (gid_t)-1);

    log_stop(LOG_LEVEL_ERROR, "no folder for copies of the controller", &err);
    *copy = (StoreCopy){.link = link, .fd = -1};
    copy->held = path_in(folder, "controller");
    copy->info = path_in(folder, "controller.info");
    copy->coming = path_in(folder, "controller.coming");
    unlink(copy->coming.text);
    held_read(copy);
    return copy;
}

void store_copy_free(StoreCopy **copy)
{
    if (!*copy)
        return;
    fd_close(&(*copy)->fd);
    last_set(*copy, NULL);
    free((*copy)->trouble);
    free(*copy);
    *copy = NULL;
}

StoreCopyHeld store_copy_held(const StoreCopy *copy)
{
    return (StoreCopyHeld){.path = copy->last ? copy->held.text : NULL,
                           .info = copy->last ? copy->last->info : NULL,
                           .trouble = copy->trouble};
}

/* ---- ends ---- */

/* Takes why; NULL: what is held is the newest. */
static void settle(StoreCopy *copy, Error *why)
{
    free(copy->trouble);
    copy->trouble = why ? xstrdup(why->what) : NULL;
    error_free(&why);
    fd_close(&copy->fd);
    unlink(copy->coming.text);
    copy->state = RESTING;
}

/* Between the two steps nothing is held, and the next run asks for it. */
static Error *put_in_place(StoreCopy *copy, const Mail__CopyPart *last)
{
    Mail__CopyPart kept = *last;
    DEFER(buf_done) Buf bytes = {0};

    kept.has_octets = false;
    kept.octets = (ProtobufCBinaryData){0};
    size_t size = mail__copy_part__get_packed_size(&kept);
    mail__copy_part__pack(&kept, buf_reserve(&bytes, size + 1));
    if (size > INFO_MAX || !is_whole(&kept))
        return error_new(ERROR_INVALID, "the controller does not say what its copy holds");
    if (fsync(copy->fd) != 0)
        return error_system("%s", copy->coming.text);
    last_set(copy, NULL);
    unlink(copy->info.text);
    CRASH_POINT("agent.copy.forgotten");
    if (rename(copy->coming.text, copy->held.text) != 0)
        return error_system("%s", copy->held.text);
    CRASH_POINT("agent.copy.placed");
    Error *err = file_write(copy->info.text, bytes.data, size, 0600, (gid_t)-1);
    if (!err)
        last_set(copy, mail__copy_part__unpack(NULL, size, bytes.data));
    return err;
}

/* ---- receiving ---- */

static Error *octets_write(StoreCopy *copy, const ProtobufCBinaryData *octets)
{
    size_t done = 0;

    if (copy->fd < 0) {
        copy->fd = open(copy->coming.text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        copy->size = 0;
    }
    if (copy->fd < 0)
        return error_system("%s", copy->coming.text);
    copy->size += octets->len;
    if (copy->size > copy_max_bytes)
        return error_new(ERROR_INVALID, "the controller's copy is larger than is taken");
    while (done < octets->len) {
        ssize_t put = write(copy->fd, octets->data + done, octets->len - done);
        if (put < 0)
            return error_system("%s", copy->coming.text);
        done += (size_t)put;
    }
    return NULL;
}

/* Busy is no answer: it is asked again, as long as there is patience. */
static void refused(StoreCopy *copy, const Mail__Failure *why, Msec now)
{
    Error *err = error_of(why);

    if (err->code != ERROR_UNAVAILABLE || now + AGAIN_MS >= copy->until) {
        settle(copy, err);
        return;
    }
    error_free(&err);
    fd_close(&copy->fd);
    copy->state = ASKING;
    copy->asked = 0;
    copy->ask_at = now + AGAIN_MS;
}

static void part_take(StoreCopy *copy, const Envelope *said, Msec now)
{
    const Mail__CopyPart *part = said->copy_part;

    if (copy->state == RESTING || !copy->asked || said->in_reply_to != copy->asked)
        return; /* of a question that was given up */
    if (said->seq != copy->seq) {
        settle(copy, error_new(ERROR_UNAVAILABLE, "a part of the controller's copy was lost"));
        return;
    }
    copy->seq++;
    if (part->why) {
        refused(copy, part->why, now);
        return;
    }
    if (said->last && !part->info) { /* what we hold is what there is */
        settle(copy, copy->last ? NULL : error_new(ERROR_INVALID, "the controller says that its copy is here"));
        return;
    }
    copy->state = TAKING;
    copy->until = now + PATIENCE_MS;
    Error *err = octets_write(copy, &part->octets);
    if (!err && said->last)
        err = put_in_place(copy, part);
    if (err || said->last)
        settle(copy, err);
}

/* ---- asking ---- */

void store_copy_want(StoreCopy *copy, Msec now)
{
    if (copy->state != RESTING)
        return;
    copy->state = ASKING;
    copy->asked = 0;
    copy->ask_at = now;
    copy->until = now + PATIENCE_MS;
}

bool store_copy_settled(const StoreCopy *copy)
{
    return copy->state == RESTING;
}

static void ask(StoreCopy *copy, Msec now)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__StoreCopyRead read = MAIL__STORE_COPY_READ__INIT;

    read.has_mark = copy->last != NULL;
    if (copy->last)
        read.mark = copy->last->mark;
    envelope.body_case = MAIL__ENVELOPE__BODY_STORE_COPY_READ;
    envelope.store_copy_read = &read;
    copy->seq = 0;
    copy->session = link_session(copy->link);
    copy->asked = link_send(copy->link, &envelope) ? envelope.id : 0;
    copy->ask_at = now + AGAIN_MS;
}

void store_copy_run(StoreCopy *copy, Msec now)
{
    Envelope *said = NULL;

    while ((said = link_take(copy->link, MAIL__ENVELOPE__BODY_COPY_PART))) {
        part_take(copy, said, now);
        envelope_free(&said);
    }
    if (copy->state == RESTING)
        return;
    if (!link_up(copy->link) || (copy->asked && copy->session != link_session(copy->link)))
        settle(copy, error_new(ERROR_UNAVAILABLE, "the controller was not reached"));
    else if (now >= copy->until)
        settle(copy, error_new(ERROR_UNAVAILABLE, "the controller sent none for %d s", PATIENCE_MS / 1000));
    else if (!copy->asked && now >= copy->ask_at)
        ask(copy, now);
}

void store_copy_wait(const StoreCopy *copy, Waiter *wake)
{
    if (copy->state == RESTING)
        return;
    waiter_at(wake, copy->until);
    if (!copy->asked)
        waiter_at(wake, copy->ask_at);
}

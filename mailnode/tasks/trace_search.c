#include "tasks/trace_search.h"

#include "base/alloc.h"
#include "model/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uthash.h>

/* A message that qmgr has, and who sent it. */
typedef struct Live {
    char id[TRACE_ID_MAX + 1];
    char *from;
    UT_hash_handle hh;
} Live;

typedef struct Row {
    Attempt attempt;
    char *key; /* "ID to orig_to", "ID", or a number that no other has */
    UT_hash_handle hh;
} Row;

struct Search {
    char *from, *to;
    uint64_t since, until;
    Live *live; /* in the order in which they came */
    Row *rows;  /* what was said of last is last */
    uint64_t refusals;
    bool full;
    char when_text[15]; /* the last that was read: most lines have the time of the one before */
    uint64_t when;
};

static const char QUEUED[] = "queued", DEFERRED[] = "deferred";

Error *search_new(const SearchWish *wish, Search **ret_search)
{
    Error *err = NULL;

    if (!wish->from && !wish->to)
        return error_new(ERROR_INVALID, "trace: neither a sender nor a recipient");
    if (wish->from)
        err = error_in(sought_address_check(wish->from, true), "trace: from");
    if (!err && wish->to)
        err = error_in(sought_address_check(wish->to, false), "trace: to");
    if (!err && wish->since > wish->until)
        err = error_new(ERROR_INVALID, "trace: since is later than until");
    if (err)
        return err;
    Search *search = xcalloc(1, sizeof *search);
    search->from = wish->from ? xstrdup(strcmp(wish->from, "<>") == 0 ? "" : wish->from) : NULL;
    search->to = wish->to ? xstrdup(wish->to) : NULL;
    search->since = wish->since;
    search->until = wish->until;
    *ret_search = search;
    return NULL;
}

static void live_drop(Search *search, Live *live)
{
    HASH_DEL(search->live, live);
    free(live->from);
    free(live);
}

static void row_drop(Search *search, Row *row)
{
    HASH_DEL(search->rows, row);
    free(row->attempt.from);
    free(row->attempt.to);
    free(row->attempt.orig_to);
    free(row->attempt.words);
    free(row->key);
    free(row);
}

void search_free(Search **search)
{
    if (!*search)
        return;
    while ((*search)->live)
        live_drop(*search, (*search)->live);
    while ((*search)->rows)
        row_drop(*search, (*search)->rows);
    free((*search)->from);
    free((*search)->to);
    free(*search);
    *search = NULL;
}

bool search_full(const Search *search)
{
    return search->full;
}

/* ---- who is meant ---- */

/* The last '@' is the one before the domain: in a local part it is in quotes. */
static bool meant(const char *sought, Span address)
{
    size_t len = strlen(sought);

    if (*sought == '@')
        return address.len > len && strncasecmp(sought, address.at + address.len - len, len) == 0;
    return address.len == len && strncasecmp(sought, address.at, len) == 0;
}

static bool sender_meant(const Search *search, Span from)
{
    return !search->from || (from.at && meant(search->from, from));
}

static bool recipient_meant(const Search *search, Span to, Span orig_to)
{
    return !search->to || (to.at && meant(search->to, to)) || (orig_to.at && meant(search->to, orig_to));
}

static bool in_window(Search *search, const TraceLine *line, const struct tm *now)
{
    if (strcmp(search->when_text, line->time) != 0) {
        time_t when = trace_time(line->time, now);
        search->when = when > 0 ? (uint64_t)when : 0;
        memcpy(search->when_text, line->time, sizeof search->when_text);
    }
    return search->when >= search->since && search->when <= search->until;
}

/* ---- what is kept ---- */

static char *kept(Span span)
{
    DEFER(buf_done) Buf shown = {0};

    if (!span.at)
        return NULL;
    span_show(&shown, span, TRACE_WORDS_MAX);
    return xstrdup(buf_text(&shown));
}

static void kept_as(char **what, Span span)
{
    free(*what);
    *what = kept(span);
}

/* The row of that key as the last one, new or with what was known; the oldest goes for it. */
static Row *row_last(Search *search, const char *key)
{
    Row *row = NULL;

    HASH_FIND_STR(search->rows, key, row);
    if (row) {
        HASH_DEL(search->rows, row);
    } else {
        if (HASH_COUNT(search->rows) == TRACE_FOUND_MAX) {
            row_drop(search, search->rows);
            search->full = true;
        }
        row = xcalloc(1, sizeof *row);
        row->key = xstrdup(key);
    }
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the head that was dropped is taken for the one that is there */
    HASH_ADD_KEYPTR(hh, search->rows, row->key, strlen(row->key), row);
    row->attempt.time = search->when;
    return row;
}

static Live *live_find(const Search *search, Span id)
{
    Live *live = NULL;

    HASH_FIND(hh, search->live, id.at, id.len, live);
    return live;
}

static void live_set(Search *search, Span id, Span from)
{
    if (live_find(search, id))
        return;
    if (HASH_COUNT(search->live) == TRACE_LIVE_MAX)
        live_drop(search, search->live);
    Live *live = xcalloc(1, sizeof *live);
    memcpy(live->id, id.at, id.len);
    live->from = kept(from);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): as in row_last */
    HASH_ADD_KEYPTR(hh, search->live, live->id, id.len, live);
}

/* ---- lines ---- */

/* Also the key of a row for which no recipient is known yet: of a whole message. */
static void id_text(Span id, char ret_text[TRACE_ID_MAX + 1])
{
    memcpy(ret_text, id.at, id.len);
    ret_text[id.len] = '\0';
}

static void rows_end(Search *search, Span id, const char *result)
{
    for (Row *row = search->rows; row; row = row->hh.next)
        if (span_is(id, row->attempt.id) && (row->attempt.result == DEFERRED || row->attempt.result == QUEUED)) {
            row->attempt.result = result;
            row->attempt.time = search->when;
        }
}

/* qmgr took a message up, for the first time or again, or gave it back. */
static void queue_look(Search *search, const TraceLine *line, const TraceDelivery *delivery, bool within)
{
    char id[TRACE_ID_MAX + 1];

    if (!sender_meant(search, delivery->from))
        return;
    if (span_is(delivery->status, "expired")) {
        if (within)
            rows_end(search, line->id, "expired");
        return;
    }
    bool known = live_find(search, line->id) != NULL;
    live_set(search, line->id, delivery->from);
    if (search->to || known || !within)
        return;
    id_text(line->id, id);
    Row *row = row_last(search, id);
    memcpy(row->attempt.id, id, sizeof id);
    row->attempt.result = QUEUED;
    kept_as(&row->attempt.from, delivery->from);
    kept_as(&row->attempt.words, (Span){delivery->words, strlen(delivery->words)});
}

static const char *result_of(Span status)
{
    static const struct {
        const char *status, *result;
    } results[] = {{"sent", "delivered"}, {"deferred", DEFERRED}, {"bounced", "bounced"}, {"expired", "expired"}};

    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (span_is(status, results[i].status))
            return results[i].result;
    return NULL;
}

static void delivery_look(Search *search, const TraceLine *line, const TraceDelivery *delivery)
{
    const Live *live = live_find(search, line->id);
    const char *result = result_of(delivery->status);
    char id[TRACE_ID_MAX + 1];
    Row *whole = NULL;

    if (!result || !recipient_meant(search, delivery->to, delivery->orig_to) || (search->from && !live))
        return;
    id_text(line->id, id);
    HASH_FIND_STR(search->rows, id, whole);
    if (whole)
        row_drop(search, whole);
    DEFER(xfree)
    char *key = xasprintf("%s %.*s %.*s", id, (int)delivery->to.len, delivery->to.at, (int)delivery->orig_to.len,
                          delivery->orig_to.at ? delivery->orig_to.at : "");
    Row *row = row_last(search, key);
    memcpy(row->attempt.id, id, sizeof id);
    row->attempt.result = result;
    row->attempt.tries++;
    if (live) {
        free(row->attempt.from);
        row->attempt.from = xstrdup(live->from);
    }
    kept_as(&row->attempt.to, delivery->to);
    kept_as(&row->attempt.orig_to, delivery->orig_to);
    kept_as(&row->attempt.words, (Span){delivery->words, strlen(delivery->words)});
}

static const char *answer_of(const TraceLine *line)
{
    static const struct {
        const char *begin, *result;
    } results[] = {{"reject: ", "refused"},   {"milter-reject: ", "refused"}, {"milter-discard: ", "discarded"},
                   {"milter-hold: ", "held"}, {"discard: ", "discarded"},     {"hold: ", "held"}};

    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (span_begins(line->rest, results[i].begin))
            return strcmp(results[i].result, "refused") == 0 && trace_put_off(line) ? "put off" : results[i].result;
    return NULL;
}

static void answer_look(Search *search, const TraceLine *line)
{
    const char *result = answer_of(line);
    TraceEnvelope envelope;
    char key[32];

    if (!result || !trace_envelope_read(line, &envelope) || !sender_meant(search, envelope.from) ||
        !recipient_meant(search, envelope.to, (Span){NULL, 0}))
        return;
    snprintf(key, sizeof key, "%llu", (unsigned long long)search->refusals++);
    Row *row = row_last(search, key);
    row->attempt.result = result;
    if (span_is(line->id, "NOQUEUE"))
        strcpy(row->attempt.id, "-");
    else
        id_text(line->id, row->attempt.id);
    row->attempt.from = kept(envelope.from);
    row->attempt.to = kept(envelope.to);
    row->attempt.words = kept(envelope.answer);
}

void search_line(Search *search, const char *text, const struct tm *now)
{
    TraceLine line;
    TraceDelivery delivery;

    if (!trace_line_read(text, &line))
        return;
    bool within = in_window(search, &line, now);
    bool removed = strcmp(line.rest, "removed") == 0;
    if (within && (trace_program_is(&line, "smtpd") || trace_program_is(&line, "cleanup"))) {
        answer_look(search, &line);
    } else if (removed && (trace_program_is(&line, "qmgr") || trace_program_is(&line, "postsuper"))) {
        Live *live = live_find(search, line.id);
        if (within && trace_program_is(&line, "postsuper"))
            rows_end(search, line.id, "deleted");
        if (live)
            live_drop(search, live);
    } else if (trace_delivery_read(&line, &delivery)) {
        if (delivery.from.at && trace_program_is(&line, "qmgr"))
            queue_look(search, &line, &delivery, within);
        else if (delivery.to.at && within)
            delivery_look(search, &line, &delivery);
    }
}

/* ---- what was found ---- */

static int by_time(const Row *one, const Row *other)
{
    return one->attempt.time < other->attempt.time ? -1 : one->attempt.time > other->attempt.time;
}

Error *search_tell(Search *search, SearchHeard *heard, void *context)
{
    Error *err = NULL;

    HASH_SRT(hh, search->rows, by_time); /* stable: what a clock that was set back mixed up */
    for (const Row *row = search->rows; !err && row; row = row->hh.next)
        err = heard(context, &row->attempt);
    return err;
}

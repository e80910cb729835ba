#include "asked.h"

#include "base/alloc.h"
#include "tables/ask.h"

#include <stdlib.h>
#include <string.h>

enum {
    PART_ROWS = 200,
    AGAIN_MS = 20,      /* the link's queue is full */
    GIVE_UP_MS = 30000, /* ... for so long: whoever asked is gone */
};

typedef enum RowKind { ROWS_MAILBOXES, ROWS_SENDERS, ROWS_ORPHANS } RowKind;

/* One row of any kind; strings are owned. */
typedef struct Row {
    Mail__MailboxIs mailbox;
    char *name, *text; /* text: full name, or what is missing */
} Row;

typedef struct Answer {
    struct Answer *next;
    uint64_t id, session;
    RowKind kind;
    Row *rows;
    size_t n, room, at; /* at: the first that was not sent */
    const char *any, *none;
    char *trouble;
    uint32_t seq;
    Msec until;
} Answer;

struct Asked {
    Link *link;
    Journal *journal;
    Apply *apply;
    Usage *usage;
    Answer *answers;
    size_t n_answers;
};

Asked *asked_new(Link *link, Journal *journal, Apply *apply, Usage *usage)
{
    Asked *asked = xcalloc(1, sizeof *asked);

    *asked = (Asked){.link = link, .journal = journal, .apply = apply, .usage = usage};
    return asked;
}

static void answer_free(Answer **answer)
{
    if (!*answer)
        return;
    for (size_t i = 0; i < (*answer)->n; i++) {
        free((*answer)->rows[i].name);
        free((*answer)->rows[i].text);
    }
    free((*answer)->rows);
    free((*answer)->trouble);
    free(*answer);
    *answer = NULL;
}

void asked_free(Asked **asked)
{
    if (!*asked)
        return;
    while ((*asked)->answers) {
        Answer *answer = (*asked)->answers;
        (*asked)->answers = answer->next;
        answer_free(&answer);
    }
    free(*asked);
    *asked = NULL;
}

static Row *row_add(Answer *answer, const char *name, const char *text)
{
    if (answer->n == answer->room) {
        answer->room = answer->room ? 2 * answer->room : 64;
        answer->rows = xrealloc(answer->rows, answer->room * sizeof *answer->rows);
    }
    Row *row = &answer->rows[answer->n++];
    *row = (Row){.mailbox = MAIL__MAILBOX_IS__INIT, .name = xstrdup(name), .text = text ? xstrdup(text) : NULL};
    return row;
}

/* ---- mailboxes ---- */

typedef struct Gathering {
    const Asked *asked;
    const Mail__TablesRead *read;
    Answer *answer;
    uint64_t quota; /* the policy's */
} Gathering;

static bool is_given(const char *text)
{
    return text && *text;
}

static bool is_wanted(const Mail__TablesRead *read, const char *name)
{
    if (is_given(read->name) && strcmp(read->name, name) != 0)
        return false;
    return !is_given(read->prefix) || strncmp(name, read->prefix, strlen(read->prefix)) == 0;
}

/* There is one with this name, or will be. */
static void mailbox_add(const Gathering *to, const char *name, const char *full_name, Mail__MailboxState state,
                        bool locked)
{
    UsageOf usage = {0};

    if (!is_wanted(to->read, name))
        return;
    Mail__MailboxIs *is = &row_add(to->answer, name, full_name)->mailbox;
    is->has_state = is->has_locked = is->has_quota = true;
    is->state = state;
    is->locked = locked;
    is->quota = to->quota;
    is->has_bytes = is->has_messages = usage_of(to->asked->usage, name, &usage);
    is->bytes = usage.bytes;
    is->messages = usage.messages;
}

static Error *person_take(void *context, const Person *person)
{
    mailbox_add(context, person->name, person->full_name, MAIL__MAILBOX_STATE__MAILBOX_ENABLED, !person->enabled);
    return NULL;
}

static void used_take(void *context, const char *name)
{
    mailbox_add(context, name, NULL, MAIL__MAILBOX_STATE__MAILBOX_ORPHAN, false);
}

/* Stated of a user who is there, or of one who is not: then it is all that is known. */
static Error *stated_take(void *context, const Object *object)
{
    mailbox_add(context, object->name, NULL, MAIL__MAILBOX_STATE__MAILBOX_ORPHAN, false);
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    const Row *left = a, *right = b;
    int order = strcmp(left->name, right->name);

    /* Of several of one name the one in the directory is kept. */
    return order ? order : (int)left->mailbox.state - (int)right->mailbox.state;
}

static Error *stated_apply(void *context, const Object *object)
{
    const Gathering *to = context;
    Row key = {.name = object->name};
    size_t low = 0, high = to->answer->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(to->answer->rows[middle].name, key.name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == to->answer->n || strcmp(to->answer->rows[low].name, key.name) != 0)
        return NULL;
    Mail__MailboxIs *is = &to->answer->rows[low].mailbox;
    if (!object->mailbox->enabled)
        is->state = MAIL__MAILBOX_STATE__MAILBOX_DISABLED;
    is->has_own_quota = object->mailbox->has_quota;
    is->own_quota = object->mailbox->has_quota;
    if (object->mailbox->has_quota)
        is->quota = object->mailbox->quota;
    return NULL;
}

/* Keeps those for which 'keep' is; frees the others. */
static void rows_keep(Answer *answer, const void *context,
                      bool (*keep)(const void *context, const Row *before, const Row *row))
{
    size_t n = 0;

    for (size_t i = 0; i < answer->n; i++) {
        if (keep(context, n ? &answer->rows[n - 1] : NULL, &answer->rows[i])) {
            answer->rows[n++] = answer->rows[i];
            continue;
        }
        /* NOLINTBEGIN(clang-analyzer-unix.Malloc): a row that was moved is taken for the one that was freed */
        free(answer->rows[i].name);
        free(answer->rows[i].text);
        /* NOLINTEND(clang-analyzer-unix.Malloc) */
    }
    answer->n = n;
}

static bool is_another(const void *context, const Row *before, const Row *row)
{
    (void)context;
    return !before || strcmp(before->name, row->name) != 0;
}

static bool is_on_page(const void *context, const Row *before, const Row *row)
{
    const Mail__TablesRead *read = context;

    (void)before;
    if (is_given(read->after) && strcmp(row->name, read->after) <= 0)
        return false;
    return !read->has_state || row->mailbox.state == read->state;
}

static Error *mailboxes_gather(Asked *asked, const Mail__TablesRead *read, Answer *answer)
{
    TablesView view = journal_view(asked->journal, apply_instance(asked->apply));
    const StateView *objects = &view.objects;
    Gathering to = {asked, read, answer, 0};
    const char *name = is_given(read->name) ? read->name : NULL;

    Error *err = tables_default_quota(apply_tables(asked->apply), &to.quota);
    if (!err)
        err = tables_people(apply_tables(asked->apply), name, person_take, &to);
    if (!err)
        err = objects->each(objects->self, MAIL__OBJECT__BODY_MAILBOX, view.instance, name, stated_take, &to);
    if (err)
        return err;
    usage_each(asked->usage, used_take, &to);
    if (answer->n)
        qsort(answer->rows, answer->n, sizeof *answer->rows, by_name);
    rows_keep(answer, NULL, is_another);
    err = objects->each(objects->self, MAIL__OBJECT__BODY_MAILBOX, view.instance, name, stated_apply, &to);
    if (err)
        return err;
    rows_keep(answer, read, is_on_page);
    while (read->limit && answer->n > read->limit) {
        answer->n--;
        free(answer->rows[answer->n].name);
        free(answer->rows[answer->n].text);
    }
    if (usage_trouble(asked->usage))
        answer->trouble = xstrdup(usage_trouble(asked->usage));
    if (name && !answer->n)
        return error_new(ERROR_NOT_FOUND, "user %s does not exist, and nothing is stated of a mailbox", name);
    return NULL;
}

/* ---- senders and orphans ---- */

static Error *sender_take(void *context, const char *address)
{
    row_add(context, address, NULL);
    return NULL;
}

static Error *senders_gather(Asked *asked, const Mail__TablesRead *read, Answer *answer)
{
    Tables *tables = apply_tables(asked->apply);
    MaySend may = SEND_NOBODY;

    answer->kind = ROWS_SENDERS;
    if (!is_given(read->name))
        return error_new(ERROR_INVALID, "no user is named");
    Error *err = tables_may_send(tables, read->name, &may);
    if (err)
        return err;
    switch (may) {
    case SEND_NOBODY:
        return error_new(ERROR_NOT_FOUND, "user %s does not exist", read->name);
    case SEND_CLOSED:
        answer->none = "this login is closed";
        return NULL;
    case SEND_ANY:
        answer->any = "sender-login-match is off";
        break;
    case SEND_EXEMPT:
        answer->any = "this login is exempted";
        break;
    case SEND_LISTED:
        break;
    }
    return tables_senders(tables, read->name, read->after, read->limit, sender_take, answer);
}

static Error *orphan_take(void *context, const char *address, const char *missing)
{
    row_add(context, address, missing);
    return NULL;
}

static Error *orphans_gather(Asked *asked, const Mail__TablesRead *read, Answer *answer)
{
    answer->kind = ROWS_ORPHANS;
    return tables_orphans(apply_tables(asked->apply), read->prefix, read->after, read->limit, orphan_take, answer);
}

/* ---- asked ---- */

static Error *gather(Asked *asked, const Mail__TablesRead *read, Answer *answer)
{
    const char *here = apply_instance(asked->apply);

    if (!apply_tables(asked->apply))
        return error_new(ERROR_UNAVAILABLE, "the tables cannot be read");
    if (!here || !read->instance || strcmp(here, read->instance) != 0)
        return error_new(ERROR_UNAVAILABLE, "instance %s is not here yet", read->instance ? read->instance : "-");
    switch (read->question) {
    case MAIL__TABLES_QUESTION__MAILBOXES:
        return mailboxes_gather(asked, read, answer);
    case MAIL__TABLES_QUESTION__SENDERS:
        return senders_gather(asked, read, answer);
    case MAIL__TABLES_QUESTION__ORPHANS:
        return orphans_gather(asked, read, answer);
    default:
        return error_new(ERROR_UNSUPPORTED, "question %d is not known here", (int)read->question);
    }
}

static void take_questions(Asked *asked, Msec now)
{
    Envelope *envelope = NULL;

    while (asked->n_answers < ASKED_MAX && (envelope = link_take(asked->link, MAIL__ENVELOPE__BODY_TABLES_READ))) {
        Answer *answer = xcalloc(1, sizeof *answer), **end = &asked->answers;
        *answer = (Answer){.id = envelope->id, .session = link_session(asked->link), .until = now + GIVE_UP_MS};
        Error *err = gather(asked, envelope->tables_read, answer);
        if (err) {
            link_answer_error(asked->link, envelope->id, &err);
            answer_free(&answer);
        } else {
            while (*end)
                end = &(*end)->next;
            *end = answer;
            asked->n_answers++;
        }
        envelope_free(&envelope);
    }
}

/* ---- answered ---- */

/* Rows of one part, as the message has them; what is pointed to stays the answer's. */
typedef struct Part {
    Mail__MailboxIs *mailboxes[PART_ROWS];
    char *senders[PART_ROWS];
    Mail__OrphanIs orphans[PART_ROWS], *orphan_list[PART_ROWS];
} Part;

static void part_fill(Answer *answer, size_t n, Part *part, Mail__TablesRows *body)
{
    for (size_t i = 0; i < n; i++) {
        Row *row = &answer->rows[answer->at + i];
        row->mailbox.name = row->name;
        row->mailbox.full_name = row->text;
        part->mailboxes[i] = &row->mailbox;
        part->senders[i] = row->name;
        part->orphans[i] = (Mail__OrphanIs)MAIL__ORPHAN_IS__INIT;
        part->orphans[i].address = row->name;
        part->orphans[i].missing = &row->text;
        part->orphans[i].n_missing = 1;
        part->orphan_list[i] = &part->orphans[i];
    }
    if (answer->kind == ROWS_MAILBOXES) {
        body->mailboxes = part->mailboxes;
        body->n_mailboxes = n;
    } else if (answer->kind == ROWS_SENDERS) {
        body->senders = part->senders;
        body->n_senders = n;
    } else {
        body->orphans = part->orphan_list;
        body->n_orphans = n;
    }
    body->any = (char *)(uintptr_t)answer->any;
    body->none = (char *)(uintptr_t)answer->none;
    body->trouble = answer->trouble;
}

/* False: the link takes no more now. */
static bool part_send(Asked *asked, Answer *answer)
{
    size_t n = answer->n - answer->at < PART_ROWS ? answer->n - answer->at : PART_ROWS;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__TablesRows body = MAIL__TABLES_ROWS__INIT;
    Part part;

    part_fill(answer, n, &part, &body);
    envelope.body_case = MAIL__ENVELOPE__BODY_TABLES_ROWS;
    envelope.tables_rows = &body;
    envelope.has_in_reply_to = envelope.has_seq = envelope.has_last = true;
    envelope.in_reply_to = answer->id;
    envelope.seq = answer->seq;
    envelope.last = answer->at + n == answer->n;
    if (!link_send(asked->link, &envelope))
        return false;
    answer->seq++;
    answer->at += n;
    return true;
}

/* True: it is over. */
static bool answer_run(Asked *asked, Answer *answer, Msec now)
{
    if (link_session(asked->link) != answer->session || now >= answer->until)
        return true;
    do {
        if (!part_send(asked, answer))
            return !link_up(asked->link);
    } while (answer->at < answer->n);
    return true;
}

void asked_run(Asked *asked, Msec now)
{
    if (!journal_receiving(asked->journal)) /* what is stated is half a delta */
        take_questions(asked, now);
    while (asked->answers && answer_run(asked, asked->answers, now)) {
        Answer *answer = asked->answers;
        asked->answers = answer->next;
        asked->n_answers--;
        answer_free(&answer);
    }
}

void asked_wait(const Asked *asked, Waiter *wake)
{
    if (asked->answers)
        waiter_at(wake, clock_ms() + AGAIN_MS);
}

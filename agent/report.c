#include "report.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>

enum {
    FACTS_MAX = 32,
    HAPPENINGS_AGAIN =
        20, /* said again in each session: nothing acknowledges them, the controller drops what it knows */
    CLOCK_LOOK_MS = 10000,
    CLOCK_STEP_MS = 2000,
    CLOCK_STEP_SHOWN_MS = 600000,
};

typedef struct Known {
    char *name, *text;
    Mail__FactState state;
    Msec seen_at, since;
} Known;

struct Report {
    Journal *journal;
    Known facts[FACTS_MAX];
    size_t n_facts;
    Known engine[FACTS_MAX]; /* what mail-engine says of its daemons */
    size_t n_engine;
    ReportBackup *backups;
    size_t n_backups;
    Mail__PublicMade **made;
    size_t n_made;
    uint64_t applied, config;

    bool news; /* a fact changed its state */
    Msec sent_at;
    uint64_t session;  /* of the last report */
    uint64_t happened; /* number of the last happening that was sent in this session */

    Msec clock_at, stepped_at;
    int64_t clock_offset_ms;
};

Report *report_new(Journal *journal)
{
    Report *report = xcalloc(1, sizeof *report);

    report->journal = journal;
    return report;
}

static void known_clear(Known *facts, size_t *n)
{
    while (*n) {
        Known *fact = &facts[--*n];
        free(fact->name);
        free(fact->text);
    }
}

static void backups_clear(Report *report)
{
    for (size_t i = 0; i < report->n_backups; i++) {
        free(report->backups[i].plan);
        free(report->backups[i].destination);
        free(report->backups[i].text);
        free(report->backups[i].snapshot);
    }
    free(report->backups);
    report->backups = NULL;
    report->n_backups = 0;
}

static void made_clear(Report *report)
{
    while (report->n_made)
        mail__public_made__free_unpacked(report->made[--report->n_made], NULL);
    xfree(&report->made);
}

void report_free(Report **report)
{
    if (!*report)
        return;
    made_clear(*report);
    known_clear((*report)->facts, &(*report)->n_facts);
    known_clear((*report)->engine, &(*report)->n_engine);
    backups_clear(*report);
    free(*report);
    *report = NULL;
}

static Known *known_named(Report *report, const char *name, Msec now)
{
    for (size_t i = 0; i < report->n_facts; i++)
        if (strcmp(report->facts[i].name, name) == 0)
            return &report->facts[i];
    if (report->n_facts == FACTS_MAX)
        return NULL;
    Known *fact = &report->facts[report->n_facts++];
    *fact = (Known){.name = xstrdup(name), .state = MAIL__FACT_STATE__UNKNOWN, .since = now};
    report->news = true;
    return fact;
}

void report_fact(Report *report, const char *name, Mail__FactState state, Msec now, const char *format, ...)
{
    Known *fact = known_named(report, name, now);
    va_list args;

    if (!fact)
        return;
    free(fact->text);
    va_start(args, format);
    fact->text = xvasprintf(format, args);
    va_end(args);
    fact->seen_at = now;
    if (fact->state == state)
        return;
    fact->state = state;
    fact->since = now;
    report->news = true;
}

void report_engine_facts(Report *report, Mail__Fact *const *facts, size_t n, Msec at)
{
    Known old[FACTS_MAX];
    size_t n_old = report->n_engine;

    memcpy(old, report->engine, sizeof old);
    report->n_engine = 0;
    for (size_t i = 0; i < n && i < FACTS_MAX; i++) {
        Msec age = facts[i]->age_ms < at ? facts[i]->age_ms : at;
        Msec since = facts[i]->since_ms < at ? facts[i]->since_ms : at;
        bool news = true;
        for (size_t k = 0; k < n_old; k++)
            if (facts[i]->name && strcmp(old[k].name, facts[i]->name) == 0)
                news = old[k].state != facts[i]->state;
        report->news = report->news || news;
        report->engine[report->n_engine++] = (Known){
            .name = xstrdup(facts[i]->name ? facts[i]->name : "?"),
            .text = xstrdup(facts[i]->text ? facts[i]->text : ""),
            .state = facts[i]->state,
            .seen_at = at - age,
            .since = at - since,
        };
    }
    known_clear(old, &n_old);
}

static bool backup_same(const ReportBackup *a, const ReportBackup *b)
{
    return strcmp(a->plan, b->plan) == 0 && strcmp(a->destination, b->destination) == 0 && a->state == b->state &&
           strcmp(a->snapshot, b->snapshot) == 0 && a->ended_s == b->ended_s && a->next_s == b->next_s &&
           a->running == b->running;
}

void report_backups(Report *report, const ReportBackup *backups, size_t n)
{
    bool same = n == report->n_backups;

    for (size_t i = 0; same && i < n; i++)
        same = backup_same(&report->backups[i], &backups[i]);
    report->news = report->news || !same;
    backups_clear(report);
    report->backups = xcalloc(n + 1, sizeof *backups);
    report->n_backups = n;
    for (size_t i = 0; i < n; i++) {
        report->backups[i] = backups[i];
        report->backups[i].plan = xstrdup(backups[i].plan);
        report->backups[i].destination = xstrdup(backups[i].destination);
        report->backups[i].text = xstrdup(backups[i].text);
        report->backups[i].snapshot = xstrdup(backups[i].snapshot);
    }
}

static Mail__PublicMade *made_copy(const Mail__PublicMade *made, bool taken)
{
    Mail__PublicMade *copy = xmalloc(sizeof *copy);

    mail__public_made__init(copy);
    copy->name = xstrdup(made->name ? made->name : "");
    copy->acl = xcalloc(made->n_acl + 1, sizeof *copy->acl);
    while (copy->n_acl < made->n_acl) {
        copy->acl[copy->n_acl] = xstrdup(made->acl[copy->n_acl]);
        copy->n_acl++;
    }
    copy->has_taken = true;
    copy->taken = taken;
    return copy;
}

void report_made(Report *report, Mail__PublicMade *const *made, const bool *taken, size_t n)
{
    bool same = n == report->n_made;

    for (size_t i = 0; same && i < n; i++)
        same = made[i]->name && strcmp(report->made[i]->name, made[i]->name) == 0;
    report->news = report->news || !same;
    made_clear(report);
    report->made = xcalloc(n + 1, sizeof *report->made);
    for (; report->n_made < n; report->n_made++)
        report->made[report->n_made] = made_copy(made[report->n_made], taken[report->n_made]);
}

void report_revisions(Report *report, uint64_t applied, uint64_t config)
{
    report->applied = applied;
    report->config = config;
}

void report_each_bad(const Report *report,
                     void (*each)(void *context, const char *name, Mail__FactState state, const char *text),
                     void *context)
{
    for (size_t i = 0; i < report->n_facts; i++)
        if (report->facts[i].state == MAIL__FACT_STATE__BAD || report->facts[i].state == MAIL__FACT_STATE__DEGRADED)
            each(context, report->facts[i].name, report->facts[i].state, report->facts[i].text);
    for (size_t i = 0; i < report->n_engine; i++)
        if (report->engine[i].state != MAIL__FACT_STATE__GOOD)
            each(context, report->engine[i].name, report->engine[i].state, report->engine[i].text);
}

/* A wall clock that steps breaks tokens and certificates; whether it is right, only a time service can say. */
static void look_at_clock(Report *report, Msec now)
{
    struct timespec wall;
    struct timex kernel = {0};

    if (report->clock_at && now < report->clock_at + CLOCK_LOOK_MS)
        return;
    clock_gettime(CLOCK_REALTIME, &wall);
    int64_t offset = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000 - (int64_t)clock_ms();
    int64_t step = report->clock_at ? offset - report->clock_offset_ms : 0;
    report->clock_at = now;
    report->clock_offset_ms = offset;
    if (step > CLOCK_STEP_MS || step < -CLOCK_STEP_MS) {
        report->stepped_at = now;
        journal_happened(report->journal, MAIL__FACT_STATE__DEGRADED, "clock stepped", "by %lld ms", (long long)step);
    }
    if (report->stepped_at && now < report->stepped_at + CLOCK_STEP_SHOWN_MS)
        report_fact(report, "clock", MAIL__FACT_STATE__DEGRADED, now, "it was stepped");
    else if (adjtimex(&kernel) < 0 || (kernel.status & STA_UNSYNC))
        report_fact(report, "clock", MAIL__FACT_STATE__UNKNOWN, now, "no time service says that it is right");
    else
        report_fact(report, "clock", MAIL__FACT_STATE__GOOD, now, "synchronised");
}

/* ---- sending ---- */

typedef struct Outgoing {
    Mail__Fact facts[2 * FACTS_MAX], *fact_list[2 * FACTS_MAX];
    Mail__Happening happenings[HAPPENINGS_AGAIN], *happening_list[HAPPENINGS_AGAIN];
    size_t n_facts, n_happenings;
    Mail__BackupStanding *backups, **backup_list;
    uint64_t now_s, newest;
} Outgoing;

static void facts_into(Outgoing *out, const Known *facts, size_t n, Msec now)
{
    for (size_t i = 0; i < n; i++) {
        Mail__Fact *fact = &out->facts[out->n_facts];
        mail__fact__init(fact);
        fact->name = facts[i].name;
        fact->text = facts[i].text;
        fact->has_state = fact->has_age_ms = fact->has_since_ms = true;
        fact->state = facts[i].state;
        fact->age_ms = now > facts[i].seen_at ? now - facts[i].seen_at : 0;
        fact->since_ms = now > facts[i].since ? now - facts[i].since : 0;
        out->fact_list[out->n_facts++] = fact;
    }
}

static uint64_t age_ms(uint64_t now_s, uint64_t then_s)
{
    return now_s > then_s ? (now_s - then_s) * 1000 : 0;
}

static void backups_into(Outgoing *out, const ReportBackup *backups, size_t n)
{
    out->backups = xcalloc(n + 1, sizeof *out->backups);
    out->backup_list = xcalloc(n + 1, sizeof(Mail__BackupStanding *));
    for (size_t i = 0; i < n; i++) {
        Mail__BackupStanding *standing = &out->backups[i];
        const ReportBackup *known = &backups[i];
        mail__backup_standing__init(standing);
        standing->plan = known->plan;
        standing->destination = known->destination;
        standing->text = known->text;
        standing->snapshot = *known->snapshot ? known->snapshot : NULL;
        standing->has_state = standing->has_running = true;
        standing->state = known->state;
        standing->running = known->running;
        standing->has_ended_age_ms = known->ended_s != 0;
        standing->ended_age_ms = age_ms(out->now_s, known->ended_s);
        standing->has_good_age_ms = known->good_s != 0;
        standing->good_age_ms = age_ms(out->now_s, known->good_s);
        standing->has_next_ms = known->next_s != 0;
        standing->next_ms = age_ms(known->next_s, out->now_s);
        out->backup_list[i] = standing;
    }
}

static Error *happening_into(void *context, const HappeningRow *row)
{
    Outgoing *out = context;
    Mail__Happening *happening = &out->happenings[out->n_happenings];

    mail__happening__init(happening);
    happening->has_number = happening->has_severity = happening->has_age_ms = true;
    happening->number = row->number;
    happening->severity = row->severity;
    happening->what = xstrdup(row->what);
    happening->text = xstrdup(row->text);
    happening->age_ms = out->now_s > row->time_s ? (out->now_s - row->time_s) * 1000 : 0;
    out->happening_list[out->n_happenings++] = happening;
    out->newest = row->number;
    return NULL;
}

static bool send_report(Report *report, Link *link, Msec now)
{
    DEFER(xfree) Outgoing *out = xcalloc(1, sizeof *out);
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Report body = MAIL__REPORT__INIT;

    out->now_s = (uint64_t)time(NULL);
    out->newest = report->happened;
    facts_into(out, report->facts, report->n_facts, now);
    facts_into(out, report->engine, report->n_engine, now);
    backups_into(out, report->backups, report->n_backups);
    if (!journal_receiving(report->journal)) {
        Error *err = journal_happenings(report->journal, report->happened, HAPPENINGS_AGAIN, happening_into, out);
        error_free(&err); /* damage is seen to by journal_run */
    }
    body.release = (char *)MAILNODE_RELEASE;
    body.has_wanted_revision = body.has_applied_revision = body.has_config_revision = true;
    body.wanted_revision = journal_wanted(report->journal)->revision;
    body.applied_revision = report->applied;
    body.config_revision = report->config;
    body.n_facts = out->n_facts;
    body.facts = out->fact_list;
    body.n_happenings = out->n_happenings;
    body.happenings = out->happening_list;
    body.n_backups = report->n_backups;
    body.backups = out->backup_list;
    body.n_made = report->n_made;
    body.made = report->made;
    envelope.body_case = MAIL__ENVELOPE__BODY_REPORT;
    envelope.report = &body;
    bool sent = link_send(link, &envelope);
    for (size_t i = 0; i < out->n_happenings; i++) {
        free(out->happenings[i].what);
        free(out->happenings[i].text);
    }
    free(out->backups);
    free(out->backup_list);
    if (sent)
        report->happened = out->newest;
    return sent;
}

void report_run(Report *report, Link *link, Msec now)
{
    look_at_clock(report, now);
    if (!link_up(link))
        return;
    if (link_session(link) != report->session) {
        report->session = link_session(link);
        report->happened = 0;
        report->news = true;
    }
    bool happened = !journal_receiving(report->journal) && journal_newest_happening(report->journal) > report->happened;
    if (!report->news && !happened && now < report->sent_at + link_report_ms(link))
        return;
    if (send_report(report, link, now))
        report->news = false;
    report->sent_at = now; /* a queue that is full has time until the next one */
}

void report_wait(const Report *report, const Link *link, Waiter *wake)
{
    if (link_up(link))
        waiter_at(wake, report->sent_at + link_report_ms(link));
    waiter_at(wake, report->clock_at + CLOCK_LOOK_MS);
}

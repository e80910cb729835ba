#include "directory.h"

#include "base/alloc.h"
#include "base/child.h"
#include "base/log.h"
#include "local/local.h"

#include <stdlib.h>
#include <string.h>

enum {
    RETRY_FIRST_MS = 100,
    RETRY_LAST_MS = 5000,
    RELAY_AGAIN_MS = 20,   /* the link's queue is full */
    RELAY_WAIT_MS = 30000, /* ... for so long: whoever asked is gone */
    PARTS_MAX = 16,        /* that the mirror has not taken yet */
};

/* One request on its way through a child. */
typedef struct Job {
    struct Job *next;
    uint64_t id, session; /* whom to answer */
    Envelope *request;    /* NULL after it was sent: it may hold a password */
    bool write, removes;  /* a user */
    uint64_t sent_id;
    Msec until;
} Job;

/* A change that was made, and is not in the tables yet. */
typedef struct Held {
    struct Held *next;
    uint64_t id, session;
    uint64_t heard; /* parts that must be in the tables */
    Msec until;
} Held;

/* A request to take what is held, or to give a mailbox to who has its name. */
typedef struct Acceptance {
    struct Acceptance *next;
    char *user_domain;
    char *claimed; /* the mailbox; NULL: what is held */
    uint64_t id, session;
    bool seen; /* by the mirror */
    Msec until;
} Acceptance;

typedef struct Domain {
    struct Domain *next;
    char *name;
    bool wanted;  /* while it is looked which are */
    bool replica; /* it is a copy of another node's: the mirror reads it, nobody else does */
    Child *child; /* NULL: to be started at start_at */
    LocalPeer *peer;
    Msec start_at, retry_ms;
    char *trouble;
    Job *first; /* the oldest; it was sent, if anything was */
    size_t n_jobs;
    Envelope *stuck; /* a part that the link cannot take now */
    Msec stuck_at;
    bool watched, watch_whole;
    uint64_t watch_id; /* 0: not asked yet */
    Msec watch_until;  /* when its next word is late */
} Domain;

struct Directory {
    DirectoryParts with;
    char *program;
    Domain *domains;
    unsigned journal_life; /* 'domains' are as of this revision */
    uint64_t revision;
    Digest chain;

    Held *held;
    Acceptance *acceptances;
    uint64_t removals;
    Envelope *parts[PARTS_MAX]; /* for the mirror */
    size_t n_parts;
    uint64_t n_heard, n_taken, mirrored; /* parts: that came, that the mirror took, that are in the tables */
    bool watching;                       /* the mirror was not told yet that it is over */
    Error *why;                          /* ... which it is; NULL: it is not */
};

Directory *directory_new(const DirectoryParts *parts)
{
    Directory *directory = xcalloc(1, sizeof *directory);

    directory->with = *parts;
    directory->program = parts->program ? xstrdup(parts->program) : child_beside_us("mail-ldap");
    return directory;
}

/* ---- requests and their ends ---- */

static void job_free(Job *job)
{
    Mail__Directory *body = job->request ? job->request->directory : NULL;

    if (body && body->write && body->write->password.len)
        explicit_bzero(body->write->password.data, body->write->password.len);
    envelope_free(&job->request);
    free(job);
}

static void job_add(Domain *domain, Job *job)
{
    Job **at = &domain->first;

    while (*at)
        at = &(*at)->next;
    *at = job;
    domain->n_jobs++;
}

static void job_over(Domain *domain)
{
    Job *job = domain->first;

    domain->first = job->next;
    domain->n_jobs--;
    envelope_free(&domain->stuck);
    job_free(job);
}

/* Ends the oldest request.  Takes why. */
static void job_fail(Directory *directory, Domain *domain, Error *why)
{
    const Job *job = domain->first;

    if (link_session(directory->with.link) == job->session)
        link_answer_error(directory->with.link, job->id, &why);
    else
        error_free(&why);
    job_over(domain);
}

static void answer_done(Directory *directory, uint64_t id, uint64_t session)
{
    Envelope reply = MAIL__ENVELOPE__INIT;
    Mail__Done done = MAIL__DONE__INIT;

    reply.body_case = MAIL__ENVELOPE__BODY_DONE;
    reply.done = &done;
    if (link_session(directory->with.link) == session)
        link_answer(directory->with.link, id, &reply);
}

/* Takes why. */
static void acceptance_end(Directory *directory, Acceptance **at, Error *why)
{
    Acceptance *acceptance = *at;

    if (!why)
        answer_done(directory, acceptance->id, acceptance->session);
    else if (link_session(directory->with.link) == acceptance->session)
        link_answer_error(directory->with.link, acceptance->id, &why);
    else
        error_free(&why);
    *at = acceptance->next;
    free(acceptance->user_domain);
    free(acceptance->claimed);
    free(acceptance);
}

/* ---- who watches ---- */

/* Takes why. */
static void watch_over(Directory *directory, Domain *domain, Error *why)
{
    if (domain->watched) {
        error_free(&directory->why);
        directory->why = why;
    } else {
        error_free(&why);
    }
    domain->watched = false;
    domain->watch_id = 0;
}

/* ---- children ---- */

static void domain_free(Directory *directory, Domain *domain)
{
    while (domain->first)
        job_fail(directory, domain, error_new(ERROR_UNAVAILABLE, "user domain %s left this node", domain->name));
    watch_over(directory, domain, error_new(ERROR_UNAVAILABLE, "user domain %s left this node", domain->name));
    local_peer_free(&domain->peer);
    child_free(&domain->child);
    free(domain->trouble);
    free(domain->name);
    free(domain);
}

void directory_free(Directory **directory)
{
    if (!*directory)
        return;
    while ((*directory)->domains) {
        Domain *domain = (*directory)->domains;
        (*directory)->domains = domain->next;
        domain_free(*directory, domain);
    }
    while ((*directory)->held) {
        Held *held = (*directory)->held;
        (*directory)->held = held->next;
        free(held);
    }
    while ((*directory)->acceptances)
        acceptance_end(*directory, &(*directory)->acceptances, error_new(ERROR_UNAVAILABLE, "the agent ends"));
    while ((*directory)->n_parts)
        envelope_free(&(*directory)->parts[--(*directory)->n_parts]);
    error_free(&(*directory)->why);
    free((*directory)->program);
    free(*directory);
    *directory = NULL;
}

/* Takes err.  What it was asked may have been done or not. */
static void domain_lost(Directory *directory, Domain *domain, Error *err, Msec now)
{
    err = error_in(err, "mail-ldap");
    if (!domain->trouble || strcmp(domain->trouble, err->what) != 0)
        log_warning("child ended, starting it again", kv("user_domain", domain->name), kv("why", err->what));
    free(domain->trouble);
    domain->trouble = xstrdup(err->what);
    local_peer_free(&domain->peer);
    child_free(&domain->child);
    domain->start_at = now + domain->retry_ms;
    domain->retry_ms = domain->retry_ms * 2 < RETRY_LAST_MS ? domain->retry_ms * 2 : RETRY_LAST_MS;
    watch_over(directory, domain, error_new(err->code, "%s", err->what));
    if (domain->first && domain->first->sent_id)
        job_fail(directory, domain, err);
    else
        error_free(&err);
}

static void domain_start(Directory *directory, Domain *domain, Msec now)
{
    const char *const argv[] = {directory->program, "--socket",   directory->with.socket,
                                "--user-domain",    domain->name, NULL};
    int fd = -1;

    Error *err = child_start(argv, &domain->child, &fd);
    if (!err)
        err = local_adopt(fd, "mail-agent", &domain->peer);
    if (err)
        domain_lost(directory, domain, err, now);
}

static Domain *domain_named(const Directory *directory, const char *name)
{
    for (Domain *domain = directory->domains; domain; domain = domain->next)
        if (strcmp(domain->name, name) == 0)
            return domain;
    return NULL;
}

/* ---- which user domains are here ---- */

static Error *want_one(void *context, const Object *object)
{
    Directory *directory = context;
    const Mail__UserDomain *stated = object->user_domain;

    DirectoryRole role = user_domain_role(stated, directory->with.node);

    if (role == DIRECTORY_NONE)
        return NULL;
    Domain *domain = domain_named(directory, object->name);
    if (!domain) {
        domain = xcalloc(1, sizeof *domain);
        *domain = (Domain){.next = directory->domains, .name = xstrdup(object->name), .retry_ms = RETRY_FIRST_MS};
        directory->domains = domain;
    }
    domain->wanted = true;
    domain->replica = role == DIRECTORY_REPLICA;
    return NULL;
}

static void learn(Directory *directory)
{
    const Wanted *wanted = journal_wanted(directory->with.journal);
    TablesView view = journal_view(directory->with.journal, NULL);

    if (journal_receiving(directory->with.journal) || !wanted->revision ||
        (directory->revision == wanted->revision && directory->journal_life == journal_life(directory->with.journal) &&
         digest_equal(&directory->chain, &wanted->chain)))
        return;
    for (Domain *domain = directory->domains; domain; domain = domain->next)
        domain->wanted = false;
    Error *err = view.objects.each(view.objects.self, MAIL__OBJECT__BODY_USER_DOMAIN, NULL, NULL, want_one, directory);
    if (err) { /* damage is seen to by journal_run, and its life rises; until then all stay */
        error_free(&err);
        return;
    }
    for (Domain **at = &directory->domains; *at;) {
        Domain *domain = *at;
        if (domain->wanted) {
            at = &domain->next;
            continue;
        }
        *at = domain->next;
        domain_free(directory, domain);
    }
    directory->revision = wanted->revision;
    directory->journal_life = journal_life(directory->with.journal);
    directory->chain = wanted->chain;
}

/* ---- what the controller asks ---- */

/* Why a user domain that was named is not here. */
static Error *not_here(const Directory *directory, const char *name)
{
    TablesView view = journal_view(directory->with.journal, NULL);
    DEFER(object_free) Object *object = NULL;

    if (!*name)
        return error_new(ERROR_INVALID, "no user domain is named");
    Error *err = view.objects.get(view.objects.self, &(ObjectRef){MAIL__OBJECT__BODY_USER_DOMAIN, "", name}, &object);
    if (err)
        return err;
    if (object && object->user_domain->node)
        return error_new(ERROR_CONFLICT, "the directory of %s is on node %s, not on %s", name,
                         object->user_domain->node, directory->with.node);
    return error_new(ERROR_NOT_FOUND, "user domain %s is not on node %s", name, directory->with.node);
}

static void take_acceptance(Directory *directory, const char *user_domain, const char *claimed, uint64_t id, Msec now)
{
    Acceptance *acceptance = xcalloc(1, sizeof *acceptance);

    *acceptance = (Acceptance){
        .next = directory->acceptances,
        .user_domain = xstrdup(user_domain),
        .claimed = claimed ? xstrdup(claimed) : NULL,
        .id = id,
        .session = link_session(directory->with.link),
        .until = now + DIRECTORY_ACCEPT_MS,
    };
    directory->acceptances = acceptance;
}

/* Takes the envelope, if it needs it. */
static Error *take_request(Directory *directory, Envelope **envelope, Msec now)
{
    const Mail__Directory *body = (*envelope)->directory;
    const char *name = body->user_domain ? body->user_domain : "";
    Domain *domain = domain_named(directory, name);

    if (body->claim && *name && body->claim->name &&
        *body->claim->name) { /* a mailbox may be where its directory is not */
        take_acceptance(directory, name, body->claim->name, (*envelope)->id, now);
        return NULL;
    }
    if (!domain || (domain->replica && !body->accept))
        return not_here(directory, name);
    if ((body->read != NULL) + (body->write != NULL) + (body->accept != NULL) != 1 || body->watch)
        return error_new(ERROR_INVALID, "neither one read nor one write");
    if (body->accept) {
        take_acceptance(directory, name, NULL, (*envelope)->id, now);
        return NULL;
    }
    if (domain->n_jobs >= DIRECTORY_QUEUE_MAX)
        return error_new(ERROR_UNAVAILABLE, "%d requests wait for the directory of %s", DIRECTORY_QUEUE_MAX, name);
    Job *job = xcalloc(1, sizeof *job);
    *job = (Job){
        .id = (*envelope)->id,
        .session = link_session(directory->with.link),
        .request = *envelope,
        .write = body->write != NULL,
        .removes =
            body->write && body->write->verb == MAIL__VERB__REMOVE && body->write->kind == MAIL__ACCOUNT_KIND__USER,
        .until = now + DIRECTORY_START_MS,
    };
    *envelope = NULL;
    job_add(domain, job);
    return NULL;
}

static void take_requests(Directory *directory, Msec now)
{
    Envelope *envelope = NULL;

    while ((envelope = link_take(directory->with.link, MAIL__ENVELOPE__BODY_DIRECTORY))) {
        uint64_t id = envelope->id;
        Error *err = take_request(directory, &envelope, now);
        if (err)
            link_answer_error(directory->with.link, id, &err);
        envelope_free(&envelope);
    }
}

/* ---- what a child answers ---- */

static void release_held(Directory *directory, Msec now)
{
    for (Held **at = &directory->held; *at;) {
        Held *held = *at;
        if (held->heard > directory->mirrored && now < held->until) {
            at = &held->next;
            continue;
        }
        answer_done(directory, held->id, held->session);
        *at = held->next;
        free(held);
    }
}

static void acceptances_late(Directory *directory, Msec now)
{
    for (Acceptance **at = &directory->acceptances; *at;)
        if (now >= (*at)->until)
            acceptance_end(directory, at,
                           error_new(ERROR_UNAVAILABLE, "user domain %s was not read meanwhile", (*at)->user_domain));
        else
            at = &(*at)->next;
}

/* What it changed was said to who watches before it was answered. */
static void hold(Directory *directory, const Domain *domain, const Job *job, Msec now)
{
    Held *held = xcalloc(1, sizeof *held);

    *held = (Held){directory->held, job->id, job->session, directory->n_heard,
                   domain->watched ? now + DIRECTORY_HOLD_MS : now};
    directory->held = held;
}

static void job_done(Directory *directory, Domain *domain, Msec now)
{
    const Job *job = domain->first;

    if (job->write)
        hold(directory, domain, job, now);
    else
        answer_done(directory, job->id, job->session);
    job_over(domain);
}

/* True: it is on its way, or nobody waits for it. */
static bool relay(Directory *directory, const Job *job, const Envelope *part)
{
    Envelope reply = MAIL__ENVELOPE__INIT;

    if (link_session(directory->with.link) != job->session)
        return true;
    reply.body_case = MAIL__ENVELOPE__BODY_ACCOUNTS;
    reply.accounts = part->accounts;
    reply.has_in_reply_to = reply.has_seq = reply.has_last = true;
    reply.in_reply_to = job->id;
    reply.seq = part->seq;
    reply.last = part->last;
    return link_send(directory->with.link, &reply) || !link_up(directory->with.link);
}

/* Takes the envelope, or leaves it in domain->stuck. */
static void job_part(Directory *directory, Domain *domain, Envelope **part, Msec now)
{
    Job *job = domain->first;
    bool last = (*part)->last;

    job->until = now + DIRECTORY_STEP_MS;
    if (!relay(directory, job, *part)) {
        domain->stuck = *part;
        domain->stuck_at = now;
        *part = NULL;
        return;
    }
    if (last)
        job_over(domain);
}

static void watch_take(Directory *directory, Domain *domain, Envelope **envelope, Msec now)
{
    domain->watch_until = now + DIRECTORY_STEP_MS;
    if ((*envelope)->body_case == MAIL__ENVELOPE__BODY_FAILURE) {
        watch_over(directory, domain, error_of((*envelope)->failure));
    } else if ((*envelope)->body_case == MAIL__ENVELOPE__BODY_ACCOUNTS) {
        directory->parts[directory->n_parts++] = *envelope;
        directory->n_heard++;
        *envelope = NULL;
    }
}

static void take(Directory *directory, Domain *domain, Envelope **envelope, Msec now)
{
    if (domain->watch_id && (*envelope)->in_reply_to == domain->watch_id) {
        domain->retry_ms = RETRY_FIRST_MS; /* it works */
        xfree(&domain->trouble);
        watch_take(directory, domain, envelope, now);
        return;
    }
    if (!domain->first || !domain->first->sent_id || (*envelope)->in_reply_to != domain->first->sent_id)
        return;
    domain->retry_ms = RETRY_FIRST_MS; /* it works */
    xfree(&domain->trouble);
    switch ((int)(*envelope)->body_case) {
    case MAIL__ENVELOPE__BODY_DONE:
        job_done(directory, domain, now);
        break;
    case MAIL__ENVELOPE__BODY_FAILURE:
        job_fail(directory, domain, error_of((*envelope)->failure));
        break;
    case MAIL__ENVELOPE__BODY_ACCOUNTS:
        job_part(directory, domain, envelope, now);
        break;
    default:
        break;
    }
}

static void hear(Directory *directory, Domain *domain, Msec now)
{
    while (domain->peer && !domain->stuck && directory->n_parts < PARTS_MAX) {
        DEFER(envelope_free) Envelope *envelope = NULL;
        uint64_t id = 0;
        Error *err = local_receive(domain->peer, &envelope, &id);
        if (err)
            domain_lost(directory, domain, err, now);
        else if (!envelope)
            return;
        else
            take(directory, domain, &envelope, now);
    }
}

/* ---- one child's turn ---- */

static void send_next(Directory *directory, Domain *domain, Msec now)
{
    Envelope request = MAIL__ENVELOPE__INIT;
    Job *job = domain->first;

    if (!job || job->sent_id || !domain->peer || !local_greeted(domain->peer))
        return;
    request.body_case = MAIL__ENVELOPE__BODY_DIRECTORY;
    request.directory = job->request->directory;
    if (!local_send(domain->peer, &request))
        return; /* it ends: local_peer_run says so */
    job->sent_id = request.id;
    job->until = now + DIRECTORY_STEP_MS;
    directory->removals += job->removes; /* who watches may be told before we are */
    if (job->write && job->request->directory->write->password.len)
        explicit_bzero(job->request->directory->write->password.data, job->request->directory->write->password.len);
    envelope_free(&job->request);
}

static void send_watch(Domain *domain, Msec now)
{
    Envelope request = MAIL__ENVELOPE__INIT;
    Mail__Directory body = MAIL__DIRECTORY__INIT;
    Mail__DirectoryWatch watch = MAIL__DIRECTORY_WATCH__INIT;

    if (!domain->watched || domain->watch_id || !domain->peer || !local_greeted(domain->peer))
        return;
    watch.has_whole = true;
    watch.whole = domain->watch_whole;
    body.user_domain = domain->name;
    body.watch = &watch;
    request.body_case = MAIL__ENVELOPE__BODY_DIRECTORY;
    request.directory = &body;
    if (!local_send(domain->peer, &request))
        return; /* it ends: local_peer_run says so */
    domain->watch_id = request.id;
    domain->watch_until = now + DIRECTORY_STEP_MS;
}

static void unstick(Directory *directory, Domain *domain, Msec now)
{
    bool last = domain->stuck && domain->stuck->last;

    if (!domain->stuck)
        return;
    if (now >= domain->stuck_at + RELAY_WAIT_MS) {
        domain_lost(directory, domain, error_new(ERROR_UNAVAILABLE, "nobody takes its answer"), now);
        return;
    }
    if (!relay(directory, domain->first, domain->stuck))
        return;
    envelope_free(&domain->stuck);
    if (last)
        job_over(domain);
}

static void watch_late(Directory *directory, Domain *domain, Msec now)
{
    if (!domain->watched || now < domain->watch_until || domain->stuck)
        return;
    if (domain->watch_id)
        domain_lost(directory, domain, error_new(ERROR_UNAVAILABLE, "no word for %d s", DIRECTORY_STEP_MS / 1000), now);
    else
        watch_over(directory, domain,
                   error_new(ERROR_UNAVAILABLE, "%s", domain->trouble ? domain->trouble : "mail-ldap does not start"));
}

static void late(Directory *directory, Domain *domain, Msec now)
{
    if (!domain->first || now < domain->first->until || domain->stuck)
        return;
    if (domain->first->sent_id)
        domain_lost(directory, domain, error_new(ERROR_UNAVAILABLE, "no answer for %d s", DIRECTORY_STEP_MS / 1000),
                    now);
    else
        job_fail(directory, domain,
                 error_new(ERROR_UNAVAILABLE, "%s", domain->trouble ? domain->trouble : "mail-ldap does not start"));
}

static void domain_run(Directory *directory, Domain *domain, Msec now)
{
    if (!domain->peer && now >= domain->start_at)
        domain_start(directory, domain, now);
    if (domain->peer) {
        unstick(directory, domain, now);
        send_watch(domain, now);
        send_next(directory, domain, now);
    }
    Error *ended = domain->peer ? local_peer_run(domain->peer) : NULL;
    hear(directory, domain, now); /* what it said before it ended */
    if (ended && domain->peer) {
        domain_lost(directory, domain, ended, now);
        return;
    }
    error_free(&ended);
    if (domain->peer) {
        send_watch(domain, now);
        send_next(directory, domain, now);
        ended = local_peer_run(domain->peer); /* out with it */
    }
    if (ended)
        domain_lost(directory, domain, ended, now);
    late(directory, domain, now);
    watch_late(directory, domain, now);
}

void directory_run(Directory *directory, Msec now)
{
    learn(directory);
    if (!journal_receiving(directory->with.journal)) /* where a name that is not here is looked up */
        take_requests(directory, now);
    for (Domain *domain = directory->domains; domain; domain = domain->next)
        domain_run(directory, domain, now);
    release_held(directory, now);
    acceptances_late(directory, now);
}

void directory_wait(const Directory *directory, Waiter *wake)
{
    for (const Domain *domain = directory->domains; domain; domain = domain->next) {
        if (!domain->peer)
            waiter_at(wake, domain->start_at);
        else if (domain->stuck)
            waiter_at(wake, clock_ms() + RELAY_AGAIN_MS);
        else
            local_peer_wait(domain->peer, wake);
        if (domain->first)
            waiter_at(wake, domain->first->until);
        if (domain->watched)
            waiter_at(wake, domain->watch_until);
    }
    for (const Acceptance *acceptance = directory->acceptances; acceptance; acceptance = acceptance->next)
        waiter_at(wake, acceptance->until);
    for (const Held *held = directory->held; held; held = held->next)
        waiter_at(wake, held->heard <= directory->mirrored ? 0 : held->until);
}

/* ---- for the mirror ---- */

void directory_unwatch(Directory *directory)
{
    for (Domain *domain = directory->domains; domain; domain = domain->next) {
        domain->watched = false;
        domain->watch_id = 0; /* what it says is not listened to */
    }
    while (directory->n_parts)
        envelope_free(&directory->parts[--directory->n_parts]);
    directory->n_taken = directory->n_heard;
    error_free(&directory->why);
    directory->watching = false;
}

bool directory_watch(Directory *directory, const char *user_domain, bool whole, Msec now)
{
    directory_unwatch(directory);
    Domain *domain = domain_named(directory, user_domain);
    if (!domain)
        return false;
    directory->watching = domain->watched = true;
    domain->watch_whole = whole;
    domain->watch_until = now + DIRECTORY_START_MS;
    send_watch(domain, now);
    return true;
}

DirectoryNews directory_heard(Directory *directory, Envelope **ret_part, Error **ret_why)
{
    if (directory->n_parts) {
        *ret_part = directory->parts[0];
        memmove(directory->parts, directory->parts + 1, --directory->n_parts * sizeof *directory->parts);
        directory->n_taken++;
        return NEWS_PART;
    }
    if (!directory->watching || !directory->why)
        return NEWS_NONE;
    directory->watching = false;
    *ret_why = directory->why;
    directory->why = NULL;
    return NEWS_OVER;
}

uint64_t directory_taken(const Directory *directory)
{
    return directory->n_taken;
}

void directory_mirrored(Directory *directory, uint64_t taken)
{
    if (taken > directory->mirrored)
        directory->mirrored = taken;
}

uint64_t directory_removals(const Directory *directory)
{
    return directory->removals;
}

bool directory_acceptance(Directory *directory, const char *user_domain)
{
    bool any = false;

    for (Acceptance *acceptance = directory->acceptances; acceptance; acceptance = acceptance->next) {
        if (acceptance->seen || acceptance->claimed || strcmp(acceptance->user_domain, user_domain) != 0)
            continue;
        any = acceptance->seen = true;
    }
    return any;
}

void directory_accepted(Directory *directory, Error *why)
{
    for (Acceptance **at = &directory->acceptances; *at;)
        if ((*at)->seen && !(*at)->claimed)
            acceptance_end(directory, at, why ? error_new(why->code, "%s", why->what) : NULL);
        else
            at = &(*at)->next;
    error_free(&why);
}

/* The oldest. */
static Acceptance **claim_at(Directory *directory, const char *user_domain)
{
    Acceptance **found = NULL;

    for (Acceptance **at = &directory->acceptances; *at; at = &(*at)->next)
        if ((*at)->claimed && strcmp((*at)->user_domain, user_domain) == 0)
            found = at;
    return found;
}

const char *directory_claim(Directory *directory, const char *user_domain)
{
    Acceptance **at = claim_at(directory, user_domain);

    return at ? (*at)->claimed : NULL;
}

void directory_claimed(Directory *directory, const char *user_domain, Error *why)
{
    Acceptance **at = claim_at(directory, user_domain);

    if (at)
        acceptance_end(directory, at, why);
    else
        error_free(&why);
}

/* Backups: run a plan, look into a repository, and how all of it stands. */
#include "objects.h"
#include "status.h"
#include "task.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

enum { EXIT_SEEN = 1, WORD_OLD_MS = 5 * 60 * 1000 };

/* ---- what is stated ---- */

typedef struct Objects {
    Object **list;
    size_t n;
} Objects;

static void objects_done(Objects *objects)
{
    for (size_t i = 0; i < objects->n; i++)
        object_free(&objects->list[i]);
    free(objects->list);
}

static Error *object_take(void *context, const Object *object)
{
    Objects *objects = context;

    objects->list = xrealloc(objects->list, (objects->n + 1) * sizeof *objects->list);
    objects->list[objects->n++] = object_clone(object);
    return NULL;
}

static void begin_nothing(void *context)
{
    (void)context;
}

static Error *objects_get(Cli *cli, const char *kind, Objects *ret_objects)
{
    Mail__List list = MAIL__LIST__INIT;

    list.kind = (char *)kind;
    return objects_each(cli, &list, begin_nothing, object_take, ret_objects);
}

/* Plans and instances, of which one or all are meant. */
typedef struct Stated {
    Objects plans, instances;
} Stated;

static void stated_done(Stated *stated)
{
    objects_done(&stated->plans);
    objects_done(&stated->instances);
}

static Error *stated_get(Cli *cli, Stated *ret_stated)
{
    Error *err = objects_get(cli, "plan", &ret_stated->plans);

    return err ? err : objects_get(cli, "instance", &ret_stated->instances);
}

static bool is_meant(const Object *object, const char *name)
{
    return !name || strcmp(object->name, name) == 0;
}

static bool covers(const Mail__Plan *plan, const char *instance)
{
    for (size_t i = 0; i < plan->n_instances; i++)
        if (strcmp(plan->instances[i], instance) == 0)
            return true;
    return plan->n_instances == 0;
}

static Error *known_check(const Objects *objects, const char *kind, const char *name)
{
    for (size_t i = 0; name && i < objects->n; i++)
        if (strcmp(objects->list[i]->name, name) == 0)
            return NULL;
    if (!name)
        return NULL;
    DEFER(xfree) char *seen = escaped(name);
    return error_hint(error_new(ERROR_NOT_FOUND, "%s %s does not exist", kind, seen), "mailctl %s list", kind);
}

/* The plan and the instance that a line names are there. */
static Error *named_check(const Cli *cli, const Stated *stated)
{
    Error *err = known_check(&stated->plans, "plan", cli->line->key);

    return err ? err : known_check(&stated->instances, "instance", cli_instance(cli));
}

static bool is_placed(const Object *instance)
{
    return instance->instance->node && *instance->instance->node;
}

/* ---- tasks ---- */

typedef struct Wishes {
    Mail__TaskNew *list;
    size_t n;
} Wishes;

static void wish_add(Wishes *wishes, const Object *instance, Mail__TaskStart *start)
{
    wishes->list = xrealloc(wishes->list, (wishes->n + 1) * sizeof *wishes->list);
    Mail__TaskNew *wish = &wishes->list[wishes->n++];
    mail__task_new__init(wish);
    wish->instance = instance->name;
    wish->start = start;
}

/* On the node of each instance that is meant and covered; plan NULL: of all. */
static void wishes_of(const Cli *cli, const Stated *stated, const Mail__Plan *plan, Mail__TaskStart *start,
                      Wishes *wishes)
{
    for (size_t i = 0; i < stated->instances.n; i++) {
        const Object *instance = stated->instances.list[i];
        if (is_placed(instance) && is_meant(instance, cli_instance(cli)) && (!plan || covers(plan, instance->name)))
            wish_add(wishes, instance, start);
    }
}

static Error *nothing_to_do(const char *what)
{
    return error_hint(error_new(ERROR_NOT_FOUND, "nothing to do: %s", what),
                      "mailctl plan list; mailctl instance list");
}

/* One destination after the other: a node runs one backup at a time. */
static Error *plan_run(Cli *cli, const Line *line, const Stated *stated, const Object *plan, size_t *n_run,
                       int *ret_exit)
{
    Error *first = NULL;

    for (size_t i = 0; i < plan->plan->n_destinations; i++) {
        Mail__BackupRun run = MAIL__BACKUP_RUN__INIT;
        Mail__TaskStart start = MAIL__TASK_START__INIT;
        Wishes wishes = {0};
        run.plan = plan->name;
        run.destination = plan->plan->destinations[i];
        start.verb_case = MAIL__TASK_START__VERB_BACKUP_RUN;
        start.backup_run = &run;
        wishes_of(cli, stated, plan->plan, &start, &wishes);
        Error *err = wishes.n ? tasks_run(cli, line, wishes.list, wishes.n, ret_exit) : NULL;
        *n_run += wishes.n;
        free(wishes.list);
        if (first)
            error_free(&err);
        else
            first = err;
    }
    return first;
}

static Error *plan_verify(Cli *cli, const Line *line, const Stated *stated, const Object *plan, size_t *n_run,
                          int *ret_exit)
{
    Mail__BackupVerify verify = MAIL__BACKUP_VERIFY__INIT;
    Mail__TaskStart start = MAIL__TASK_START__INIT;
    Wishes wishes = {0};

    verify.plan = plan->name;
    start.verb_case = MAIL__TASK_START__VERB_BACKUP_VERIFY;
    start.backup_verify = &verify;
    wishes_of(cli, stated, plan->plan, &start, &wishes);
    Error *err = wishes.n ? tasks_run(cli, line, wishes.list, wishes.n, ret_exit) : NULL;
    *n_run += wishes.n;
    free(wishes.list);
    return err;
}

typedef Error *PlanDeed(Cli *cli, const Line *line, const Stated *stated, const Object *plan, size_t *n_run,
                        int *ret_exit);

/* All plans, or the one that is named; a failed one does not keep the others. */
static Error *plans_each(Cli *cli, const Line *line, PlanDeed *deed, int *ret_exit)
{
    DEFER(stated_done) Stated stated = {0};
    size_t n_run = 0;
    Error *err = stated_get(cli, &stated), *first = NULL;

    if (!err)
        err = named_check(cli, &stated);
    if (err)
        return err;
    for (size_t i = 0; i < stated.plans.n; i++) {
        if (!is_meant(stated.plans.list[i], line->key))
            continue;
        err = deed(cli, line, &stated, stated.plans.list[i], &n_run, ret_exit);
        if (first)
            error_free(&err);
        else
            first = err;
    }
    return first || n_run ? first : nothing_to_do("no plan covers an instance that is placed on a node");
}

Error *run_backup_run(Cli *cli, const Line *line, int *ret_exit)
{
    return plans_each(cli, line, plan_run, ret_exit);
}

Error *run_backup_verify(Cli *cli, const Line *line, int *ret_exit)
{
    return plans_each(cli, line, plan_verify, ret_exit);
}

/* The repository of each instance, from the node that would back it up. */
static Error *destination_look(Cli *cli, const Line *line, bool init, int *ret_exit)
{
    DEFER(stated_done) Stated stated = {0};
    Mail__DestinationCheck check = MAIL__DESTINATION_CHECK__INIT;
    Mail__TaskStart start = MAIL__TASK_START__INIT;
    Wishes wishes = {0};
    Error *err = objects_get(cli, "instance", &stated.instances);

    if (!err)
        err = known_check(&stated.instances, "instance", cli_instance(cli));
    if (err)
        return err;
    check.destination = (char *)line->key;
    check.has_init = check.init = init;
    start.verb_case = MAIL__TASK_START__VERB_DESTINATION_CHECK;
    start.destination_check = &check;
    wishes_of(cli, &stated, NULL, &start, &wishes);
    err = wishes.n ? tasks_run(cli, line, wishes.list, wishes.n, ret_exit)
                   : nothing_to_do("no instance is placed on a node, and only nodes reach a repository");
    free(wishes.list);
    return err;
}

Error *run_destination_check(Cli *cli, const Line *line, int *ret_exit)
{
    return destination_look(cli, line, line_has(line, FLAG_INIT), ret_exit);
}

Error *run_destination_add(Cli *cli, const Line *line, int *ret_exit)
{
    Error *err = run_add(cli, line, ret_exit);

    if (err || !line_has(line, FLAG_INIT) || line_has(line, FLAG_DRY_RUN))
        return err;
    if (*ret_exit)
        return error_hint(error_new(ERROR_UNAVAILABLE, "not in force yet, so no repository was made"),
                          "mailctl destination check %s --init", line->key);
    return destination_look(cli, line, true, ret_exit);
}

/* ---- how they stand ---- */

typedef struct Standings {
    Cli *cli;
    Table *table;
    json_t *items;
    size_t n, n_not_good;
} Standings;

static Error *nodes_get(Cli *cli, Envelope ***ret_parts, size_t *ret_n)
{
    Mail__GetStatus wish = MAIL__GET_STATUS__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT, **parts = NULL;
    size_t n = 0;
    Call call;

    wish.has_backups = wish.backups = 1;
    envelope.body_case = MAIL__ENVELOPE__BODY_GET_STATUS;
    envelope.get_status = &wish;
    Error *err = call_begin(cli, &envelope, false, &call);
    while (!err && !call.ended) {
        Envelope *said = NULL;
        err = call_next(&call, &said);
        if (!said || said->body_case != MAIL__ENVELOPE__BODY_STATUS) {
            envelope_free(&said);
            continue;
        }
        parts = xrealloc(parts, (n + 1) * sizeof(Envelope *));
        parts[n++] = said;
    }
    *ret_parts = parts;
    *ret_n = n;
    return err;
}

static const Mail__NodeStatus *node_named(Envelope *const *parts, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < parts[i]->status->n_nodes; k++)
            if (strcmp(parts[i]->status->nodes[k]->name, name) == 0)
                return parts[i]->status->nodes[k];
    return NULL;
}

/* NULL: the node has said nothing of it. */
static const Mail__BackupStanding *standing_of(const Mail__NodeStatus *node, const char *plan, const char *destination)
{
    for (size_t i = 0; node && i < node->n_backups; i++)
        if (strcmp(node->backups[i]->plan, plan) == 0 && strcmp(node->backups[i]->destination, destination) == 0)
            return node->backups[i];
    return NULL;
}

/* What is to be known of one plan, destination and instance. */
typedef struct Standing {
    const char *plan, *destination, *instance, *node;
    const Mail__BackupStanding *standing;
    const char *state;
    char *text; /* owned */
    uint64_t word_ms;
    bool away;
} Standing;

static const char *state_word(const Mail__BackupStanding *standing)
{
    if (!standing)
        return "unknown";
    if (!standing->has_ended_age_ms && standing->state == MAIL__FACT_STATE__UNKNOWN)
        return "never-ran";
    return fact_state_name(standing->state);
}

static void standing_fill(Standing *standing, const Mail__NodeStatus *node)
{
    const Mail__BackupStanding *known = standing->standing;

    standing->away = node && node->state != MAIL__NODE_STATE__ONLINE;
    standing->word_ms = node && node->has_seen_ms ? node->seen_ms : 0;
    standing->state = standing->away && known ? "old" : state_word(known);
    if (!standing->node)
        standing->text = xstrdup("the instance is placed nowhere");
    else if (standing->away && known)
        standing->text = xasprintf("%s as of %s ago, %s is %s: %s", state_word(known), age_text(standing->word_ms).text,
                                   standing->node, node_state_name(node->state), known->text ? known->text : "");
    else if (standing->away)
        standing->text =
            xasprintf("%s is %s, and has said nothing of it", standing->node, node_state_name(node->state));
    else
        standing->text = xstrdup(known ? known->text : "the node has not said anything of it yet");
}

static void standing_row(Table *table, const Standing *standing)
{
    const Mail__BackupStanding *known = standing->standing;
    DEFER(xfree) char *snapshot = known && known->snapshot ? xasprintf("%.8s", known->snapshot) : NULL;

    table_cell(table, standing->plan);
    table_cell(table, standing->destination);
    table_cell(table, standing->instance);
    table_cell(table, standing->node);
    table_cell(table, standing->state);
    table_cell(table, known && known->has_ended_age_ms ? age_text(known->ended_age_ms).text : NULL);
    table_cell(table, known && known->has_good_age_ms ? age_text(known->good_age_ms).text : NULL);
    table_cell(table, snapshot);
    table_cell(table, known && known->running       ? "running"
                      : known && known->has_next_ms ? age_text(known->next_ms).text
                                                    : NULL);
    DEFER(xfree) char *line = standing->text ? without_words(standing->text) : NULL;
    table_cell(table, line);
    table_row(table);
}

static json_t *standing_json(const Standing *standing)
{
    const Mail__BackupStanding *known = standing->standing;
    json_t *item = json_object();

    json_put_text(item, "plan", standing->plan);
    json_put_text(item, "destination", standing->destination);
    json_put_text(item, "instance", standing->instance);
    json_put_text(item, "node", standing->node);
    json_put_text(item, "state", standing->state);
    json_put_text(item, "text", standing->text);
    json_put_number(item, "word_ms", standing->word_ms);
    if (!known)
        return item;
    if (known->has_ended_age_ms)
        json_put_number(item, "last_run_ms", known->ended_age_ms);
    if (known->has_good_age_ms)
        json_put_number(item, "last_good_ms", known->good_age_ms);
    if (known->has_next_ms)
        json_put_number(item, "next_ms", known->next_ms);
    json_put_text(item, "snapshot", known->snapshot);
    json_object_set_new(item, "running", json_boolean(known->running));
    return item;
}

static void standing_say(Standings *standings, Standing *standing, const Mail__NodeStatus *node)
{
    standing_fill(standing, node);
    standings->n++;
    standings->n_not_good += strcmp(standing->state, "good") != 0;
    if (standings->items)
        json_array_append_new(standings->items, standing_json(standing));
    else if (standings->table)
        standing_row(standings->table, standing);
    free(standing->text);
}

static void plan_say(Standings *standings, const Stated *stated, const Object *plan, Envelope *const *parts, size_t n)
{
    for (size_t d = 0; d < plan->plan->n_destinations; d++)
        for (size_t i = 0; i < stated->instances.n; i++) {
            const Object *instance = stated->instances.list[i];
            if (!covers(plan->plan, instance->name) || !is_meant(instance, cli_instance(standings->cli)))
                continue;
            const char *on = is_placed(instance) ? instance->instance->node : NULL;
            const Mail__NodeStatus *node = on ? node_named(parts, n, on) : NULL;
            Standing standing = {.plan = plan->name,
                                 .destination = plan->plan->destinations[d],
                                 .instance = instance->name,
                                 .node = on,
                                 .standing = standing_of(node, plan->name, plan->plan->destinations[d])};
            standing_say(standings, &standing, node);
        }
}

static void standings_print(Cli *cli, const Line *line, const Stated *stated, Envelope *const *parts, size_t n,
                            Standings *standings)
{
    static const char *const headings[] = {"PLAN",     "DESTINATION", "INSTANCE", "NODE", "STATE",
                                           "LAST-RUN", "LAST-GOOD",   "SNAPSHOT", "NEXT", "TEXT"};
    bool data = cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML;

    standings->items = data ? json_array() : NULL;
    standings->table = cli->form == OUTPUT_TABLE ? table_new(cli->out, headings, 10) : NULL;
    for (size_t i = 0; i < stated->plans.n; i++)
        if (is_meant(stated->plans.list[i], line->key))
            plan_say(standings, stated, stated->plans.list[i], parts, n);
    table_end(&standings->table);
    if (!data)
        return;
    json_t *document = json_pack("{s:i,s:o}", "version", 1, "items", standings->items);
    print_document(cli->out, cli->form, &document);
}

/* 1 when something is not good: also what never ran, and what nobody has heard of. */
Error *run_backup_status(Cli *cli, const Line *line, int *ret_exit)
{
    DEFER(stated_done) Stated stated = {0};
    Standings standings = {.cli = cli};
    Envelope **parts = NULL;
    size_t n = 0;
    Error *err = stated_get(cli, &stated);

    if (!err)
        err = named_check(cli, &stated);
    if (!err)
        err = nodes_get(cli, &parts, &n);
    if (!err)
        standings_print(cli, line, &stated, parts, n, &standings);
    if (!err && !standings.n)
        fputs("no plan covers an instance: nothing is backed up\n"
              "hint: mailctl plan add nightly destinations=NAME schedule='daily 02:30'\n",
              stderr);
    *ret_exit = standings.n_not_good || !standings.n ? EXIT_SEEN : 0;
    for (size_t i = 0; i < n; i++)
        envelope_free(&parts[i]);
    free(parts);
    return err;
}

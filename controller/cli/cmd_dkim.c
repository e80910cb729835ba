/* DKIM: the record that a domain's owner publishes */
#include "dkim_record.h"
#include "objects.h"
#include "outcome.h"

#include "base/alloc.h"
#include "model/name.h"
#include "model/validate.h"

#include <string.h>

typedef struct Found {
    Object *object; /* NULL: none came */
} Found;

static void found_done(Found *found)
{
    object_free(&found->object);
}

static void begin_nothing(void *context)
{
    (void)context;
}

static Error *take(void *context, const Object *object)
{
    Found *found = context;

    object_free(&found->object);
    found->object = object_clone(object);
    return NULL;
}

static Error *look_up(Cli *cli, const char *kind, const char *name, Found *found)
{
    Mail__List list = MAIL__LIST__INIT;

    list.kind = (char *)kind;
    list.name = (char *)name;
    list.instance = (char *)cli->line->given[FLAG_INSTANCE];
    return objects_each(cli, &list, begin_nothing, take, found);
}

/* "raw" or "zone"; NULL: everything. */
static Error *format_of(Cli *cli, const char **ret_format)
{
    const char *given = cli->line->given[FLAG_FORMAT];

    *ret_format = given;
    if (!given || strcmp(given, "raw") == 0 || strcmp(given, "zone") == 0)
        return NULL;
    return error_hint(cli_usage(cli, "--format '%s': no such form", given), "raw or zone");
}

static void show_record(Cli *cli, const DkimRecord *record, bool on)
{
    json_t *json = json_object();

    json_put_text(json, "domain", record->domain);
    json_put_text(json, "selector", record->selector);
    json_object_set_new(json, "dkim", json_boolean(on));
    json_put_text(json, "name", record->name);
    json_put_text(json, "value", record->value);
    json_put_text(json, "zone", record->zone);
    print_document(cli->out, cli->form, &json);
}

static void show_text(Cli *cli, const DkimRecord *record, const char *format, bool on)
{
    if (format && strcmp(format, "raw") == 0) {
        fprintf(cli->out, "%s\n", record->value);
    } else if (cli->form == OUTPUT_NAME) {
        fprintf(cli->out, "%s\n", record->name);
    } else {
        fputs(record->zone, cli->out);
    }
    if (!on)
        fprintf(stderr, "note: %s is not signed: mailctl dkim enable %s\n", record->domain, record->domain);
}

Error *run_dkim_show(Cli *cli, const Line *line, int *ret_exit)
{
    DEFER(found_done) Found domain = {0}, key = {0};
    DEFER(dkim_record_done) DkimRecord record = {0};
    DEFER(xfree) char *name = NULL;
    const char *format = NULL;

    (void)ret_exit;
    Error *err = format_of(cli, &format);
    if (!err)
        err = name_normalise(MAIL__OBJECT__BODY_DOMAIN, line->key, &name);
    if (!err)
        err = look_up(cli, "domain", name, &domain);
    if (!err && !domain.object)
        err = error_new(ERROR_NOT_FOUND, "domain %s does not exist", line->key);
    if (err || !domain.object)
        return err;
    DEFER(xfree) char *key_name = xasprintf("%s/" DKIM_SELECTOR, name);
    err = look_up(cli, "dkim-key", key_name, &key);
    if (!err && !key.object)
        err = error_hint(error_new(ERROR_NOT_FOUND, "domain %s has no DKIM key yet", name),
                         "it is being made; mailctl dkim enable %s makes it at once", name);
    if (err || !key.object)
        return err;
    dkim_record_of(key.object, &record);
    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML)
        show_record(cli, &record, domain.object->domain->dkim);
    else
        show_text(cli, &record, format, domain.object->domain->dkim);
    return NULL;
}

#include "model/validate.h"

#include "base/alloc.h"
#include "model/amount.h"
#include "model/meta.h"
#include "model/name.h"
#include "model/value.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- which object ------------------------------------------------------------------ */

static void replace(char **place, char **text)
{
    free(*place);
    *place = **text ? *text : NULL;
    if (*place)
        *text = NULL;
}

static Error *instance_normalise(Object *object, const KindInfo *info)
{
    const char *instance = object->instance_name ? object->instance_name : "";
    DEFER(xfree) char *normal = NULL;
    Error *err = NULL;

    if (!info->meta->in_instance && *instance)
        return error_new(ERROR_INVALID, "lies in no instance");
    if (info->meta->in_instance && !*instance)
        return error_new(ERROR_INVALID, "instance is missing");
    if (*instance)
        err = text_normalise(MAIL__FIELD_TYPE__NAME, instance, &normal);
    else
        normal = xstrdup("");
    if (err)
        return error_in(err, "instance");
    replace(&object->instance_name, &normal);
    return NULL;
}

/* ---- each field by its options ------------------------------------------------------ */

static Error *required_check(const Object *object, const FieldMeta *field)
{
    size_t n = value_count(object, field);

    if (n == 0 ? !field->required : !field->list || n >= field->min)
        return NULL;
    DEFER(xfree) char *title = field_title(field);
    if (n == 0)
        return error_hint(error_new(ERROR_INVALID, "%s is missing", title), "%s=...: %s", title, field->words);
    return error_new(ERROR_INVALID, "%s: at least %" PRIu64 " entries", title, field->min);
}

static Error *fields_normalise(Object *object, const KindMeta *meta)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < meta->n_fields; i++) {
        err = value_normalise(object, &meta->fields[i]);
        if (!err)
            err = required_check(object, &meta->fields[i]);
    }
    return err;
}

/* ---- the rules of a kind ------------------------------------------------------------ */

static Error *admin_check(const Object *object)
{
    const Mail__Admin *admin = object->admin;
    int n = (admin->has_uid ? 1 : 0) + (admin->group ? 1 : 0) + (admin->key ? 1 : 0);

    if (n == 1)
        return NULL;
    return error_new(ERROR_INVALID, "%s of uid, group and key: exactly one says who it is",
                     n ? "more than one" : "none");
}

static Error *user_domain_check(const Object *object)
{
    const Mail__UserDomain *domain = object->user_domain;

    for (size_t i = 0; i < domain->n_replicas; i++)
        if (strcmp(domain->replicas[i], domain->node) == 0)
            return error_new(ERROR_INVALID, "replicas '%s': it holds the writable directory", domain->node);
    if (domain->n_replicas && !domain->n_listen)
        return error_hint(
            error_new(ERROR_INVALID, "replicas '%s': 'listen' has no address that it could reach", domain->replicas[0]),
            "state an address of %s as well: listen=ADDRESS", domain->node);
    return NULL;
}

static Error *domain_check(const Object *object)
{
    const char *catch_all = object->domain->catch_all;

    if (!catch_all || strncmp(catch_all, "user:", 5) == 0 || strncmp(catch_all, "public:", 7) == 0)
        return NULL;
    return error_hint(
        error_new(ERROR_INVALID, "catch-all '%s': one user of the directory, one public mailbox, or none", catch_all),
        "make an address with these destinations, or write user:NAME or public:NAME");
}

static Error *address_check(const Object *object)
{
    size_t local_len;
    const char *domain;

    if (object->address->dormant && address_split(object->name, &local_len, &domain) && strcmp(domain, "*") == 0)
        return error_new(ERROR_INVALID, "dormant: an address in every domain has none to lose");
    return NULL;
}

/* Each is named once: of two, the rights would be those of either or of both. */
static Error *public_mailbox_check(const Object *object)
{
    const Mail__PublicMailbox *mailbox = object->public_mailbox;
    Error *err = NULL;

    for (size_t i = 0; !err && i < mailbox->n_acl; i++) {
        const char *one = mailbox->acl[i];
        size_t len = (size_t)(strrchr(one, ':') - one);
        for (size_t k = 0; !err && k < i; k++)
            if (strncmp(mailbox->acl[k], one, len + 1) == 0 && !strchr(mailbox->acl[k] + len + 1, ':'))
                err = error_hint(error_new(ERROR_INVALID, "acl '%s': %.*s has rights already", one, (int)len, one),
                                 "take the other entry away: acl-=%s", mailbox->acl[k]);
    }
    return err;
}

static Error *policy_check(const Object *object)
{
    const Mail__Policy *policy = object->policy;

    for (size_t i = 0; i < policy->n_public_creators; i++)
        if (strncmp(policy->public_creators[i], "user:", 5) != 0 &&
            strncmp(policy->public_creators[i], "group:", 6) != 0)
            return error_hint(error_new(ERROR_INVALID, "public-creators '%s': a user or a group of the directory",
                                        policy->public_creators[i]),
                              "write user:NAME or group:NAME");
    return NULL;
}

static Error *settings_check(const Object *object)
{
    const Mail__Settings *settings = object->settings;

    if (settings->delay_warning < settings->queue_lifetime)
        return NULL;
    DEFER(xfree) char *warning = amount_text(MAIL__FIELD_TYPE__SPAN, settings->delay_warning);
    DEFER(xfree) char *lifetime = amount_text(MAIL__FIELD_TYPE__SPAN, settings->queue_lifetime);
    return error_new(ERROR_INVALID, "delay-warning '%s': must be less than queue-lifetime, which is %s", warning,
                     lifetime);
}

static Error *filter_check(const Object *object)
{
    const Mail__Filter *filter = object->filter;

    if (filter->spam_flag < filter->deny)
        return NULL;
    DEFER(xfree) char *flag = amount_text(MAIL__FIELD_TYPE__SCORE, filter->spam_flag);
    DEFER(xfree) char *deny = amount_text(MAIL__FIELD_TYPE__SCORE, filter->deny);
    return error_new(ERROR_INVALID, "spam-flag '%s': must be less than deny, which is %s", flag, deny);
}

static Error *tls_check(const Object *object)
{
    const Mail__Tls *tls = object->tls;
    const char *missing = tls->follow_certificate ? "follow-key" : "follow-certificate";

    if (!tls->follow_certificate == !tls->follow_key)
        return NULL;
    return error_hint(error_new(ERROR_INVALID, "%s is missing: certificate and key are set together", missing),
                      "%s=/PATH/OF/THE/FILE", missing);
}

static bool is_number_address(const char *host)
{
    return strchr(host, ':') || strspn(host, "0123456789.") == strlen(host);
}

/* A user without a password is what a rollback may leave (the password of then was erased): such a rule puts mail off.
 * The controller refuses it of anybody else. */
static Error *relay_check(const Object *object)
{
    const Mail__Relay *relay = object->relay;

    if (relay->has_password && !relay->user)
        return error_hint(error_new(ERROR_INVALID, "user is missing: user and password are set together"), "user=NAME");
    if (relay->user && strchr(relay->user, ':'))
        return error_new(ERROR_INVALID, "user '%s': ':' ends a user's name in Postfix", relay->user);
    if (relay->tls == MAIL__RELAY__LEVEL__VERIFY && is_number_address(relay->host))
        return error_hint(
            error_new(ERROR_INVALID, "host '%s': a certificate names no address: it cannot be verified", relay->host),
            "write the server's name, or tls=encrypt");
    if (relay->tls == MAIL__RELAY__LEVEL__OFF && relay->port == 465)
        return error_hint(error_new(ERROR_INVALID, "tls 'off': on port 465 TLS begins at once"),
                          "tls=encrypt or tls=verify, or another port");
    return NULL;
}

static Error *kind_check(const Object *object)
{
    switch (object->body_case) {
    case MAIL__OBJECT__BODY_ADMIN:
        return admin_check(object);
    case MAIL__OBJECT__BODY_USER_DOMAIN:
        return user_domain_check(object);
    case MAIL__OBJECT__BODY_DOMAIN:
        return domain_check(object);
    case MAIL__OBJECT__BODY_ADDRESS:
        return address_check(object);
    case MAIL__OBJECT__BODY_PUBLIC_MAILBOX:
        return public_mailbox_check(object);
    case MAIL__OBJECT__BODY_POLICY:
        return policy_check(object);
    case MAIL__OBJECT__BODY_SETTINGS:
        return settings_check(object);
    case MAIL__OBJECT__BODY_FILTER:
        return filter_check(object);
    case MAIL__OBJECT__BODY_TLS:
        return tls_check(object);
    case MAIL__OBJECT__BODY_RELAY:
        return relay_check(object);
    default:
        return NULL;
    }
}

/* ---- whole -------------------------------------------------------------------------- */

static Error *size_check(const Object *object)
{
    size_t size = mail__object__get_packed_size(object);

    if (size > OBJECT_BYTES_MAX)
        return error_new(ERROR_INVALID, "%zu octets in all: at most %d", size, OBJECT_BYTES_MAX);
    return NULL;
}

Error *object_validate(Object *object)
{
    const KindInfo *info = kind_info(object->body_case);
    DEFER(xfree) char *name = NULL;

    if (!info)
        return error_new(ERROR_INVALID, "object of no kind");
    /* Its errors name kind and name by themselves. */
    Error *err = name_normalise(object->body_case, object->name, &name);
    if (err)
        return err;
    replace(&object->name, &name);

    err = instance_normalise(object, info);
    if (!err)
        err = fields_normalise(object, info->meta);
    if (!err)
        err = kind_check(object);
    if (!err)
        err = size_check(object);
    if (err) {
        ObjectRef ref = object_ref(object);
        return error_in(err, "%s", object_title(&ref).text);
    }
    return NULL;
}

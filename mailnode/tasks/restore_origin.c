#include "tasks/restore_origin.h"

#include "base/alloc.h"
#include "seal/state_file.h"

#include <stdlib.h>
#include <string.h>

typedef struct Origin {
    const Object *here;
    bool found;
    Buf other;
} Origin;

static void compare(Origin *origin, const char *what, const char *then, const char *now)
{
    then = then ? then : "";
    now = now ? now : "";
    if (strcmp(then, now) != 0)
        buf_printf(&origin->other, "%s%s %s, not %s", origin->other.size ? "; " : "", what, *then ? then : "(none)",
                   *now ? now : "(none)");
}

/* A node runs one instance, and its state has no other. */
static Error *look(void *context, const void *bytes, size_t size)
{
    Origin *origin = context;
    DEFER(object_free) Object *object = NULL;

    Error *err = object_unpack(bytes, size, &object);
    if (err || object->body_case != MAIL__OBJECT__BODY_INSTANCE || strcmp(object->name, origin->here->name) != 0)
        return err;
    origin->found = true;
    compare(origin, "hostname", object->instance->hostname, origin->here->instance->hostname);
    compare(origin, "user-domain", object->instance->user_domain, origin->here->instance->user_domain);
    return NULL;
}

Error *origin_compare(const Buf *state, const Object *instance, char **ret_other)
{
    Origin origin = {.here = instance};
    uint64_t revision = 0;

    Error *err = error_in(state_file_read(state->data, state->size, &revision, look, &origin), "state of the node");
    if (!err && !origin.found)
        buf_printf(&origin.other, "no instance %s", instance->name);
    *ret_other = !err && origin.other.size ? xstrdup(buf_text(&origin.other)) : NULL;
    buf_done(&origin.other);
    return err;
}

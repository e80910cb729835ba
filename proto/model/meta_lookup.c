#include "model/meta.h"
#include "model/nearest.h"

#include <assert.h>
#include <string.h>

const KindMeta *meta_of(const ProtobufCMessageDescriptor *descriptor)
{
    for (size_t i = 0; i < n_kind_metas; i++)
        if (strcmp(kind_metas[i].message, descriptor->short_name) == 0)
            return &kind_metas[i];
    assert(!"a message of desired.proto");
    return NULL;
}

static bool same_name(const char *name, const char *typed)
{
    while (*name && (*name == *typed || (*name == '_' && *typed == '-'))) {
        name++;
        typed++;
    }
    return !*name && !*typed;
}

const FieldMeta *meta_field(const KindMeta *meta, const char *name)
{
    for (size_t i = 0; i < meta->n_fields; i++)
        if (same_name(meta->fields[i].name, name))
            return &meta->fields[i];
    return NULL;
}

const ProtobufCFieldDescriptor *meta_descriptor(const ProtobufCMessageDescriptor *message, const FieldMeta *field)
{
    return protobuf_c_message_descriptor_get_field_by_name(message, field->name);
}

const char *meta_field_nearest(const KindMeta *meta, const char *name)
{
    const char *names[64];
    size_t n = 0;

    for (size_t i = 0; i < meta->n_fields && n < sizeof names / sizeof *names; i++)
        names[n++] = meta->fields[i].name;
    return nearest_of(name, names, n);
}

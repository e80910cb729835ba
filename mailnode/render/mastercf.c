#include "render/mastercf.h"

#include "base/alloc.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

struct MasterCf {
    FileSet *out;
    Buf *text;
};

MasterCf *mastercf_new(FileSet *out, const char *path, const char *group)
{
    MasterCf *cf = xcalloc(1, sizeof *cf);

    cf->out = out;
    cf->text = fileset_add(out, path, group);
    buf_append_text(cf->text, "# service type private unpriv chroot wakeup maxproc command\n");
    return cf;
}

void mastercf_free(MasterCf **cf)
{
    free(*cf);
    *cf = NULL;
}

void mastercf_service(MasterCf *cf, const char *name, const char *type, MasterCfAccess access, const char *wakeup,
                      const char *limit, const char *command)
{
    buf_printf(cf->text, "%-18s %-10s %s - n %-5s %s %s\n", name, type, access == MASTERCF_PUBLIC ? "n" : "-", wakeup,
               limit, command);
}

void mastercf_listener(MasterCf *cf, const char *address, unsigned port, const char *command)
{
    struct in6_addr raw;
    DEFER(xfree) char *name = NULL;

    if (!address)
        name = xasprintf("%u", port);
    else if (inet_pton(AF_INET, address, &raw) == 1)
        name = xasprintf("%s:%u", address, port);
    else if (inet_pton(AF_INET6, address, &raw) == 1)
        name = xasprintf("[%s]:%u", address, port);
    if (name)
        mastercf_service(cf, name, "inet", MASTERCF_PUBLIC, "-", "-", command);
    else
        fileset_refuse(cf->out, error_new(ERROR_INVALID, "master.cf: a listener's address is no number"));
}

/* "$name" alone, or no '$' at all; braces hold blanks together. */
static bool value_ok(const char *value)
{
    const char *after = value[0] == '$' ? value + 1 : value;

    for (const char *at = after; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f || strchr("$\"{}", *at))
            return false;
    return after == value || (*after && after[strspn(after, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0');
}

void mastercf_option(MasterCf *cf, const char *name, const char *value)
{
    if (!value_ok(value))
        fileset_refuse(cf->out, error_new(ERROR_INVALID, "master.cf: %s: would be read as more than a value", name));
    else if (strpbrk(value, " ,"))
        buf_printf(cf->text, "    -o { %s = %s }\n", name, value);
    else
        buf_printf(cf->text, "    -o %s=%s\n", name, value);
}

#include "tasks/folder_name.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "model/mutf7.h"
#include "model/name.h"
#include "model/shown.h"

#include <stdlib.h>
#include <string.h>

#define USER "user:"
#define PUBLIC "public:"
#define INBOX "INBOX"

static void levels(char *text, char from, char to)
{
    for (; *text; text++)
        if (*text == from)
            *text = to;
}

static Error *no_such_kind(const char *text)
{
    DEFER(xfree) char *seen = shown(text);

    return error_hint(error_new(ERROR_INVALID, "mailbox '%s' is none", seen), "write user:NAME or public:NAME");
}

Error *mailbox_read(const char *text, Mailbox *ret_mailbox)
{
    bool public = strncmp(text, PUBLIC, strlen(PUBLIC)) == 0;
    Mailbox mailbox = {.kind = public ? MAILBOX_PUBLIC : MAILBOX_USER};

    if (!public && strncmp(text, USER, strlen(USER)) != 0)
        return no_such_kind(text);
    DEFER(xfree) char *seen = shown(text);
    Error *err = public ? text_normalise(MAIL__FIELD_TYPE__PUBLIC_NAME, text + strlen(PUBLIC), &mailbox.name)
                        : text_normalise(MAIL__FIELD_TYPE__ACCOUNT, text + strlen(USER), &mailbox.name);
    if (err)
        return error_in(err, "mailbox '%s'", seen);
    DEFER(xfree) char *on_disk = public ? mutf7_of(mailbox.name) : NULL;
    mailbox.base = public ? xasprintf(".%s", on_disk) : xstrdup("");
    levels(mailbox.base, '/', '.');
    *ret_mailbox = mailbox;
    return NULL;
}

void mailbox_done(Mailbox *mailbox)
{
    xfree(&mailbox->name);
    xfree(&mailbox->base);
}

const char *mailbox_entry_name(const Mailbox *mailbox)
{
    return mailbox->kind == MAILBOX_USER ? mailbox->name : mailbox->base;
}

/* What is no UTF-8 is written out: the answer travels as text. */
static char *readable(const char *text)
{
    DEFER(buf_done) Buf out = {0};

    for (size_t len; *text; text += len) {
        len = utf8_char_len(text, strlen(text));
        if (len)
            buf_append(&out, text, len);
        else
            buf_printf(&out, "\\x%02x", (unsigned char)*text);
        len += !len;
    }
    return xstrdup(buf_text(&out));
}

char *folder_shown(const Mailbox *mailbox, const char *on_disk)
{
    size_t len = strlen(mailbox->base);

    if (strcmp(on_disk, mailbox->base) == 0)
        return xstrdup(INBOX);
    if (strncmp(on_disk, mailbox->base, len) != 0 || on_disk[len] != '.')
        return NULL;
    DEFER(xfree) char *path = xstrdup(on_disk + len + 1);
    levels(path, '.', '/');
    char *utf8 = mutf7_read(path);
    return utf8 ? utf8 : readable(path);
}

bool folder_matches(const char *name, const char *filter)
{
    DEFER(xfree) char *folded = text_folded(name);
    DEFER(xfree) char *wanted = text_folded(filter);

    return strstr(folded, wanted) != NULL;
}

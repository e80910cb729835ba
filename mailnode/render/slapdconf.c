#include "render/slapdconf.h"

#include <string.h>

static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,=:/@*+-?{}";

static Error *word_check(const char *word)
{
    for (const char *at = word; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 127)
            return error_new(ERROR_INVALID, "slapd.conf: a control character in a value");
    return NULL;
}

static void word_write(Buf *text, const char *word)
{
    if (*word && strspn(word, plain) == strlen(word)) {
        buf_append_text(text, word);
        return;
    }
    buf_append_text(text, "\"");
    for (const char *at = word; *at; at++)
        buf_printf(text, "%s%c", *at == '"' || *at == '\\' ? "\\" : "", *at);
    buf_append_text(text, "\"");
}

void slapdconf_line(SlapdConf *conf, const char *const *words)
{
    for (size_t i = 0; words[i]; i++) {
        Error *err = word_check(words[i]);
        if (err) {
            fileset_refuse(conf->set, err);
            return;
        }
    }
    for (size_t i = 0; words[i]; i++) {
        if (i)
            buf_append_text(conf->text, strcmp(words[i], "by") == 0 ? "\n    " : " ");
        word_write(conf->text, words[i]);
    }
    buf_append_text(conf->text, "\n");
}

void slapdconf_heading(SlapdConf *conf, const char *text)
{
    buf_printf(conf->text, "%s# %s\n", conf->text->size ? "\n" : "", text);
}

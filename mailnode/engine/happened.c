#include "engine/happened.h"

#include "base/alloc.h"
#include "base/log.h"
#include "local/envelope.h"

#include <stdarg.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

struct Happened {
    uint64_t life, newest;
    size_t n;
    Mail__Happening *list[HAPPENED_KEPT]; /* oldest first */
    Msec at[HAPPENED_KEPT];
};

Happened *happened_new(void)
{
    Happened *happened = xcalloc(1, sizeof *happened);

    while (happened->life == 0) {
        if (getrandom(&happened->life, sizeof happened->life, 0) != sizeof happened->life)
            happened->life = clock_ms() << 24 | (uint64_t)getpid();
    }
    return happened;
}

static void forget(Happened *happened, size_t index)
{
    Mail__Happening *one = happened->list[index];

    xfree(&one->what);
    xfree(&one->text);
    xfree(&happened->list[index]);
}

void happened_free(Happened **happened)
{
    if (!*happened)
        return;
    for (size_t i = 0; i < (*happened)->n; i++)
        forget(*happened, i);
    xfree(happened);
}

static LogLevel level_of(Mail__FactState severity)
{
    switch (severity) {
    case MAIL__FACT_STATE__GOOD:
        return LOG_LEVEL_INFO;
    case MAIL__FACT_STATE__BAD:
        return LOG_LEVEL_ERROR;
    default:
        return LOG_LEVEL_WARNING;
    }
}

void happened_add(Happened *happened, Mail__FactState severity, const char *what, const char *format, ...)
{
    Mail__Happening *one = xmalloc(sizeof *one);
    va_list args;

    if (happened->n == HAPPENED_KEPT) {
        forget(happened, 0);
        happened->n--;
        memmove(happened->list, happened->list + 1, happened->n * sizeof *happened->list); /* NOLINT: pointers */
        memmove(happened->at, happened->at + 1, happened->n * sizeof *happened->at);
    }
    mail__happening__init(one);
    one->has_number = one->has_severity = one->has_age_ms = true;
    one->number = ++happened->newest;
    one->severity = severity;
    one->what = xstrdup(what);
    va_start(args, format);
    one->text = xvasprintf(format, args);
    va_end(args);
    words_mend(one->text); /* what a daemon wrote need not be text, what is sent must be */
    log_at(level_of(severity), what, kv("about", one->text));
    happened->at[happened->n] = clock_ms();
    happened->list[happened->n++] = one;
}

uint64_t happened_life(const Happened *happened)
{
    return happened->life;
}

size_t happened_list(Happened *happened, uint64_t after, Msec now, Mail__Happening *const **ret_list)
{
    size_t first = 0;

    while (first < happened->n && happened->list[first]->number <= after)
        first++;
    for (size_t i = first; i < happened->n; i++)
        happened->list[i]->age_ms = now > happened->at[i] ? now - happened->at[i] : 0;
    *ret_list = happened->list + first;
    return happened->n - first;
}

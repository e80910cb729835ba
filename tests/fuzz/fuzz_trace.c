/* Lines of mail logs, whose addresses, names and words are a peer's: what is found is what was asked for, and prints as it is. */
#include "fuzz.h"

#include "base/alloc.h"
#include "tasks/trace.h"
#include "tasks/trace_search.h"

#include <string.h>

static struct tm now = {.tm_year = 126, .tm_mon = 10, .tm_mday = 29, .tm_isdst = -1};

static void printable(const char *text)
{
    for (; text && *text; text++)
        REQUIRE(*text >= 0x20 && *text < 0x7f);
}

static Error *look(void *context, const Attempt *attempt)
{
    const char *last = attempt->to ? strrchr(attempt->to, '@') : NULL;
    const char *origin = attempt->orig_to ? strrchr(attempt->orig_to, '@') : NULL;

    (void)context;
    printable(attempt->from);
    printable(attempt->to);
    printable(attempt->orig_to);
    printable(attempt->words);
    REQUIRE(attempt->result && *attempt->id);
    REQUIRE(!attempt->to || strlen(attempt->to) >= TRACE_WORDS_MAX || (last && strcasecmp(last, "@example.org") == 0) ||
            (origin && strcasecmp(origin, "@example.org") == 0) ||
            (attempt->orig_to && strlen(attempt->orig_to) >= TRACE_WORDS_MAX));
    return NULL;
}

static void each_line(char *text, void (*take)(void *context, const char *line), void *context)
{
    char *rest = NULL;

    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        take(context, line);
}

static void search_take(void *context, const char *line)
{
    search_line(context, line, &now);
}

static void trace_take(void *context, const char *line)
{
    TraceStep step;

    trace_look(context, line);
    if (!trace_step(context, line, &step))
        return;
    printable(step.program);
    printable(step.id);
    printable(buf_text(&step.text));
    printable(step.message_id);
    trace_step_done(&step);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    DEFER(search_free) Search *search = NULL;
    DEFER(trace_free) Trace *trace = NULL;

    REQUIRE(!search_new(&(SearchWish){.to = "@example.org", .until = UINT64_MAX}, &search));
    REQUIRE(!trace_new("a@b.test", &trace));
    for (int i = 0; i < 2; i++) {
        DEFER(xfree) char *text = xmalloc(size + 1);
        if (size)
            memcpy(text, data, size);
        text[size] = '\0';
        each_line(text, i ? trace_take : search_take, i ? (void *)trace : (void *)search);
    }
    REQUIRE(!search_tell(search, look, NULL));
    return 0;
}

/* A reload is done when the right answer comes from the new configuration, not when the signal was sent. */
#include "engine/supervise_inside.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/utf8.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_MS = 100, LOOK_BYTES = 65536, LOG_LINES = 10, SPEAKER_WORDS = 3 };

/* Lines stay lines; what else could do something to a terminal or is no UTF-8 goes. */
static void make_plain(char *text)
{
    size_t left = strlen(text);

    while (left) {
        size_t len = utf8_char_len(text, left);
        unsigned char first = (unsigned char)*text;
        if (len == 0 || first == 0x7f || (first < 0x20 && first != '\n'))
            *text = first == '\t' ? ' ' : '?';
        /* C1 controls: U+0080 to U+009F */
        if (len == 2 && first == 0xc2 && (unsigned char)text[1] < 0xa0)
            text[0] = text[1] = '?';
        text += len ? len : 1;
        left -= len ? len : 1;
    }
}

static uint64_t log_size(const Supervise *supervise, const Unit *unit)
{
    struct stat st;

    return stat(unit_log(supervise, unit).text, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* The signal goes first: when we die before the run-file is written, it is sent once more, which does no harm. */
void unit_reload(Supervise *supervise, Unit *unit, Msec now)
{
    unit->log_from = log_size(supervise, unit);
    child_free(&unit->probe);
    CRASH_POINT("engine.daemon.reloading");
    uint64_t after = probe_ticks();
    unit_signal(unit, SIGHUP);
    CRASH_POINT("engine.daemon.signalled");
    unit->loads++;
    unit->reloading = true;
    unit->reload_look_at = now;
    unit->file.generation = unit->generation;
    unit->file.files = unit->files;
    unit->file.restart = unit->restart;
    unit->file.answered = false;
    Error *err = unit_write_runfile(supervise, unit);
    if (!err)
        err = supervise->how->probe_reloaded(unit->id, supervise->state, unit->pid, after, unit->daemon->reload_ms,
                                             &unit->probe);
    if (err)
        unit_reload_ended(supervise, unit, false, err->what, now);
    error_free(&err);
    CRASH_POINT("engine.daemon.reloaded");
}

/* What was written since the signal, up to a limit: -1 where it cannot be read. */
static ssize_t log_read(const Supervise *supervise, const Unit *unit, uint64_t from, char *out, size_t size)
{
    int fd = open(unit_log(supervise, unit).text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ssize_t len = fd < 0 ? -1 : pread(fd, out, size, (off_t)from);

    if (fd >= 0)
        close(fd);
    return len;
}

/* Does this line come from the daemon's main process?  Others log what strangers choose: one of the first three words is
 * its name. */
static bool speaks(const char *speaker, const char *line)
{
    size_t len = strlen(speaker);

    for (int word = 0; word < SPEAKER_WORDS; word++) {
        size_t n = strcspn(line, " \n");
        if (n >= len && strncmp(line + n - len, speaker, len) == 0)
            return true;
        line += n;
        if (*line != ' ')
            return false;
        line++;
    }
    return false;
}

static const char *find_refusal(const Daemon *daemon, const char *text)
{
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *found = strstr(line, daemon->refusal);
        if (found && found < line + strcspn(line, "\n") && speaks(daemon->speaker, line))
            return found;
    }
    return NULL;
}

/* The line that says so, owned by the caller; NULL: it says no such thing. */
static char *log_refuses(const Supervise *supervise, const Unit *unit)
{
    static char text[LOOK_BYTES + 1];
    uint64_t size = log_size(supervise, unit);
    uint64_t from = size < unit->log_from ? 0 : unit->log_from; /* cut meanwhile */
    ssize_t len = unit->daemon->refusal ? log_read(supervise, unit, from, text, LOOK_BYTES) : -1;

    text[len > 0 ? len : 0] = '\0';
    const char *found = unit->daemon->refusal ? find_refusal(unit->daemon, text) : NULL;
    if (!found)
        return NULL;
    char *line = xasprintf("the new configuration was not taken: %.*s", (int)strcspn(found, "\n"), found);
    make_plain(line);
    if (strlen(line) >= SUPERVISE_WHY_BYTES)
        line[SUPERVISE_WHY_BYTES] = '\0';
    return line;
}

/* It goes on with the old configuration, and answers well: only its log knows. */
void unit_reload_look(Supervise *supervise, Unit *unit, Msec now)
{
    if (!unit->daemon->refusal || now < unit->reload_look_at)
        return;
    unit->reload_look_at = now + LOOK_MS;
    DEFER(xfree) char *line = log_refuses(supervise, unit);
    if (!line)
        return;
    child_free(&unit->probe);
    unit_reload_ended(supervise, unit, false, line, now);
}

void unit_reload_ended(Supervise *supervise, Unit *unit, bool answered, const char *words, Msec now)
{
    Error *err = NULL;

    DEFER(xfree) char *refusal = answered ? log_refuses(supervise, unit) : NULL;

    if (refusal) {
        answered = false;
        words = refusal;
    }
    unit->reloading = false;
    unit->probe_at = now + supervise->probe_ms;
    if (!answered) {
        happened_add(supervise->happened, MAIL__FACT_STATE__BAD, "reload failed", "%s: %s", unit->daemon->name, words);
        unit_reason(unit, "%s", words);
        unit_load_failed(supervise, unit, words);
        unit_event(supervise, unit, SERVICE_SILENT, now);
        return;
    }
    unit->file.answered = true;
    unit->answered_at = now;
    unit->silent = 0;
    err = unit_write_runfile(supervise, unit);
    unit_event(supervise, unit, SERVICE_ANSWERED, now);
    happened_add(supervise->happened, MAIL__FACT_STATE__GOOD, "daemon reloaded", "%s%s%s", unit->daemon->name,
                 err ? ": " : "", err ? err->what : "");
    error_free(&err);
    supervise->moved = true;
}

/* ---- its own words ----------------------------------------------------------------- */

static const char *last_lines(char *text)
{
    char *at = text + strlen(text);
    int lines = 0;

    while (at > text && at[-1] == '\n')
        *--at = '\0';
    while (at > text && (at[-1] != '\n' || ++lines < LOG_LINES))
        at--;
    return at;
}

/* Never what was written before: it would be the words of another trouble. */
char *unit_log_end(const Supervise *supervise, const Unit *unit)
{
    uint64_t size = log_size(supervise, unit);
    uint64_t from = size > unit->log_from ? unit->log_from : size;
    char text[SUPERVISE_WHY_BYTES + 1] = "";
    char *begin = text;

    if (size - from > SUPERVISE_WHY_BYTES)
        from = size - SUPERVISE_WHY_BYTES;
    ssize_t len = log_read(supervise, unit, from, text, SUPERVISE_WHY_BYTES);
    text[len > 0 ? len : 0] = '\0';
    if (from > unit->log_from && strchr(text, '\n'))
        begin = strchr(text, '\n') + 1; /* a line that was cut */
    make_plain(begin);
    return xstrdup(last_lines(begin));
}

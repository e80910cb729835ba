#include "model/schedule.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/path.h"
#include "model/shown.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define DIGITS "0123456789"
#define ZONES "/usr/share/zoneinfo"

enum {
    TEXT_MAX = 200, /* octets */
    HOUR_S = 3600,
    DAY_S = 86400,
    YEARS_SEEN = 28, /* after so many weekdays and leap days come round again */
    ZONE_MAX = 64,
};

typedef struct Part {
    const char *name;
    unsigned low, high, width; /* width: digits it is written with */
} Part;

static const Part parts[SCHEDULE_PARTS] = {
    [SCHEDULE_YEAR] = {"year", 1970, 2199, 4}, [SCHEDULE_MONTH] = {"month", 1, 12, 2},
    [SCHEDULE_DAY] = {"day", 1, 31, 2},        [SCHEDULE_HOUR] = {"hour", 0, 23, 2},
    [SCHEDULE_MINUTE] = {"minute", 0, 59, 2},  [SCHEDULE_SECOND] = {"second", 0, 59, 2},
    [SCHEDULE_WEEKDAY] = {"weekday", 0, 6, 0},
};

static const char *const weekdays[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};

/* ---- sets -------------------------------------------------------------------------- */

static void set_put(ScheduleSet *set, unsigned i)
{
    set->word[i / 64] |= UINT64_C(1) << (i % 64);
}

static bool set_has(const ScheduleSet *set, unsigned i)
{
    return set->word[i / 64] >> (i % 64) & 1;
}

static void set_fill(ScheduleSet *set, SchedulePart part)
{
    for (unsigned i = 0; i <= parts[part].high - parts[part].low; i++)
        set_put(set, i);
}

static void set_one(Schedule *schedule, SchedulePart part, unsigned value)
{
    memset(&schedule->set[part], 0, sizeof schedule->set[part]);
    set_put(&schedule->set[part], value - parts[part].low);
}

/* Every day at midnight. */
static Schedule all_days(void)
{
    Schedule schedule = {0};

    set_fill(&schedule.set[SCHEDULE_YEAR], SCHEDULE_YEAR);
    set_fill(&schedule.set[SCHEDULE_MONTH], SCHEDULE_MONTH);
    set_fill(&schedule.set[SCHEDULE_DAY], SCHEDULE_DAY);
    set_fill(&schedule.set[SCHEDULE_WEEKDAY], SCHEDULE_WEEKDAY);
    set_one(&schedule, SCHEDULE_HOUR, 0);
    set_one(&schedule, SCHEDULE_MINUTE, 0);
    set_one(&schedule, SCHEDULE_SECOND, 0);
    return schedule;
}

/* ---- reading one part -------------------------------------------------------------- */

static Error *not_so(const char *at, size_t len, const char *words)
{
    DEFER(xfree) char *one = xstrndup(at, len);
    DEFER(xfree) char *seen = shown(one);

    return error_new(ERROR_INVALID, "'%s': %s", seen, words);
}

/* A number within the part's limits. */
static Error *number_read(SchedulePart part, const char **at, unsigned *ret_value)
{
    const Part *limits = &parts[part];
    size_t n = strspn(*at, DIGITS);

    if (!n)
        return error_new(ERROR_INVALID, "no %s before '%.1s'", limits->name, **at ? *at : " ");
    unsigned value = n > 4 ? 9999 : (unsigned)strtoul(*at, NULL, 10);
    if (part == SCHEDULE_YEAR && n != 4)
        return error_hint(not_so(*at, n, "a year has four digits"), "leave it out for every year");
    if (value < limits->low || value > limits->high)
        return error_new(ERROR_INVALID, "%s %.*s: %u to %u", limits->name, (int)(n < 8 ? n : 8), *at, limits->low,
                         limits->high);
    *at += n;
    *ret_value = value;
    return NULL;
}

/* Its name in full or the first three letters, in any case. */
static Error *weekday_read(const char **at, unsigned *ret_value)
{
    size_t n = strcspn(*at, " ,./-~");

    for (unsigned i = 0; i < 7; i++) {
        if ((n != 3 && n != strlen(weekdays[i])) || strncasecmp(*at, weekdays[i], n) != 0)
            continue;
        *at += n;
        *ret_value = i;
        return NULL;
    }
    return error_hint(not_so(*at, n, "no day of the week"), "Mon, Tue, Wed, Thu, Fri, Sat, Sun");
}

static Error *value_read(SchedulePart part, const char **at, unsigned *ret_value)
{
    return part == SCHEDULE_WEEKDAY ? weekday_read(at, ret_value) : number_read(part, at, ret_value);
}

/* What follows '/'; without one it is 1, and *ret_stepped stays. */
static Error *step_read(SchedulePart part, const char **at, unsigned *ret_step, bool *ret_stepped)
{
    unsigned most = parts[part].high - parts[part].low;

    *ret_step = 1;
    if (**at != '/' || part == SCHEDULE_WEEKDAY)
        return NULL;
    size_t n = strspn(++*at, DIGITS);
    unsigned long step = n && n < 5 ? strtoul(*at, NULL, 10) : 0;
    if (step < 1 || step > most)
        return error_new(ERROR_INVALID, "behind '/' of a %s stands a step of 1 to %u", parts[part].name, most);
    *at += n;
    *ret_step = (unsigned)step;
    *ret_stepped = true;
    return NULL;
}

/* a, a..b, a/n, a..b/n */
static Error *item_read(SchedulePart part, const char **at, ScheduleSet *set)
{
    const Part *limits = &parts[part];
    unsigned first = 0, last = 0, step = 1;
    bool ranged = false, stepped = false;

    Error *err = value_read(part, at, &first);
    if (!err && strncmp(*at, "..", 2) == 0) {
        *at += 2;
        ranged = true;
        err = value_read(part, at, &last);
    }
    if (!err)
        err = step_read(part, at, &step, &stepped);
    if (err)
        return err;
    if (ranged && last < first)
        return error_hint(error_new(ERROR_INVALID, "a range of %ss that ends before it begins", limits->name),
                          part == SCHEDULE_WEEKDAY ? "write Sat,Sun,Mon for Sat..Mon" : "write 22,23,0,1 for 22..1");
    if (!ranged)
        last = stepped ? limits->high : first;
    for (unsigned value = first; value <= last; value += step)
        set_put(set, value - limits->low);
    return NULL;
}

static Error *set_read(SchedulePart part, const char **at, ScheduleSet *ret_set)
{
    ScheduleSet set = {{0}};

    if (**at == '*') {
        if (*++*at == '/')
            return error_hint(error_new(ERROR_INVALID, "a step needs a number to begin at"), "write %u/%.*s",
                              parts[part].low, (int)strspn(*at + 1, DIGITS), *at + 1);
        set_fill(&set, part);
        *ret_set = set;
        return NULL;
    }
    for (;;) {
        Error *err = item_read(part, at, &set);
        if (err)
            return err;
        if (**at != ',')
            break;
        ++*at;
    }
    *ret_set = set;
    return NULL;
}

/* Parts with 'mark' between them, which fill the whole word. */
static Error *parts_read(Schedule *schedule, const char *word, SchedulePart first, unsigned n, char mark)
{
    const char *at = word;

    for (unsigned i = 0; i < n; i++) {
        if (i && *at != mark)
            return not_so(word, strlen(word),
                          mark == ':' ? "write HOUR:MINUTE or HOUR:MINUTE:SECOND"
                                      : "write MONTH-DAY or YEAR-MONTH-DAY");
        at += i ? 1 : 0;
        Error *err = set_read(first + i, &at, &schedule->set[first + i]);
        if (err)
            return err;
    }
    if (*at == '.')
        return error_hint(error_new(ERROR_INVALID, "parts of a second are not taken"), "write whole seconds");
    return *at ? not_so(at, strlen(at), "nothing is expected here") : NULL;
}

static unsigned count_of(const char *word, char mark)
{
    unsigned n = 0;

    for (; *word; word++)
        n += *word == mark;
    return n;
}

static Error *time_word(Schedule *schedule, const char *word)
{
    unsigned n = count_of(word, ':');

    return parts_read(schedule, word, SCHEDULE_HOUR, n == 1 ? 2 : 3, ':');
}

static Error *date_word(Schedule *schedule, const char *word)
{
    if (strchr(word, '~'))
        return error_hint(error_new(ERROR_INVALID, "days counted from the end of the month ('~') are not taken"),
                          "write a day that every month has: *-*-28, or *-*-01");
    switch (count_of(word, '-')) {
    case 1:
        return parts_read(schedule, word, SCHEDULE_MONTH, 2, '-');
    case 2:
        return parts_read(schedule, word, SCHEDULE_YEAR, 3, '-');
    default:
        return not_so(word, strlen(word), "write MONTH-DAY or YEAR-MONTH-DAY");
    }
}

static Error *weekday_word(Schedule *schedule, const char *word)
{
    return parts_read(schedule, word, SCHEDULE_WEEKDAY, 1, ' ');
}

/* ---- words ------------------------------------------------------------------------- */

enum { WORDS_MAX = 4 };

/* The text, taken apart at its spaces. */
typedef struct Words {
    char *text;
    char *word[WORDS_MAX]; /* the first is always there */
    size_t n;
} Words;

static Words words_in(const char *text)
{
    char *copy = xstrdup(text);

    return (Words){.text = copy, .word = {copy}};
}

static const char *last_of(const Words *words)
{
    return words->word[words->n ? words->n - 1 : 0];
}

static Error *words_split(Words *words)
{
    for (char *state = NULL, *word = strtok_r(words->text, " ", &state); word; word = strtok_r(NULL, " ", &state)) {
        if (words->n == WORDS_MAX)
            return error_hint(error_new(ERROR_INVALID, "too many words"),
                              "write [WEEKDAYS] [YEAR-MONTH-DAY] HOUR:MINUTE");
        words->word[words->n++] = word;
    }
    return words->n ? NULL : error_new(ERROR_INVALID, "empty");
}

/* systemd's words for a calendar expression, in its one form here. */
static const struct {
    const char *word, *name, *means;
} names[] = {
    {"minutely", "minutely", "*-*-* *:*:00"},
    {"hourly", "hourly", "*-*-* *:00:00"},
    {"monthly", "monthly", "*-*-01 00:00:00"},
    {"quarterly", "quarterly", "*-01,04,07,10-01 00:00:00"},
    {"semiannually", "semiannually", "*-01,07-01 00:00:00"},
    {"semi-annually", "semiannually", "*-01,07-01 00:00:00"},
    {"yearly", "yearly", "*-01-01 00:00:00"},
    {"annually", "yearly", "*-01-01 00:00:00"},
};

static Error *zone_in_text(const char *word)
{
    return error_hint(error_new(ERROR_INVALID, "a time zone is no part of the schedule"), "write time-zone=%s", word);
}

/* What begins with a letter is a weekday, or a time zone that has a field of its own. */
static bool is_zone(const char *word)
{
    const char *slash = strchr(word, '/');

    return strcasecmp(word, "UTC") == 0 || strcasecmp(word, "GMT") == 0 ||
           (slash && slash > word && strspn(word, DIGITS "*,.-:~") < (size_t)(slash - word) && slash[1] > '9');
}

static Error *calendar_read(const Words *words, Schedule *ret_schedule)
{
    Schedule schedule = all_days();
    size_t i = 0;
    Error *err = NULL;

    if (is_zone(last_of(words)))
        return zone_in_text(last_of(words));
    if (*words->word[0] == '@')
        return error_new(ERROR_INVALID, "a moment, and no schedule");
    if (((*words->word[0] | 0x20) >= 'a' && (*words->word[0] | 0x20) <= 'z'))
        err = weekday_word(&schedule, words->word[i++]);
    if (!err && i < words->n && !strchr(words->word[i], ':'))
        err = date_word(&schedule, words->word[i++]);
    if (!err && i < words->n)
        err = time_word(&schedule, words->word[i++]);
    if (!err && i < words->n)
        err = not_so(words->word[i], strlen(words->word[i]), "nothing is expected behind the time");
    if (!err)
        *ret_schedule = schedule;
    return err;
}

/* The one moment of the day behind daily and weekly DAY. */
static Error *clock_read(const char *word, Schedule *schedule)
{
    const char *digits = word + strspn(word, DIGITS);

    if (digits == word || *digits != ':' || digits[1 + strspn(digits + 1, DIGITS)])
        return error_hint(not_so(word, strlen(word), "no time of the day"), "write HH:MM: 02:30");
    return parts_read(schedule, word, SCHEDULE_HOUR, 2, ':');
}

/* daily [HH:MM], weekly [DAY [HH:MM]] */
static Error *daily_read(const Words *words, Schedule *ret_schedule)
{
    Schedule schedule = all_days();
    bool weekly = strcasecmp(words->word[0], "weekly") == 0;
    size_t i = 1;
    Error *err = NULL;

    if (is_zone(last_of(words)))
        return zone_in_text(last_of(words));
    if (weekly)
        set_one(&schedule, SCHEDULE_WEEKDAY, 0);
    if (weekly && i < words->n) {
        const char *at = words->word[i++];
        unsigned day = 0;
        err = weekday_read(&at, &day);
        if (!err && *at)
            err = error_hint(not_so(at, strlen(at), "one day of the week"), "several days: Mon,Thu 03:00");
        set_one(&schedule, SCHEDULE_WEEKDAY, day);
    }
    if (!err && i < words->n)
        err = clock_read(words->word[i++], &schedule);
    if (!err && i < words->n)
        err = not_so(words->word[i], strlen(words->word[i]), "nothing is expected behind the time");
    if (!err)
        *ret_schedule = schedule;
    return err;
}

/* ---- as people write it ------------------------------------------------------------ */

/* How many follow 'first' with the distance 'step' without one between them. */
static unsigned run_of(const ScheduleSet *set, unsigned first, unsigned step, unsigned most)
{
    unsigned n = 1, last = first;

    for (unsigned i = first + 1; i <= most; i++) {
        if (!set_has(set, i))
            continue;
        if (i != last + step)
            break;
        last = i;
        n++;
    }
    return n;
}

static void value_write(SchedulePart part, unsigned value, Buf *out)
{
    if (part == SCHEDULE_WEEKDAY)
        buf_printf(out, "%.3s", weekdays[value]);
    else
        buf_printf(out, "%0*u", (int)parts[part].width, value + parts[part].low);
}

/* From 'first' on, as much as one item says; returns the last of it. */
static unsigned item_write(const ScheduleSet *set, SchedulePart part, unsigned first, Buf *out)
{
    unsigned most = parts[part].high - parts[part].low, step = 1;

    while (first + step <= most && !set_has(set, first + step))
        step++;
    unsigned n = first + step <= most ? run_of(set, first, step, most) : 1;
    unsigned last = first + (n - 1) * step;
    value_write(part, first, out);
    if (n < 3 || (step > 1 && part == SCHEDULE_WEEKDAY))
        return first;
    if (step == 1 || last + step <= most) { /* without its end a step goes on to the last */
        buf_printf(out, "..");
        value_write(part, last, out);
    }
    if (step > 1)
        buf_printf(out, "/%u", step);
    return last;
}

static void set_write(const Schedule *schedule, SchedulePart part, Buf *out)
{
    const ScheduleSet *set = &schedule->set[part];
    unsigned most = parts[part].high - parts[part].low, n = 0;
    bool first = true;

    for (unsigned i = 0; i <= most; i++)
        n += set_has(set, i);
    if (n == most + 1) {
        buf_printf(out, "*");
        return;
    }
    for (unsigned i = 0; i <= most; i++) {
        if (!set_has(set, i))
            continue;
        buf_printf(out, "%s", first ? "" : ",");
        i = item_write(set, part, i, out);
        first = false;
    }
}

static char *calendar_text(const Schedule *schedule)
{
    static const char *const before[] = {"", "-", "-", " ", ":", ":"};
    DEFER(buf_done) Buf out = {0};
    DEFER(buf_done) Buf days = {0};

    set_write(schedule, SCHEDULE_WEEKDAY, &days);
    if (strcmp(buf_text(&days), "*") != 0)
        buf_printf(&out, "%s ", buf_text(&days));
    for (SchedulePart part = SCHEDULE_YEAR; part <= SCHEDULE_SECOND; part++) {
        buf_printf(&out, "%s", before[part]);
        set_write(schedule, part, &out);
    }
    return xstrdup(buf_text(&out));
}

static char *daily_text(const Schedule *schedule, bool weekly)
{
    DEFER(buf_done) Buf out = {0};

    buf_printf(&out, weekly ? "weekly " : "daily ");
    if (weekly) {
        set_write(schedule, SCHEDULE_WEEKDAY, &out);
        buf_printf(&out, " ");
    }
    set_write(schedule, SCHEDULE_HOUR, &out);
    buf_printf(&out, ":");
    set_write(schedule, SCHEDULE_MINUTE, &out);
    return xstrdup(buf_text(&out));
}

/* ---- times of the calendar --------------------------------------------------------- */

/* Year to second. */
typedef struct Civil {
    unsigned value[SCHEDULE_SECOND + 1];
} Civil;

static int64_t civil_seconds(const Civil *civil) /* as if it were UTC */
{
    const unsigned *value = civil->value;
    struct tm tm = {
        .tm_year = (int)value[SCHEDULE_YEAR] - 1900,
        .tm_mon = (int)value[SCHEDULE_MONTH] - 1,
        .tm_mday = (int)value[SCHEDULE_DAY],
        .tm_hour = (int)value[SCHEDULE_HOUR],
        .tm_min = (int)value[SCHEDULE_MINUTE],
        .tm_sec = (int)value[SCHEDULE_SECOND],
    };

    return timegm(&tm);
}

static bool civil_of(int64_t seconds, Civil *ret_civil)
{
    struct tm tm;
    time_t time = seconds;

    if (seconds < 0 || !gmtime_r(&time, &tm) || tm.tm_year + 1900 > (int)parts[SCHEDULE_YEAR].high)
        return false;
    *ret_civil = (Civil){{(unsigned)tm.tm_year + 1900, (unsigned)tm.tm_mon + 1, (unsigned)tm.tm_mday,
                          (unsigned)tm.tm_hour, (unsigned)tm.tm_min, (unsigned)tm.tm_sec}};
    return true;
}

static unsigned month_days(const Civil *civil)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year = civil->value[SCHEDULE_YEAR], month = civil->value[SCHEDULE_MONTH];
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* 1970-01-01 was a Thursday. */
static unsigned weekday_of(const Civil *civil, unsigned day)
{
    Civil midnight = {{civil->value[SCHEDULE_YEAR], civil->value[SCHEDULE_MONTH], day, 0, 0, 0}};

    return (unsigned)((civil_seconds(&midnight) / DAY_S + 3) % 7);
}

/* The first value of this part, from the one it has on, that belongs to the schedule; false: none. */
static bool part_next(const Schedule *schedule, Civil *civil, SchedulePart part)
{
    unsigned high = part == SCHEDULE_DAY ? month_days(civil) : parts[part].high, low = parts[part].low;

    for (unsigned value = civil->value[part]; value <= high; value++) {
        if (!set_has(&schedule->set[part], value - low))
            continue;
        if (part == SCHEDULE_DAY && !set_has(&schedule->set[SCHEDULE_WEEKDAY], weekday_of(civil, value)))
            continue;
        if (value == civil->value[part])
            return true;
        civil->value[part] = value;
        for (SchedulePart below = part + 1; below <= SCHEDULE_SECOND; below++)
            civil->value[below] = parts[below].low;
        return true;
    }
    return false;
}

/* The first time of the schedule that is not before *civil; false: none. */
static bool civil_next(const Schedule *schedule, Civil *civil)
{
    SchedulePart part = SCHEDULE_YEAR;

    while (part <= SCHEDULE_SECOND) {
        if (part_next(schedule, civil, part)) {
            part++;
            continue;
        }
        if (part == SCHEDULE_YEAR)
            return false;
        for (SchedulePart below = part; below <= SCHEDULE_SECOND; below++)
            civil->value[below] = parts[below].low;
        civil->value[--part]++; /* what is then too large carries on */
    }
    return true;
}

/* ---- reading it whole -------------------------------------------------------------- */

static Error *some_time_check(const Schedule *schedule)
{
    Civil civil = {{parts[SCHEDULE_YEAR].low, 1, 1, 0, 0, 0}};

    return civil_next(schedule, &civil) ? NULL : error_new(ERROR_INVALID, "no such day: it never comes");
}

static Error *named_read(const Words *words, size_t i, Schedule *schedule)
{
    Words calendar = words_in(names[i].means);

    Error *err = words->n == 1 ? words_split(&calendar)
                               : error_hint(error_new(ERROR_INVALID, "nothing follows %s", names[i].word),
                                            "write %s, or a calendar expression: *-*-01 03:00", names[i].word);
    if (!err)
        err = calendar_read(&calendar, schedule);
    free(calendar.text);
    return err;
}

static Error *any_read(const Words *words, Schedule *schedule, char **ret_text)
{
    bool weekly = strcasecmp(words->word[0], "weekly") == 0;

    if (weekly || strcasecmp(words->word[0], "daily") == 0) {
        Error *err = daily_read(words, schedule);
        *ret_text = err ? NULL : daily_text(schedule, weekly);
        return err;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcasecmp(words->word[0], names[i].word) != 0)
            continue;
        Error *err = named_read(words, i, schedule);
        *ret_text = err ? NULL : xstrdup(names[i].name);
        return err;
    }
    Error *err = calendar_read(words, schedule);
    if (!err)
        err = some_time_check(schedule);
    *ret_text = err ? NULL : calendar_text(schedule);
    return err;
}

Error *schedule_read(const char *text, Schedule *ret_schedule, char **ret_text)
{
    Schedule schedule = {0};
    DEFER(xfree) char *normal = NULL;

    if (strlen(text) > TEXT_MAX)
        return error_new(ERROR_INVALID, "%zu octets: at most %d", strlen(text), TEXT_MAX);
    Words words = words_in(text);
    Error *err = words_split(&words);
    if (!err)
        err = any_read(&words, &schedule, &normal);
    free(words.text);
    if (!err && strlen(normal) > TEXT_MAX)
        err = error_new(ERROR_INVALID, "too many numbers");
    if (err && !err->hint)
        err =
            error_hint(err, "write hourly, daily 02:30, weekly Sun 03:00, or as systemd.time has it: Mon..Fri *:0/30");
    if (err)
        return err;
    if (ret_schedule)
        *ret_schedule = schedule;
    if (ret_text) {
        *ret_text = normal;
        normal = NULL;
    }
    return NULL;
}

/* ---- zones ------------------------------------------------------------------------- */

Error *schedule_zone_form(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "_+-";

    for (const char *at = name;; at++) {
        size_t len = strspn(at, allowed);
        if (!len || *at == '-' || *at == '+' || (at[len] && at[len] != '/') || strlen(name) > ZONE_MAX)
            return error_hint(error_new(ERROR_INVALID, "no name of a time zone"), "write Europe/Berlin, or UTC");
        at += len;
        if (!*at)
            break;
    }
    if (strncmp(name, "right/", 6) == 0 || strncmp(name, "posix/", 6) == 0)
        return error_hint(error_new(ERROR_INVALID, "no name of a time zone"), "write %s", name + 6);
    return NULL;
}

/* libc takes a zone that it cannot read for UTC, and says nothing. */
Error *schedule_zone_check(const char *name)
{
    DEFER(xfree) char *path = NULL;
    char magic[4] = "";

    Error *err = schedule_zone_form(name);
    if (err)
        return err;
    path = xasprintf(ZONES "/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is_one = fd >= 0 && read(fd, magic, sizeof magic) == (ssize_t)sizeof magic && memcmp(magic, "TZif", 4) == 0;
    if (fd >= 0)
        close(fd);
    if (!is_one)
        return error_hint(error_new(ERROR_NOT_FOUND, "time zone %s is not known on this machine", name),
                          "the names are the files below " ZONES " (package tzdata)");
    return NULL;
}

/* The zone of the process for as long as something is computed.  Our programs have one thread that asks for times. */
typedef struct ZoneHeld {
    char *before; /* NULL: TZ was not set */
    bool set;
} ZoneHeld;

static Error *zone_enter(const char *name, ZoneHeld *held)
{
    if (!name || !*name) {
        tzset();
        return NULL;
    }
    Error *err = schedule_zone_check(name);
    if (err)
        return err;
    const char *before = getenv("TZ");
    *held = (ZoneHeld){.before = before ? xstrdup(before) : NULL, .set = true};
    DEFER(xfree) char *value = xasprintf(":" ZONES "/%s", name);
    setenv("TZ", value, 1);
    tzset();
    return NULL;
}

static void zone_leave(ZoneHeld *held)
{
    if (!held->set)
        return;
    if (held->before)
        setenv("TZ", held->before, 1);
    else
        unsetenv("TZ");
    tzset();
    free(held->before);
}

static int64_t local_of(int64_t moment) /* what the clock shows, as if it were UTC */
{
    struct tm tm;
    time_t time = moment;

    return localtime_r(&time, &tm) ? moment + tm.tm_gmtoff : moment;
}

/* The first moment at which the clocks show this time or a later one: that is the end of what they leave out, and the
 * first of two that they show. */
static int64_t moment_of(int64_t shown_s)
{
    int64_t before = shown_s - (local_of(shown_s - DAY_S) - (shown_s - DAY_S));
    int64_t behind = shown_s - (local_of(shown_s + DAY_S) - (shown_s + DAY_S));
    int64_t first = before < behind ? before : behind, last = before < behind ? behind : before;

    if (local_of(first) >= shown_s)
        return first;
    while (last - first > 1) {
        int64_t middle = first + (last - first) / 2;
        if (local_of(middle) >= shown_s)
            last = middle;
        else
            first = middle;
    }
    return last;
}

Error *schedule_next(const Schedule *schedule, uint64_t after_s, const char *zone, uint64_t *ret_at_s)
{
    ZoneHeld held = {0};
    Civil civil;
    int64_t at = 0, after = after_s < INT64_MAX / 2 ? (int64_t)after_s : INT64_MAX / 2;

    Error *err = zone_enter(zone, &held);
    if (err)
        return err;
    for (int64_t from = local_of(after) + 1; at <= after; from++) {
        if (!civil_of(from, &civil) || !civil_next(schedule, &civil)) {
            at = 0;
            break;
        }
        from = civil_seconds(&civil);
        at = moment_of(from);
    }
    zone_leave(&held);
    *ret_at_s = (uint64_t)at;
    return NULL;
}

/* ---- how often --------------------------------------------------------------------- */

/* Of a day that belongs to it: the first second, the last, and the longest time between two. */
static void day_measure(const Schedule *schedule, int64_t *ret_first, int64_t *ret_last, int64_t *ret_gap)
{
    int64_t first = -1, last = -1, gap = 0;

    for (unsigned second = 0; second < DAY_S; second++) {
        if (!set_has(&schedule->set[SCHEDULE_HOUR], second / HOUR_S)) {
            second += HOUR_S - 1;
            continue;
        }
        if (!set_has(&schedule->set[SCHEDULE_MINUTE], second / 60 % 60)) {
            second += 59;
            continue;
        }
        if (!set_has(&schedule->set[SCHEDULE_SECOND], second % 60))
            continue;
        if (first < 0)
            first = second;
        else if (second - last > gap)
            gap = second - last;
        last = second;
    }
    *ret_first = first;
    *ret_last = last;
    *ret_gap = gap;
}

uint64_t schedule_interval_s(const Schedule *schedule)
{
    Civil civil = {{parts[SCHEDULE_YEAR].low, 1, 1, 0, 0, 0}};
    int64_t first, last, gap, before = -1, begun = -1;

    day_measure(schedule, &first, &last, &gap);
    while (civil_next(schedule, &civil)) {
        civil.value[SCHEDULE_HOUR] = civil.value[SCHEDULE_MINUTE] = civil.value[SCHEDULE_SECOND] = 0;
        int64_t day = civil_seconds(&civil);
        if (begun < 0)
            begun = day;
        if (day - begun > (int64_t)YEARS_SEEN * 366 * DAY_S)
            break;
        if (before >= 0 && day - before - last + first > gap)
            gap = day - before - last + first;
        before = day;
        if (!civil_of(day + DAY_S, &civil))
            break;
    }
    return (uint64_t)gap;
}

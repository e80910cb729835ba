/* crash.h - named points at which a test may kill the program
 *
 *     CRASH_POINT("agent.tables.committed");
 *
 * Stand before and after every durable step.  With MAILNODE_CRASH=NAME in the
 * environment the program ends there as after kill -9; with NAME:3 the third time.
 * Each point enters the program's own list, so that the fault walk finds new ones
 * without anybody naming them: crash_points_print, behind --crash-points.  With
 * MAILNODE_CRASH_TRACE=FILE each point that is reached adds a line with its name.
 */
#pragma once

typedef struct CrashPoint {
    const char *name;
} CrashPoint;

#define CRASH_POINT(name_)                                                                                             \
    do {                                                                                                               \
        static const CrashPoint crash_point_ = {name_};                                                                \
        static const CrashPoint *const crash_listed_ __attribute__((section("crash_points"), used)) = &crash_point_;   \
        crash_reached(&crash_point_);                                                                                  \
    } while (0)

void crash_reached(const CrashPoint *point);
void crash_points_print(void); /* one name a line on stdout */

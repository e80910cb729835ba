/* spawn.h - between fork and exec: nothing of ours goes along
 *
 * What a checker, a probe and a daemon have in common as new processes: a session of
 * their own, /dev/null as stdin, 'out' as stdout and stderr, no other descriptor, no
 * signal blocked or ignored, the user's groups, an environment that is named.
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

typedef struct SpawnSpec {
    const char *user;       /* NULL: stays what we are */
    const char *folder;     /* NULL: / */
    const char *const *env; /* further NAME=VALUE; NULL: none */
    int in;                 /* its stdin; 0: /dev/null */
    int out;
    mode_t umask;
    bool with_us; /* ends when mail-engine ends */
} SpawnSpec;

/* Called in the new process; where something fails it says so on 'out' and ends with 126.
 * 'parent' is the process that forked. */
void spawn_clean(const SpawnSpec *spec, pid_t parent);

/* Does not come back: 127 with words where the program cannot be run. */
void spawn_exec(const char *const *argv) __attribute__((noreturn));

/* Close-on-exec; -1 with errno. */
int spawn_pidfd(pid_t pid);

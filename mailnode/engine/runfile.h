/* runfile.h - which process is ours, over crashes and restarts of mail-engine
 *
 * ROOT/var/lib/mailnode/engine/run/NAME: boot id, pid, start time, program, digests of
 * the configuration it runs with.  A pid counts as ours when boot id, start time
 * (proc(5), field 22) and /proc/PID/exe are those of the file.
 */
#pragma once
#include "base/error.h"
#include "seal/digest.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct RunFile {
    char boot_id[64];
    pid_t pid;
    uint64_t start_time; /* clock ticks after boot */
    char program[256];
    uint64_t generation;   /* it was started or reloaded with */
    Digest files, restart; /* fileset_digest, fileset_restart_digest of that */
    bool answered;         /* a probe was right since */
} RunFile;

CHECKED Error *runfile_write(const char *path, const RunFile *file);
/* NOT_FOUND; DAMAGED: does not read back (set aside by the caller). */
CHECKED Error *runfile_read(const char *path, RunFile *ret_file);
CHECKED Error *runfile_remove(const char *path);

/* start_time and program of a live process; false: it is gone. */
bool process_look(pid_t pid, uint64_t *ret_start_time, char ret_program[256], char *ret_state, uint64_t *ret_cpu_ticks);
bool runfile_alive(const RunFile *file, const char *boot_id);

/* Every process of session 'sid' (its daemon's pid), and those whose exe lies in the daemon's own folders and that have
 * ROOT in their environment or arguments are not looked for: a session is enough, each daemon is started as its leader. */
size_t session_pids(pid_t sid, pid_t *out, size_t room);

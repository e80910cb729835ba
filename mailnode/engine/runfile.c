#include "engine/runfile.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/crash.h"
#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 4096 };

/* The text is closed by a digest over it: half a file, or one of another hand, is no run-file. */
Error *runfile_write(const char *path, const RunFile *file)
{
    DEFER(buf_done) Buf text = {0};
    char files[DIGEST_HEX_SIZE];
    char restart[DIGEST_HEX_SIZE];
    char sum[DIGEST_HEX_SIZE];

    digest_hex(&file->files, files);
    digest_hex(&file->restart, restart);
    buf_printf(&text, "mailnode-run 1\nboot %s\npid %d\nstart %" PRIu64 "\nprogram %s\n", file->boot_id, (int)file->pid,
               file->start_time, file->program);
    buf_printf(&text, "generation %" PRIu64 "\nfiles %s\nrestart %s\nanswered %d\n", file->generation, files, restart,
               file->answered);
    Digest digest = digest_of(text.data, text.size);
    digest_hex(&digest, sum);
    buf_printf(&text, "sum %s\n", sum);
    CRASH_POINT("engine.runfile.writing");
    Error *err = file_write_of_boot(path, text.data, text.size, 0600); /* after another boot its pid is nobody's */
    if (err)
        return error_in(err, "run-file");
    CRASH_POINT("engine.runfile.written");
    return NULL;
}

static bool sum_right(char *text)
{
    Digest wanted;
    char *last = strstr(text, "\nsum ");

    if (!last)
        return false;
    char *hex = last + strlen("\nsum ");
    size_t len = strlen(hex);
    if (len == 0 || hex[len - 1] != '\n')
        return false;
    hex[len - 1] = '\0';
    if (!digest_from_hex(hex, &wanted))
        return false;
    last[1] = '\0';
    Digest is = digest_of(text, strlen(text));
    return digest_equal(&is, &wanted);
}

static bool parse(char *text, RunFile *ret_file)
{
    RunFile file = {0};
    char files[DIGEST_HEX_SIZE];
    char restart[DIGEST_HEX_SIZE];
    int pid = 0;
    int answered = 0;

    if (!sum_right(text))
        return false;
    int got = sscanf(text, /* NOLINT: written by us, the sum says so */
                     "mailnode-run 1\nboot %63[^\n]\npid %d\nstart %" SCNu64 "\nprogram %255[^\n]\ngeneration %" SCNu64
                     "\nfiles %64s\nrestart %64s\nanswered %d",
                     file.boot_id, &pid, &file.start_time, file.program, &file.generation, files, restart, &answered);
    if (got != 8 || pid <= 1 || !digest_from_hex(files, &file.files) || !digest_from_hex(restart, &file.restart))
        return false;
    file.pid = pid;
    file.answered = answered != 0;
    *ret_file = file;
    return true;
}

Error *runfile_read(const char *path, RunFile *ret_file)
{
    DEFER(buf_done) Buf text = {0};
    DEFER(xfree) char *copy = NULL;

    Error *err = file_read(path, FILE_BYTES_MAX, &text);
    if (err && err->code == ERROR_INVALID)
        err->code = ERROR_DAMAGED;
    if (err)
        return error_in(err, "run-file");
    copy = xstrdup(buf_text(&text));
    if (!parse(copy, ret_file))
        return error_new(ERROR_DAMAGED, "run-file: %s does not read back", path);
    return NULL;
}

Error *runfile_remove(const char *path)
{
    CRASH_POINT("engine.runfile.removing");
    if (unlink(path) != 0 && errno != ENOENT)
        return error_in(error_system("unlink"), "run-file: %s", path);
    CRASH_POINT("engine.runfile.removed");
    return NULL;
}

typedef struct Stat {
    char state;
    int session;
    uint64_t start_time, cpu_ticks;
} Stat;

/* proc(5): the name in brackets may hold anything, its last ')' ends it. */
static bool stat_read(pid_t pid, Stat *ret_stat)
{
    char path[64];
    char text[1024];
    Stat stat = {0};
    unsigned long user = 0;
    unsigned long system = 0;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0)
        return false;
    text[len] = '\0';
    const char *behind = strrchr(text, ')');
    if (!behind)
        return false;
    int got = sscanf(behind + 1, /* NOLINT: the kernel's numbers */
                     " %c %*d %*d %d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %" SCNu64, &stat.state,
                     &stat.session, &user, &system, &stat.start_time);
    stat.cpu_ticks = user + system;
    if (got != 5 || stat.state == 'Z' || stat.state == 'X')
        return false;
    *ret_stat = stat;
    return true;
}

bool process_look(pid_t pid, uint64_t *ret_start_time, char ret_program[256], char *ret_state, uint64_t *ret_cpu_ticks)
{
    static const char gone[] = " (deleted)"; /* an upgrade replaced the file: the process is the same */
    char path[64];
    Stat stat;

    if (!stat_read(pid, &stat))
        return false;
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    ssize_t len = readlink(path, ret_program, 255);
    if (len < 0)
        len = 0;
    size_t tail = sizeof gone - 1;
    if ((size_t)len > tail && memcmp(ret_program + len - tail, gone, tail) == 0)
        len -= (ssize_t)tail;
    ret_program[len] = '\0';
    *ret_start_time = stat.start_time;
    *ret_state = stat.state;
    *ret_cpu_ticks = stat.cpu_ticks;
    return true;
}

bool runfile_alive(const RunFile *file, const char *boot_id)
{
    uint64_t start_time = 0;
    uint64_t cpu_ticks = 0;
    char program[256];
    char state = 0;

    return strcmp(file->boot_id, boot_id) == 0 && process_look(file->pid, &start_time, program, &state, &cpu_ticks) &&
           start_time == file->start_time && strcmp(program, file->program) == 0;
}

size_t session_pids(pid_t sid, pid_t *out, size_t room)
{
    DIR *dir = opendir("/proc");
    size_t n = 0;

    for (const struct dirent *entry; dir && n < room && (entry = readdir(dir));) {
        char *end = NULL;
        long pid = strtol(entry->d_name, &end, 10);
        Stat stat;
        if (*end == '\0' && pid > 0 && stat_read((pid_t)pid, &stat) && stat.session == sid)
            out[n++] = (pid_t)pid;
    }
    if (dir)
        closedir(dir);
    return n;
}

/* controller init, restore: start mail-controller itself, which knows how; no shell, no other program's arguments.
 * controller backup: takes the sealed copy that the controller makes, and reads back what stands on the disk. */
#include "call.h"
#include "new_file.h"
#include "password.h"

#include "base/alloc.h"
#include "base/path.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char controller[] = "mail-controller";

/* Beside mailctl where it lies there, as in a build folder; otherwise by PATH. */
static char *beside_us(void)
{
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    if (len <= 0)
        return NULL;
    self[len] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash)
        return NULL;
    *slash = '\0';
    char *path = xasprintf("%s/%s", self, controller);
    if (access(path, X_OK) == 0)
        return path;
    free(path);
    return NULL;
}

static Error *become(Cli *cli, char *const *argv)
{
    DEFER(xfree) char *path = beside_us();
    Error *err = cli_flush(cli);

    if (err)
        return err;
    if (path)
        execv(path, argv);
    else
        execvp(controller, argv);
    if (errno == ENOENT)
        return error_hint(error_new(ERROR_NOT_FOUND, "%s is not installed", controller), "it belongs beside mailctl");
    return error_system("%s", path ? path : controller);
}

Error *run_controller_init(Cli *cli, const Line *line, int *ret_exit)
{
    char *argv[8] = {(char *)controller, (char *)"--init", (char *)"--root", (char *)cli->root};
    size_t n = 4;

    (void)ret_exit;
    if (cli->program->remote)
        return cli_usage(cli, "a controller is made on its own machine, with mailctl");
    if (!line->n_fields)
        return error_hint(cli_usage(cli, "listen= is missing: nodes must be told where to find it"), "mailctl %s",
                          line->command->example);
    for (size_t i = 0; i < line->n_fields; i++) {
        if (line->fields[i].op != MAIL__EDIT_OP__SET || n > 4)
            return error_hint(cli_usage(cli, "one address and port is wanted"), "mailctl %s", line->command->example);
        argv[n++] = (char *)"--listen";
        argv[n++] = line->fields[i].value;
    }
    return become(cli, argv);
}

/* ---- backup ---- */

static const char whose[] = "the backup";

/* What is written and what is read back: a sum that any change of the disk's changes.  Who would change it on purpose is the
 * seal's affair. */
typedef struct Sum {
    uint64_t fnv, n;
} Sum;

static void sum_add(Sum *sum, const uint8_t *octets, size_t size)
{
    for (size_t i = 0; i < size; i++)
        sum->fnv = (sum->fnv ^ octets[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    sum->n += size;
}

typedef struct Target {
    NewFile file;
    Sum sum;
} Target;

static void target_done(Target *target)
{
    new_file_done(&target->file);
}

static Error *target_write(Target *target, const uint8_t *octets, size_t size)
{
    sum_add(&target->sum, octets, size);
    while (size) {
        ssize_t put = write(target->file.fd, octets, size);
        if (put < 0)
            return error_system("%s", target->file.path);
        octets += put;
        size -= (size_t)put;
    }
    return NULL;
}

/* As the disk has it: what the kernel keeps of it is dropped first, as far as it lets. */
static Error *target_read_back(const Target *target)
{
    uint8_t octets[16384];
    Sum found = {0};
    ssize_t got;

    if (fsync(target->file.fd) != 0 || lseek(target->file.fd, 0, SEEK_SET) != 0)
        return error_system("%s", target->file.path);
    posix_fadvise(target->file.fd, 0, 0, POSIX_FADV_DONTNEED);
    while ((got = read(target->file.fd, octets, sizeof octets)) > 0)
        sum_add(&found, octets, (size_t)got);
    if (got < 0)
        return error_system("%s", target->file.path);
    if (found.n != target->sum.n || found.fnv != target->sum.fnv)
        return error_new(ERROR_DAMAGED, "%s does not read back as it was written", target->file.path);
    return NULL;
}

static void backup_print(Cli *cli, const Target *target, const Mail__CopyInfo *info)
{
    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML) {
        json_t *json = json_object();
        json_put_number(json, "version", 1);
        json_put_text(json, "file", target->file.path);
        json_put_number(json, "bytes", target->sum.n);
        json_put_number(json, "revision", info->revision);
        json_put_number(json, "objects", info->n_objects);
        print_document(cli->out, cli->form, &json);
        return;
    }
    print_text(cli->out, target->file.path);
    fprintf(cli->out, ": revision %" PRIu64 ", %" PRIu64 " objects, %" PRIu64 " octets, sealed and read back\n",
            info->revision, info->n_objects, target->sum.n);
}

/* *ret_last: the part with what the controller found when it opened the copy again; the caller's. */
static Error *parts_take(Call *call, Target *target, Envelope **ret_last)
{
    for (;;) {
        DEFER(envelope_free) Envelope *said = NULL;
        Error *err = call_next(call, &said);
        if (err)
            return err;
        if (!said || said->body_case != MAIL__ENVELOPE__BODY_COPY_PART)
            return error_new(ERROR_SYSTEM, "the controller did not say how the copy ended");
        err = target_write(target, said->copy_part->octets.data, said->copy_part->octets.len);
        if (err || said->copy_part->info) {
            *ret_last = err ? NULL : said;
            said = err ? said : NULL;
            return err;
        }
    }
}

Error *run_controller_backup(Cli *cli, const Line *line, int *ret_exit)
{
    DEFER(password_done) Password password = {0};
    DEFER(target_done) Target target = {.file.fd = -1};
    DEFER(envelope_free) Envelope *last = NULL;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__StoreCopy wish = MAIL__STORE_COPY__INIT;
    Call call;

    (void)ret_exit;
    Error *err = password_take(cli, line_secret_from(line), true, whose, &password);
    if (!err && !password.octets)
        err = error_hint(cli_usage(cli, "password= is missing: what is in it opens the whole cluster"), "mailctl %s",
                         line->command->example);
    if (!err)
        err = new_file_make(line->key, &target.file);
    if (err)
        return err;
    wish.has_password = true;
    wish.password = (ProtobufCBinaryData){.data = password.octets, .len = password.size};
    envelope.body_case = MAIL__ENVELOPE__BODY_STORE_COPY;
    envelope.store_copy = &wish;
    err = call_begin(cli, &envelope, false, &call);
    if (!err)
        err = parts_take(&call, &target, &last);
    if (!err)
        err = target_read_back(&target);
    if (!err)
        err = new_file_name(&target.file, true);
    if (err)
        return err;
    assert(last && last->copy_part);
    backup_print(cli, &target, last->copy_part->info);
    return NULL;
}

/* ---- restore ---- */

enum { PASSWORD_FD = 3 };

/* A pipe holds it until mail-controller reads it: never an argument, nor in the environment. */
static Error *password_give(const Password *password)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_system("pipe");
    bool given = write(ends[1], password->octets, password->size) == (ssize_t)password->size;
    close(ends[1]);
    if (given && ends[0] == PASSWORD_FD)
        given = fcntl(PASSWORD_FD, F_SETFD, 0) == 0;
    else if (given)
        given = dup2(ends[0], PASSWORD_FD) == PASSWORD_FD;
    return given ? NULL : error_system("pipe");
}

static Error *file_give(const char *path)
{
    DEFER(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;

    if (fd < 0 && errno == ENOENT)
        return error_new(ERROR_NOT_FOUND, "%s does not exist", path);
    if (fd < 0 || fstat(fd, &st) != 0)
        return error_system("%s", path);
    if (!S_ISREG(st.st_mode))
        return error_new(ERROR_INVALID, "%s is no file", path);
    return dup2(fd, STDIN_FILENO) == STDIN_FILENO ? NULL : error_system("%s", path);
}

Error *run_controller_restore(Cli *cli, const Line *line, int *ret_exit)
{
    char *argv[] = {(char *)controller, (char *)"--restore", (char *)"--root", (char *)cli->root, NULL};
    DEFER(password_done) Password password = {0};

    (void)ret_exit;
    if (cli->program->remote)
        return cli_usage(cli, "a controller is restored on its own machine, with mailctl");
    Error *err = password_take_once(line_secret_from(line), whose, &password);
    if (!err && !password.octets)
        err = error_hint(cli_usage(cli, "password= is missing"), "mailctl %s", line->command->example);
    if (!err)
        err = file_give(line->key);
    if (!err)
        err = password_give(&password);
    if (err)
        return err;
    password_done(&password);
    return become(cli, argv);
}

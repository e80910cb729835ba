#include "tasks/job_run.h"

#include "base/alloc.h"
#include "base/path.h"
#include "engine/spawn.h"
#include "local/local.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LET_GO_MAX = 64, ENV_MAX = 16 };

struct JobRun {
    pid_t pid;
    LocalPeer *peer;
    bool over; /* its last word was handed out */
};

/* Let go before they had ended. */
static pid_t let_go[LET_GO_MAX];
static size_t n_let_go;

/* What tests say to our programs, and to their sanitizers. */
static void environment(const char *out[ENV_MAX + 1])
{
    static const char *const kept[] = {"MAILNODE_", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS="};
    size_t n = 0;

    for (char **at = environ; *at && n < ENV_MAX; at++)
        for (size_t i = 0; i < sizeof kept / sizeof *kept && n < ENV_MAX; i++)
            if (strncmp(*at, kept[i], strlen(kept[i])) == 0) {
                out[n++] = *at;
                break;
            }
    out[n] = NULL;
}

static void __attribute__((noreturn)) be_the_job(const char *root, int in, pid_t parent)
{
    const char *const argv[] = {"/proc/self/exe", "job", "--root", *root ? root : "/", NULL};
    const char *env[ENV_MAX + 1];
    SpawnSpec spawn = {.env = env, .in = in, .out = STDERR_FILENO, .umask = 027};

    environment(env);
    spawn_clean(&spawn, parent);
    spawn_exec(argv);
}

static Error *task_send(JobRun *run, const Envelope *task)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;

    envelope.body_case = MAIL__ENVELOPE__BODY_ENGINE_TASK;
    envelope.engine_task = task->engine_task;
    if (!local_send(run->peer, &envelope))
        return error_new(ERROR_INVALID, "too long for one task");
    return local_peer_run(run->peer);
}

Error *job_run_start(const char *root, const Envelope *task, JobRun **ret_run)
{
    DEFER(job_run_free) JobRun *run = xcalloc(1, sizeof *run);
    int ends[2];
    pid_t parent = getpid();

    job_run_sweep();
    if (n_let_go == LET_GO_MAX)
        return error_new(ERROR_UNAVAILABLE, "%d jobs have not come to their end", LET_GO_MAX);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return error_system("socketpair");
    run->pid = fork();
    if (run->pid == 0)
        be_the_job(root, ends[1], parent);
    close(ends[1]);
    if (run->pid < 0) {
        run->pid = 0;
        close(ends[0]);
        return error_system("fork");
    }
    Error *err = local_adopt(ends[0], "mail-engine", &run->peer);
    if (!err)
        err = task_send(run, task);
    if (err)
        return error_in(err, "job");
    *ret_run = run;
    run = NULL;
    return NULL;
}

static Envelope *failure_envelope(Error *err)
{
    Envelope *envelope = xcalloc(1, sizeof *envelope);
    Mail__Failure *failure = xcalloc(1, sizeof *failure);

    mail__envelope__init(envelope);
    mail__failure__init(failure);
    failure->has_code = true;
    failure->code = (Mail__ErrorNumber)err->code;
    failure->what = xstrdup(err->what);
    envelope->body_case = MAIL__ENVELOPE__BODY_FAILURE;
    envelope->failure = failure;
    envelope->has_last = envelope->last = true;
    error_free(&err);
    return envelope;
}

/* The end of its socket is a matter of a moment before the end of the process. */
static Error *ended_how(JobRun *run)
{
    int status = 0;

    if (waitpid(run->pid, &status, WNOHANG) != run->pid)
        return error_new(ERROR_SYSTEM, "the job ended without a word");
    run->pid = 0;
    if (WIFSIGNALED(status))
        return error_new(ERROR_SYSTEM, "the job ended without a word, by signal %d", WTERMSIG(status));
    return error_new(ERROR_SYSTEM, "the job ended without a word, with %d", WEXITSTATUS(status));
}

Envelope *job_run_next(JobRun *run)
{
    Envelope *envelope = NULL;
    uint64_t id = 0;

    if (run->over)
        return NULL;
    Error *err = local_peer_run(run->peer);
    Error *wrong = local_receive(run->peer, &envelope, &id);
    if (!envelope && !wrong && err)
        envelope = failure_envelope(ended_how(run));
    else if (wrong)
        envelope = failure_envelope(error_new(ERROR_DAMAGED, "the job says what is not understood: %s", wrong->what));
    error_free(&err);
    error_free(&wrong);
    run->over = envelope && envelope->last;
    return envelope;
}

void job_run_cancel(JobRun *run)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__TaskCancel cancel = MAIL__TASK_CANCEL__INIT;

    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_CANCEL;
    envelope.task_cancel = &cancel;
    local_send(run->peer, &envelope); /* its queue was empty: there is room */
    Error *err = local_peer_run(run->peer);
    error_free(&err); /* the end is seen by job_run_next */
}

void job_run_wait(JobRun *run, Waiter *wake)
{
    if (!run->over)
        local_peer_wait(run->peer, wake);
}

void job_run_free(JobRun **run)
{
    if (!*run)
        return;
    local_peer_free(&(*run)->peer); /* hung up: it ends what it runs */
    if ((*run)->pid && waitpid((*run)->pid, NULL, WNOHANG) == 0 && n_let_go < LET_GO_MAX)
        let_go[n_let_go++] = (*run)->pid;
    xfree(run);
}

void job_run_sweep(void)
{
    size_t left = 0;

    for (size_t i = 0; i < n_let_go; i++)
        if (waitpid(let_go[i], NULL, WNOHANG) == 0)
            let_go[left++] = let_go[i];
    n_let_go = left;
}

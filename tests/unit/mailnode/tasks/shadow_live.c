/* The shadow of a tree in which another process delivers, flags, moves and expunges all the time: what was there before and
 * after a run is in it. */
#include "tasks/shadow.h"

#include "base/path.h"
#include "expect.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { FOLDERS = 6, FIRST = 1500, MESSAGES = 200 * 1000, RUNS = 12 };

/* What the writer has said of each message; it says "there" after it made it and "gone" before it removes it. */
typedef struct Book {
    _Atomic uint32_t n;       /* delivered so far */
    _Atomic uint32_t renamed; /* folders */
    _Atomic int enough;
    _Atomic uint8_t there[MESSAGES];
} Book;

static Book *book;
static char root[] = "/tmp/shadow-live.XXXXXX";
static char source[64], shadow[64];

/* ---- the writer ---- */

typedef struct Message {
    uint32_t id;
    unsigned folder, flags; /* 0: in new */
    bool gone;
} Message;

static uint32_t seed = 4711;

static uint32_t dice(uint32_t sides)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % sides;
}

/* Folder 0 is the mailbox itself; the last changes its name now and then. */
static char *folder_path(unsigned folder)
{
    if (folder == 0)
        return xasprintf("%s/u/Maildir", source);
    if (folder == FOLDERS - 1)
        return xasprintf("%s/u/Maildir/.Name-%u", source, atomic_load(&book->renamed));
    return xasprintf("%s/u/Maildir/.F%u", source, folder);
}

static char *message_path(const Message *message)
{
    static const char *const flags[] = {"", ":2,", ":2,S", ":2,F", ":2,FS"};
    DEFER(xfree) char *folder = folder_path(message->folder);

    return xasprintf("%s/%s/%u.M1P1.host%s", folder, message->flags ? "cur" : "new", message->id,
                     flags[message->flags]);
}

static void deliver(Message *message, uint32_t id)
{
    *message = (Message){.id = id, .folder = dice(FOLDERS)};
    DEFER(xfree) char *folder = folder_path(message->folder), *path = message_path(message);
    DEFER(xfree) char *temp = xasprintf("%s/tmp/%u", folder, id);
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || write(fd, "mail", 4) != 4 || close(fd) != 0 || rename(temp, path) != 0)
        _exit(1);
    atomic_store(&book->there[id], 1);
    atomic_store(&book->n, id + 1);
}

static void change(Message *message, unsigned folder, unsigned flags)
{
    DEFER(xfree) char *old = message_path(message);

    message->folder = folder;
    message->flags = flags;
    DEFER(xfree) char *new = message_path(message);
    if (rename(old, new) != 0)
        _exit(2);
}

static void expunge(Message *message)
{
    DEFER(xfree) char *path = message_path(message);

    atomic_store(&book->there[message->id], 0);
    message->gone = true;
    if (unlink(path) != 0)
        _exit(3);
}

static void rename_folder(void)
{
    DEFER(xfree) char *old = folder_path(FOLDERS - 1);

    atomic_fetch_add(&book->renamed, 1);
    DEFER(xfree) char *new = folder_path(FOLDERS - 1);
    if (rename(old, new) != 0)
        _exit(4);
}

static void one_change(Message *messages, uint32_t n)
{
    Message *message = &messages[dice(n)];
    uint32_t what = dice(100);

    if (what == 0)
        rename_folder();
    else if (message->gone)
        return;
    else if (what < 50)
        change(message, message->folder, 1 + dice(4));
    else if (what < 80)
        change(message, dice(FOLDERS), 1 + dice(4));
    else
        expunge(message);
}

__attribute__((noreturn)) static void writer(useconds_t pause_us)
{
    Message *messages = xcalloc(MESSAGES, sizeof *messages);
    uint32_t n = 0;

    for (; n < FIRST; n++)
        deliver(&messages[n], n);
    while (n < MESSAGES && !atomic_load(&book->enough)) {
        if (dice(4) == 0) {
            deliver(&messages[n], n);
            n++;
        } else {
            one_change(messages, n);
        }
        usleep(pause_us);
    }
    _exit(0);
}

/* ---- what the shadow has ---- */

static void count_folder(const char *folder, const char *part, uint8_t *counts)
{
    DEFER(xfree) char *path = xasprintf("%s/%s", folder, part);
    DEFER(dir_close) DIR *dir = opendir(path);

    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            counts[strtoul(entry->d_name, NULL, 10)]++;
}

static void count_all(uint8_t *counts)
{
    DEFER(xfree) char *store = xasprintf("%s/u/Maildir", shadow);
    DEFER(dir_close) DIR *dir = opendir(store);

    count_folder(store, "new", counts);
    count_folder(store, "cur", counts);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] != '.' || strlen(entry->d_name) < 3)
            continue;
        DEFER(xfree) char *folder = xasprintf("%s/%s", store, entry->d_name);
        count_folder(folder, "new", counts);
        count_folder(folder, "cur", counts);
    }
}

/* One run, and what it must have: each message once, or, where they move faster than it can look, at least once. */
static uint32_t one_run(unsigned run, bool once)
{
    DEFER(xfree) uint8_t *before = xcalloc(MESSAGES, 1);
    DEFER(xfree) uint8_t *counts = xcalloc(MESSAGES, 1);
    uint32_t n = atomic_load(&book->n), n_checked = 0;
    ShadowCounts sync;

    for (uint32_t id = 0; id < n; id++)
        before[id] = atomic_load(&book->there[id]);
    ok(shadow_sync(source, shadow, SHADOW_HOMES, NULL, NULL, &sync));
    count_all(counts);
    for (uint32_t id = 0; id < n; id++) {
        bool kept = before[id] && atomic_load(&book->there[id]);
        n_checked += kept;
        if ((kept && !counts[id]) || ((once || sync.still) && counts[id] > 1))
            fail_msg("run %u (%s): message %u is there %u times", run, sync.still ? "still" : "moving", id, counts[id]);
    }
    return n_checked;
}

/* Nothing moves any more: the shadow is the source. */
static void at_rest(void)
{
    DEFER(xfree) uint8_t *counts = xcalloc(MESSAGES, 1);
    ShadowCounts sync;

    ok(shadow_sync(source, shadow, SHADOW_HOMES, NULL, NULL, &sync));
    assert_true(sync.still);
    count_all(counts);
    for (uint32_t id = 0; id < atomic_load(&book->n); id++)
        if (counts[id] != atomic_load(&book->there[id]))
            fail_msg("at rest: message %u is there %u times", id, counts[id]);
}

static void with_a_writer(useconds_t pause_us, bool once)
{
    uint32_t n_checked = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        writer(pause_us);
    while (atomic_load(&book->n) < FIRST)
        usleep(1000);
    for (unsigned run = 0; run < RUNS; run++)
        n_checked += one_run(run, once);
    assert_true(n_checked > FIRST / 2);
    atomic_store(&book->enough, 1);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    at_rest();
}

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/shadow-live.XXXXXX");
    if (!mkdtemp(root))
        return -1;
    snprintf(source, sizeof source, "%s/mail", root);
    snprintf(shadow, sizeof shadow, "%s/tree", root);
    book = mmap(NULL, sizeof *book, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (book == MAP_FAILED || mkdir(shadow, 0700) != 0)
        return -1;
    for (unsigned folder = 0; folder < FOLDERS; folder++) {
        static const char *const parts[] = {"tmp", "new", "cur"};
        DEFER(xfree) char *path = folder_path(folder);
        for (size_t i = 0; i < 3; i++) {
            DEFER(xfree) char *part = xasprintf("%s/%s", path, parts[i]);
            Error *err = folder_make(part, 0700, (uid_t)-1, (gid_t)-1);
            if (err)
                return -1;
        }
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    munmap(book, sizeof *book);
    return folder_remove(root);
}

static void at_the_pace_of_a_server(void **state)
{
    (void)state;
    with_a_writer(10 * 1000, true);
}

/* More than 1,000 changes a second. */
static void without_rest(void **state)
{
    (void)state;
    with_a_writer(500, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(at_the_pace_of_a_server, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* floor FOLDER N: what one change costs at least, with N addresses there already
 *
 * One fsync'd commit at the controller, a CURVE message to another process, two fsync'd commits there (what is wanted,
 * what is applied), a CURVE message back.  No parsing, no rules, no CLI.  For each number K read from stdin it does K
 * changes and prints their median in microseconds; at the end of stdin both processes end.
 */
#include <signal.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { BODY_BYTES = 130, MESSAGE_BYTES = 300, IDLE_US = 2000 };

static char public_key[41], secret_key[41], endpoint[128];

static void fail(const char *what)
{
    fprintf(stderr, "floor: %s\n", what);
    exit(3);
}

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail(sqlite3_errmsg(db));
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        fail(sqlite3_errmsg(db));
    return statement;
}

typedef struct Base {
    sqlite3 *db;
    sqlite3_stmt *begin, *put, *mark, *commit;
    uint64_t revision;
} Base;

/* One row, and the revision with it. */
static void base_put(Base *base, uint64_t n)
{
    static const uint8_t body[BODY_BYTES] = {1};
    char name[64];

    snprintf(name, sizeof name, "user.name%06llu@domain%04llu.example.org", (unsigned long long)n,
             (unsigned long long)n % 1000);
    sqlite3_bind_text(base->put, 1, name, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(base->put, 2, (sqlite3_int64)n);
    sqlite3_bind_blob(base->put, 3, body, sizeof body, SQLITE_STATIC);
    if (sqlite3_step(base->put) != SQLITE_DONE)
        fail(sqlite3_errmsg(base->db));
    sqlite3_reset(base->put);
}

static void step(Base *base, sqlite3_stmt *statement)
{
    if (sqlite3_step(statement) != SQLITE_DONE)
        fail(sqlite3_errmsg(base->db));
    sqlite3_reset(statement);
}

static void base_change(Base *base, uint64_t n)
{
    step(base, base->begin);
    base_put(base, n);
    sqlite3_bind_int64(base->mark, 1, (sqlite3_int64)++base->revision);
    step(base, base->mark);
    step(base, base->commit);
}

static void base_open(Base *base, const char *folder, const char *name, const char *table, uint64_t n)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (sqlite3_open(path, &base->db) != SQLITE_OK)
        fail(path);
    run(base->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL");
    run(base->db, table);
    run(base->db, "CREATE TABLE mark(one INTEGER PRIMARY KEY, revision INTEGER); INSERT INTO mark VALUES(1, 0)");
    base->begin = prepare(base->db, "BEGIN IMMEDIATE");
    base->put = prepare(base->db, "INSERT INTO object VALUES(?1, ?2, ?3)");
    base->mark = prepare(base->db, "UPDATE mark SET revision = ?1");
    base->commit = prepare(base->db, "COMMIT");
    run(base->db, "BEGIN");
    for (uint64_t i = 0; i < n; i++)
        base_put(base, i);
    run(base->db, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)");
}

static void number(void *socket, int option, int value)
{
    if (zmq_setsockopt(socket, option, &value, sizeof value) != 0)
        fail(zmq_strerror(zmq_errno()));
}

static const char history[] =
    "CREATE TABLE object(name TEXT, revision INTEGER, body BLOB);"
    "CREATE INDEX object_name ON object(name); CREATE INDEX object_revision ON object(revision)";
static const char rows[] = "CREATE TABLE object(name TEXT PRIMARY KEY, revision INTEGER, body BLOB) WITHOUT ROWID";

static void agent(const char *folder, uint64_t n)
{
    Base wanted = {0}, applied = {0};
    char mine[41], mine_secret[41], message[MESSAGE_BYTES];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    base_open(&wanted, folder, "wanted.db", rows, n);
    base_open(&applied, folder, "applied.db", rows, n);
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_DEALER);
    zmq_curve_keypair(mine, mine_secret);
    zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, public_key, 40);
    zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, mine, 40);
    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, mine_secret, 40);
    if (zmq_connect(socket, endpoint) != 0)
        fail("connect");
    zmq_send(socket, "here", 4, 0);
    for (;;) {
        uint64_t change = 0;
        if (zmq_recv(socket, message, sizeof message, 0) < (int)sizeof change)
            fail("receive");
        memcpy(&change, message, sizeof change);
        base_change(&wanted, change);
        base_change(&applied, change);
        zmq_send(socket, message, 64, 0);
    }
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double change(Base *base, void *socket, const char *id, size_t id_size, uint64_t n)
{
    char message[MESSAGE_BYTES] = {0}, from[256];
    double start = now_us();

    base_change(base, n);
    memcpy(message, &n, sizeof n);
    zmq_send(socket, id, id_size, ZMQ_SNDMORE);
    zmq_send(socket, message, sizeof message, 0);
    if (zmq_recv(socket, from, sizeof from, 0) < 0 || zmq_recv(socket, message, sizeof message, 0) < 0)
        fail("no answer");
    return now_us() - start;
}

int main(int argc, char **argv)
{
    Base store = {0};
    char id[256], line[64];
    size_t id_size = 0;

    if (argc != 3) {
        fputs("usage: floor FOLDER N\n", stderr);
        return 2;
    }
    uint64_t n = strtoull(argv[2], NULL, 10);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/floor.sock", argv[1]);
    zmq_curve_keypair(public_key, secret_key);

    /* TCP on loopback, as in the product; the port is told to the child through a pipe. */
    int told[2];
    if (pipe(told) != 0)
        fail("pipe");
    pid_t child = fork();
    if (child == 0) {
        if (read(told[0], endpoint, sizeof endpoint) <= 0)
            fail("pipe");
        agent(argv[1], n);
    }
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_ROUTER);
    number(socket, ZMQ_CURVE_SERVER, 1);
    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret_key, 40);
    if (zmq_bind(socket, "tcp://127.0.0.1:*") != 0)
        fail("bind");
    size_t size = sizeof endpoint;
    zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size);
    if (write(told[1], endpoint, sizeof endpoint) < 0)
        fail("pipe");
    base_open(&store, argv[1], "store.db", history, n);
    id_size = (size_t)zmq_recv(socket, id, sizeof id, 0);
    zmq_recv(socket, line, sizeof line, 0);
    puts("ready");
    fflush(stdout);

    while (fgets(line, sizeof line, stdin)) {
        size_t count = strtoul(line, NULL, 10);
        double *took = calloc(count + 1, sizeof *took);
        for (size_t i = 0; took && i < count; i++) {
            took[i] = change(&store, socket, id, id_size, n++);
            usleep(IDLE_US);
        }
        qsort(took, count, sizeof *took, by_size);
        printf("%.0f\n", took[count / 2]);
        fflush(stdout);
        free(took);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return 0;
}

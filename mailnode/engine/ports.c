#include "engine/ports.h"

#include "base/alloc.h"
#include "base/path.h"

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTENING = 0x0a };

typedef struct Listener {
    struct in6_addr address; /* IPv4 as ::ffff:a.b.c.d */
    bool all, all_v6;        /* 0.0.0.0; :: (which may take IPv4 along) */
    uint16_t number;
    unsigned long long inode;
    const Port *wanted;
    pid_t pid; /* holder; 0: not found */
    bool ours;
} Listener;

typedef struct Listeners {
    Listener *items; /* only those that hold a wanted port */
    size_t n, room;
} Listeners;

static void listeners_done(Listeners *held)
{
    xfree(&held->items);
}

static bool is_in(const PortList *list, const char *address, uint16_t number)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].number == number && strcmp(list->items[i].address, address) == 0)
            return true;
    return false;
}

void ports_without(PortList *list, const PortList *less)
{
    size_t n = 0;

    for (size_t i = 0; i < list->n; i++)
        if (!is_in(less, list->items[i].address, list->items[i].number))
            list->items[n++] = list->items[i];
    list->n = n;
}

void port_add(PortList *list, const char *address, uint16_t number)
{
    if (is_in(list, address, number))
        return;
    if (list->n == PORTS_MAX)
        return; /* whoever listens on so many finds the rest out by the daemon's own words */
    Port *port = &list->items[list->n++];
    int len = snprintf(port->address, sizeof port->address, "%s", address);
    assert(len > 0 && (size_t)len < sizeof port->address);
    port->number = number;
}

static bool is_v4(const struct in6_addr *address)
{
    return IN6_IS_ADDR_V4MAPPED(address);
}

static struct in6_addr mapped(struct in_addr v4)
{
    struct in6_addr address = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

    memcpy(address.s6_addr + 12, &v4, sizeof v4);
    return address;
}

static bool address_read(const char *text, struct in6_addr *ret_address)
{
    struct in_addr v4;

    if (inet_pton(AF_INET, text, &v4) != 1)
        return inet_pton(AF_INET6, text, ret_address) == 1;
    *ret_address = mapped(v4);
    return true;
}

/* The hexadecimal words are in the byte order of the machine (tcp4_seq_show, tcp6_seq_show). */
static bool line_read(const char *line, bool v6, Listener *ret_listener)
{
    unsigned word[4] = {0};
    unsigned number = 0;
    unsigned state = 0;
    Listener listener = {0};
    int got;

    if (v6)
        got = sscanf(line, " %*d: %8x%8x%8x%8x:%x %*x:%*x %x %*x:%*x %*x:%*x %*x %*u %*d %llu", &word[0], /* NOLINT */
                     &word[1], &word[2], &word[3], &number, &state, &listener.inode) -
              3;
    else
        got = sscanf(line, " %*d: %8x:%x %*x:%*x %x %*x:%*x %*x:%*x %*x %*u %*d %llu", /* NOLINT: kernel's numbers */
                     &word[0], &number, &state, &listener.inode);
    if (got != 4 || state != LISTENING)
        return false;
    if (v6)
        memcpy(&listener.address, word, sizeof listener.address);
    else
        listener.address = mapped((struct in_addr){.s_addr = word[0]});
    listener.all = !v6 && word[0] == 0;
    listener.all_v6 = v6 && IN6_IS_ADDR_UNSPECIFIED(&listener.address);
    listener.number = (uint16_t)number;
    *ret_listener = listener;
    return true;
}

/* A listener on :: takes IPv4 along unless it asked not to, which /proc does not tell: it counts as holding both. */
static bool holds(const Listener *listener, const Port *port)
{
    struct in6_addr address;

    if (listener->number != port->number)
        return false;
    if (strcmp(port->address, "*") == 0 || listener->all_v6)
        return true;
    if (!address_read(port->address, &address))
        return false;
    return listener->all ? is_v4(&address) : memcmp(&address, &listener->address, sizeof address) == 0;
}

static void note(Listeners *held, const PortList *wanted, Listener *listener)
{
    for (size_t i = 0; i < wanted->n && !listener->wanted; i++) {
        if (holds(listener, &wanted->items[i]))
            listener->wanted = &wanted->items[i];
    }
    if (!listener->wanted)
        return;
    if (held->n == held->room) {
        held->room = held->room ? held->room * 2 : 16;
        held->items = xrealloc(held->items, held->room * sizeof *held->items);
    }
    held->items[held->n++] = *listener;
}

static void close_file(FILE **file)
{
    if (*file)
        fclose(*file);
}

static Error *table_read(const char *path, bool v6, const PortList *wanted, Listeners *held)
{
    DEFER(close_file) FILE *file = fopen(path, "re");
    char line[512];

    if (!file && v6)
        return NULL; /* a kernel without IPv6 */
    if (!file)
        return error_in(error_system("open"), "%s", path);
    while (fgets(line, sizeof line, file)) {
        Listener listener;
        if (line_read(line, v6, &listener))
            note(held, wanted, &listener);
    }
    return NULL;
}

/* Of several processes with one socket (a master and its children) one of ours makes it ours. */
static void look_at_process(pid_t pid, Listeners *held, bool (*ours)(void *context, pid_t pid), void *context)
{
    char path[300];
    char link[64];

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DEFER(dir_close) DIR *dir = opendir(path);
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        unsigned long long inode = 0;
        snprintf(path, sizeof path, "/proc/%d/fd/%s", (int)pid, entry->d_name);
        ssize_t len = readlink(path, link, sizeof link - 1);
        if (len <= 0)
            continue;
        link[len] = '\0';
        if (sscanf(link, "socket:[%llu]", &inode) != 1) /* NOLINT: the kernel's number */
            continue;
        for (size_t i = 0; i < held->n; i++) {
            Listener *one = &held->items[i];
            if (one->inode != inode || one->ours)
                continue;
            one->ours = ours && ours(context, pid);
            if (one->pid == 0 || one->ours)
                one->pid = pid;
        }
    }
}

static Error *find_holders(Listeners *held, bool (*ours)(void *context, pid_t pid), void *context)
{
    DEFER(dir_close) DIR *dir = opendir("/proc");

    if (!dir)
        return error_in(error_system("open"), "/proc");
    for (const struct dirent *entry; (entry = readdir(dir));) {
        char *end = NULL;
        long pid = strtol(entry->d_name, &end, 10);
        if (*end == '\0' && pid > 0)
            look_at_process((pid_t)pid, held, ours, context);
    }
    return NULL;
}

static void program_of(pid_t pid, char ret_program[PATH_MAX])
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    ssize_t len = readlink(path, ret_program, PATH_MAX - 1);
    if (len > 0) {
        ret_program[len] = '\0';
        return;
    }
    snprintf(ret_program, PATH_MAX, "unknown");
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    DEFER(close_file) FILE *file = fopen(path, "re");
    if (file && fgets(ret_program, 64, file))
        ret_program[strcspn(ret_program, "\n")] = '\0';
}

static Error *conflict(const Listener *held)
{
    bool any = strcmp(held->wanted->address, "*") == 0;
    const char *of = any ? "" : " of ";
    const char *address = any ? "" : held->wanted->address;
    char program[PATH_MAX];

    if (held->pid == 0)
        return error_new(ERROR_CONFLICT, "port %u%s%s is in use by an unknown program", held->number, of, address);
    program_of(held->pid, program);
    const char *slash = strrchr(program, '/');
    Error *err = error_new(ERROR_CONFLICT, "port %u%s%s is in use by %s, pid %d", held->number, of, address,
                           slash ? slash + 1 : program, (int)held->pid);
    return error_hint(err, "end it, and disable what starts it: %s", program);
}

static bool can_bind(const Port *port)
{
    bool any = strcmp(port->address, "*") == 0; /* :: takes IPv4 along */
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port->number)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port->number)};
    bool is_four = !any && inet_pton(AF_INET, port->address, &v4.sin_addr) == 1;
    const struct sockaddr *where = is_four ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6;
    const int on = 1;
    const int off = 0;

    if (!any && !is_four && inet_pton(AF_INET6, port->address, &v6.sin6_addr) != 1)
        return false;
    DEFER(fd_close) int fd = socket(where->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || (any && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0))
        return false;
    /* Over connections that are ending; a listener is in the way all the same. */
    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
           bind(fd, where, is_four ? sizeof v4 : sizeof v6) == 0;
}

/* The kernel walks through its whole table of connections for a reader of /proc/net/tcp: 4 ms each time, and as a rule
 * nobody is there.  What cannot be bound is not taken for held yet: the table has the last word. */
static bool all_free(const PortList *wanted)
{
    for (size_t i = 0; i < wanted->n; i++) {
        if (!can_bind(&wanted->items[i]))
            return false;
    }
    return true;
}

Error *ports_check(const PortList *wanted, bool (*ours)(void *context, pid_t pid), void *context)
{
    DEFER(listeners_done) Listeners held = {0};

    if (all_free(wanted))
        return NULL;
    Error *err = table_read("/proc/net/tcp", false, wanted, &held);
    if (!err)
        err = table_read("/proc/net/tcp6", true, wanted, &held);
    if (!err && held.n)
        err = find_holders(&held, ours, context);
    if (err)
        return error_in(err, "who holds the ports");

    for (size_t i = 0; i < wanted->n; i++) {
        for (size_t k = 0; k < held.n; k++) {
            if (held.items[k].wanted == &wanted->items[i] && !held.items[k].ours)
                return conflict(&held.items[k]);
        }
    }
    return NULL;
}

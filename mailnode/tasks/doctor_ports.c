#include "tasks/doctor.h"

#include "base/alloc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ONE_BY_ONE_MAX = 64, ANSWER_MS = 1000 };

static bool ours(void *context, pid_t pid)
{
    return supervise_ours(context, pid);
}

static PortList *ports_of(const DoctorView *view)
{
    PortList *ports = xcalloc(1, sizeof *ports);

    if (view->in_force.state)
        daemons_ports(view->in_force.state, ports);
    return ports;
}

/* The check names the first holder; where there is one, each port is asked about. */
void look_ports(const DoctorView *view, Findings *out)
{
    DEFER(xfree) PortList *ports = ports_of(view);
    DEFER(xfree) PortList *one = xcalloc(1, sizeof *one);

    Error *err = ports_check(ports, ours, view->supervise);
    if (err && err->code != ERROR_CONFLICT)
        findings_add(out, MAIL__FACT_STATE__UNKNOWN, "ports", "could not be looked at: %s", err->what);
    bool held = err && err->code == ERROR_CONFLICT;
    error_free(&err);
    for (size_t i = 0; held && i < ports->n && i < ONE_BY_ONE_MAX; i++) {
        one->items[0] = ports->items[i];
        one->n = 1;
        err = ports_check(one, ours, view->supervise);
        if (err)
            findings_add(out, MAIL__FACT_STATE__BAD, "ports", "%s", err->what);
        error_free(&err);
    }
}

static socklen_t address_of(const Port *port, struct sockaddr_storage *ret_address)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;
    const char *text = strcmp(port->address, "*") == 0 ? "127.0.0.1" : port->address;

    memset(ret_address, 0, sizeof *ret_address);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port->number);
        return sizeof *v4;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
        return 0;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port->number);
    return sizeof *v6;
}

/* NULL: somebody listens there. */
static const char *why_silent(const Port *port)
{
    struct sockaddr_storage address;
    socklen_t size = address_of(port, &address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int number = 0;
    socklen_t number_size = sizeof number;

    if (fd < 0)
        return strerror(errno);
    if (connect(fd, (struct sockaddr *)&address, size) != 0) {
        struct pollfd out = {.fd = fd, .events = POLLOUT};
        number = errno;
        if (number == EINPROGRESS && poll(&out, 1, ANSWER_MS) != 1)
            number = ETIMEDOUT;
        else if (number == EINPROGRESS && getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &number_size) != 0)
            number = errno;
    }
    close(fd);
    return number ? strerror(number) : NULL;
}

void look_answers(const DoctorView *view, Findings *out)
{
    DEFER(xfree) PortList *ports = ports_of(view);

    for (size_t i = 0; i < ports->n && i < ONE_BY_ONE_MAX; i++) {
        const char *why = why_silent(&ports->items[i]);
        if (why)
            findings_add(out, MAIL__FACT_STATE__BAD, "ports", "port %u of %s does not answer: %s",
                         ports->items[i].number, ports->items[i].address, why);
    }
}

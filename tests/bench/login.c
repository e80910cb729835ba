/* login ADDRESS USER PASSWORD COUNT PROCESSES: so many IMAP logins over TLS (993), each on a connection of its own, by so
 * many processes at once; prints the milliseconds between LOGIN and its OK, in the mean: what comes before, TCP and TLS, is
 * the same for everybody.  A login that is refused ends it. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static SSL_CTX *context;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "login: %s\n", what);
    exit(3);
}

/* Until a line begins with this; what it says must be OK. */
static void expect(SSL *tls, const char *tag)
{
    char text[8192];
    size_t n = 0;

    for (;;) {
        int got = SSL_read(tls, text + n, (int)(sizeof text - 1 - n));
        if (got <= 0)
            die("the connection ended");
        n += (size_t)got;
        text[n] = '\0';
        char *line = strncmp(text, tag, strlen(tag)) == 0 ? text : strstr(text, tag);
        if (!line || !strchr(line, '\n'))
            continue;
        if (strncmp(line + strlen(tag), "OK", 2) != 0)
            die(line);
        return;
    }
}

static void say(SSL *tls, const char *text)
{
    if (SSL_write(tls, text, (int)strlen(text)) <= 0)
        die("not written");
}

/* Seconds. */
static double once(const struct sockaddr_in *to, const char *user, const char *password)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    char line[512];

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof *to) != 0)
        die("not connected");
    SSL *tls = SSL_new(context);
    SSL_set_fd(tls, fd);
    if (SSL_connect(tls) != 1)
        die("no TLS");
    expect(tls, "* ");
    snprintf(line, sizeof line, "a LOGIN \"%s\" \"%s\"\r\n", user, password);
    double began = now_s();
    say(tls, line);
    expect(tls, "a ");
    double took = now_s() - began;
    say(tls, "b LOGOUT\r\n");
    SSL_free(tls);
    close(fd);
    return took;
}

static _Noreturn void many(const struct sockaddr_in *to, char **argv, long count, int out)
{
    double took = 0;

    for (long i = 0; i < count; i++)
        took += once(to, argv[2], argv[3]);
    _exit(write(out, &took, sizeof took) == sizeof took ? 0 : 3);
}

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(993)};

    if (argc != 6 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
        die("ADDRESS USER PASSWORD COUNT PROCESSES");
    long count = strtol(argv[4], NULL, 10), processes = strtol(argv[5], NULL, 10);
    context = SSL_CTX_new(TLS_client_method());
    if (!context || count < 1 || processes < 1)
        die("no context, or no number");
    int ends[2];
    if (pipe(ends) != 0)
        die("pipe");
    for (long p = 0; p < processes; p++) {
        pid_t pid = fork();
        if (pid < 0)
            die("fork");
        if (pid == 0)
            many(&to, argv, count, ends[1]);
    }
    close(ends[1]);
    double took = 0, one = 0;
    long n = 0;
    for (; read(ends[0], &one, sizeof one) == sizeof one; n++)
        took += one;
    if (n != processes)
        return 3;
    printf("%.4f\n", 1000 * took / (double)(count * processes));
    return 0;
}

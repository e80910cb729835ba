#include "password.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

void password_done(Password *password)
{
    if (password->octets)
        explicit_bzero(password->octets, password->room);
    free(password->octets);
    *password = (Password){0};
}

/* Room from the start: a buffer that grows would leave copies behind. */
static void begin(Password *password, size_t max)
{
    password_done(password);
    *password = (Password){.octets = xcalloc(1, max + 2), .room = max + 2};
}

/* To the end of the file, or of the line, as far as there is room. */
static Error *read_all(int fd, const char *name, bool line, Password *password)
{
    while (password->size < password->room) {
        ssize_t got = read(fd, password->octets + password->size, password->room - password->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_system("%s", name);
        if (got == 0)
            break;
        password->size += (size_t)got;
        if (line && password->octets[password->size - 1] == '\n')
            break;
    }
    return NULL;
}

static Error *read_from(int fd, const char *name, bool line, Password *password)
{
    begin(password, PASSWORD_MAX);
    Error *err = read_all(fd, name, line, password);
    if (err)
        return err;
    if (password->size && password->octets[password->size - 1] == '\n')
        password->octets[--password->size] = '\0';
    if (password->size > PASSWORD_MAX)
        return error_new(ERROR_INVALID, "%s: over %d octets", name, PASSWORD_MAX);
    return NULL;
}

static Error *form_check(const Password *password, const char *name)
{
    if (password->size == 0)
        return error_new(ERROR_INVALID, "%s: empty", name);
    if (memchr(password->octets, '\0', password->size))
        return error_new(ERROR_INVALID, "%s: a NUL is in it", name);
    if (!utf8_valid((const char *)password->octets, password->size))
        return error_new(ERROR_INVALID, "%s: not UTF-8", name);
    return NULL;
}

/* ---- a terminal ---- */

static struct termios terminal_before;

/* The shell shall not be left without echo. */
static void on_interrupt(int signal_number)
{
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal_before);
    _exit(128 + signal_number);
}

static Error *ask_once(const char *question, Password *password)
{
    struct termios quiet;

    if (tcgetattr(STDIN_FILENO, &terminal_before) != 0)
        return error_system("terminal");
    quiet = terminal_before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    void (*before)(int) = signal(SIGINT, on_interrupt);
    /* Quiet before the question: who answers at once is neither seen nor lost. */
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) != 0)
        return error_system("terminal");
    fputs(question, stderr);
    fflush(stderr);
    Error *err = read_from(STDIN_FILENO, "terminal", true, password);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal_before);
    signal(SIGINT, before);
    fputc('\n', stderr);
    return err;
}

static Error *ask_first(const char *whose, bool may_be_none, Password *password)
{
    DEFER(xfree) char *shown = escaped(whose);
    DEFER(xfree) char *question = xasprintf("Password of %s%s: ", shown, may_be_none ? " (nothing: none)" : "");

    return ask_once(question, password);
}

static Error *ask_twice(Cli *cli, const char *whose, bool may_be_none, Password *password)
{
    DEFER(password_done) Password again = {0};
    Error *err = ask_first(whose, may_be_none, password);

    if (err || (password->size == 0 && may_be_none))
        return err;
    err = ask_once("Once more: ", &again);
    if (err)
        return err;
    assert(password->octets && again.octets); /* asked for */
    if (password->size != again.size || memcmp(password->octets, again.octets, again.size) != 0)
        return cli_usage(cli, "the two are not the same, nothing was changed");
    return form_check(password, "password");
}

/* ---- all ways ---- */

static Error *from_file(const char *path, Password *password)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        return error_new(ERROR_NOT_FOUND, "%s does not exist", path);
    if (fd < 0)
        return error_system("%s", path);
    Error *err = read_from(fd, path, false, password);
    close(fd);
    return err ? err : form_check(password, path);
}

static Error *from_stdin(Password *password)
{
    Error *err = read_from(STDIN_FILENO, "stdin", false, password);

    return err ? err : form_check(password, "stdin");
}

Error *password_take(Cli *cli, const char *from, bool ask, const char *whose, Password *ret_password)
{
    bool terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    DEFER(password_done) Password password = {0};
    Error *err = NULL;

    if (from && *from == '@')
        err = from_file(from + 1, &password);
    else if (from && !terminal)
        err = from_stdin(&password);
    else if (terminal && (from || ask))
        err = ask_twice(cli, whose, !from, &password);
    if (err)
        return error_in(err, "password");
    if (password.size == 0)
        return NULL;
    *ret_password = password;
    password = (Password){0};
    return NULL;
}

Error *password_take_once(const char *from, const char *whose, Password *ret_password)
{
    bool terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    DEFER(password_done) Password password = {0};
    Error *err = NULL;

    if (from && *from == '@')
        err = from_file(from + 1, &password);
    else if (from && !terminal)
        err = from_stdin(&password);
    else if (terminal)
        err = ask_first(whose, false, &password);
    if (!err && terminal && (!from || *from != '@'))
        err = form_check(&password, "password");
    if (err)
        return error_in(err, "password");
    *ret_password = password;
    password = (Password){0};
    return NULL;
}

static Error *secret_read(const char *from, size_t max, Password *secret)
{
    int fd = *from == '@' ? open(from + 1, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    const char *name = *from == '@' ? from + 1 : "stdin";

    if (fd < 0 && errno == ENOENT)
        return error_new(ERROR_NOT_FOUND, "%s does not exist", name);
    if (fd < 0)
        return error_system("%s", name);
    begin(secret, max);
    Error *err = read_all(fd, name, false, secret);
    if (fd != STDIN_FILENO)
        close(fd);
    if (!err && secret->size > max)
        err = error_new(ERROR_INVALID, "%s: over %zu octets", name, max);
    return err ? err : form_check(secret, name);
}

Error *secret_file_take(Cli *cli, const char *from, const char *title, size_t max, Password *ret_secret)
{
    DEFER(password_done) Password secret = {0};

    if (*from == '-' && isatty(STDIN_FILENO))
        return cli_usage(cli, "%s: it has several lines: write them into a file, and %s=@FILE", title, title);
    Error *err = secret_read(from, max, &secret);
    if (err)
        return error_in(err, "%s", title);
    *ret_secret = secret;
    secret = (Password){0};
    return NULL;
}

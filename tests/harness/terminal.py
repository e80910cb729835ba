"""mailctl at a terminal of ours."""
import os
import pty
import select
import signal
import termios
import time

from . import paths

YES, NO, END, INTERRUPT = b"y\n", b"n\n", b"\x04", b"\x03"   # what one types: the last two are Ctrl-D and Ctrl-C


def at_terminal(ctl, line, answer):
    """(what it showed, its exit; -n: ended by signal n) of mailctl, whose terminal is ours and answers its question."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(paths.MAILCTL, ["mailctl", *line.split()], {**os.environ, "MAILNODE_ROOT": ctl.root, "TERM": "dumb"})
    form = termios.tcgetattr(terminal)
    form[3] |= termios.NOFLSH   # otherwise the kernel may throw away what is said at Ctrl-C
    termios.tcsetattr(terminal, termios.TCSANOW, form)
    shown, answered, until = b"", False, time.monotonic() + 30
    while True:
        if not select.select([terminal], [], [], max(0, until - time.monotonic()))[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"neither asked nor ended: {shown}")
        try:
            more = os.read(terminal, 4096)
        except OSError:   # EIO: nobody has the other end any more
            break
        if not more:
            break
        shown += more
        if not answered and shown.endswith(b"Go on? [y/N] "):
            os.write(terminal, answer)
            answered = True
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert answered, shown
    return shown.decode().replace("\r\n", "\n"), status

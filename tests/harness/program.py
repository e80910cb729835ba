"""One running program: started with its log in a file, ended by its pid."""
import grp
import os
import pwd
import signal
import subprocess
import time

from .wait import wait_until


class Program:
    def __init__(self, name, argv, log, env=None, stdin=None):
        self.name, self.argv, self.log = name, [str(a) for a in argv], log
        self._mark = os.path.getsize(log) if os.path.exists(log) else 0
        with open(log, "ab") as out:
            self.process = subprocess.Popen(self.argv, stdin=stdin or subprocess.DEVNULL, stdout=out, stderr=out,
                                            env=environment(env), cwd="/", start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def said(self, words):
        """Is this in what the program has written since it was started?"""
        return words in self.output()

    def output(self):
        with open(self.log, "rb") as f:
            f.seek(self._mark)
            return f.read().decode(errors="replace")

    def wait(self, timeout=15):
        """Its exit status (negative: the signal)."""
        wait_until(lambda: not self.running(), f"{self.name} ended", timeout)
        return self.process.returncode

    def stop(self, timeout=10):
        """SIGTERM, and SIGKILL to one that does not hear; gives the exit status."""
        if self.running():
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} (pid {self.pid}) did not end within {timeout} s of SIGTERM") from None
        return self.process.returncode

    def kill(self):
        if self.running():
            self.signal(signal.SIGKILL)
        self.process.wait(10)

    def signal(self, number):
        if self.running():
            self.process.send_signal(number)

    def rss_kb(self, field="VmRSS"):
        with open(f"/proc/{self.pid}/status") as f:
            for line in f:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        raise AssertionError(f"{self.name}: no {field}")


def environment(more=None):
    """What programs of a test see: nothing of the tester's own settings."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("MAILNODE_", "MAILCTL_")) and k not in ("PYTHONPATH", "XDG_CONFIG_HOME")}
    env.update({"LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "NO_COLOR": "1"})
    for key, value in (more or {}).items():
        if value is None:
            env.pop(key, None)
        else:
            env[key] = str(value)
    return env


def with_root_in_cmdline(folder):
    """Pids of programs that run on a folder of ours."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                argv = f.read().decode(errors="replace")
        except OSError:
            continue
        if folder in argv and int(pid) != os.getpid():
            found.append(int(pid))
    return found


def end_all(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(os.path.exists(f"/proc/{p}") for p in pids):
        time.sleep(0.01)


def session_pids(sid):
    """Every process of one session: a daemon and its children."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                if int(f.read().rsplit(")", 1)[1].split()[3]) == sid:
                    found.append(int(pid))
        except OSError:
            continue
    return found


def may_read(user, path):
    """Could this user open the file?  Asked of the kernel, as that user."""
    return subprocess.run(["/usr/bin/test", "-r", path], user=user, group=pwd.getpwnam(user).pw_gid,
                          extra_groups=[g.gr_gid for g in grp.getgrall() if user in g.gr_mem]).returncode == 0

"""mailctl as a person or a script runs it."""
import json
import os
import shlex
import shutil
import subprocess

from . import paths
from .program import environment


class Answer:
    """What one mailctl said: exit code, stdout, stderr."""

    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def items(self):
        return self.json["items"]

    @property
    def names(self):
        return self.out.split()

    @property
    def error(self):
        """With -o json: the last line of stderr."""
        return json.loads(self.err.strip().splitlines()[-1])["error"]

    @property
    def revision(self):
        """With -o json, of a change."""
        return self.json["revision"]

    def __repr__(self):
        return f"$ {shlex.join(self.argv)}\nexit {self.code}\n{self.out}{self.err}"


def run(argv, stdin=None, env=None, uid=None, gid=None, groups=None, timeout=60, binary=False):
    who = {}
    if uid is not None:
        who = {"user": uid, "group": uid if gid is None else gid, "extra_groups": groups or []}
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run([str(a) for a in argv], input=data if data is not None else b"", capture_output=True,
                          env=environment(env), timeout=timeout, cwd="/", **who)
    out, err = done.stdout, done.stderr
    if not binary:
        out, err = out.decode("utf-8", "surrogateescape"), err.decode("utf-8", "surrogateescape")
    return Answer([str(a) for a in argv], done.returncode, out, err)


class Ctl:
    """c.ctl("address add info@example.org to=alice"): demands exit 0 unless told which code, or None for any."""

    def __init__(self, root, folder):
        self.root, self._folder = root, folder

    def __call__(self, line, *more, code=0, uid=None, gid=None, groups=None, stdin=None, env=None, timeout=60, binary=False):
        argv = (shlex.split(line) if isinstance(line, str) else list(line)) + list(more)
        answer = run([self._program(uid), *argv], stdin, {"MAILNODE_ROOT": self.root, **(env or {})}, uid, gid, groups,
                     timeout, binary)
        codes = code if isinstance(code, (tuple, list, set)) else (code,)
        if code is not None and answer.code not in codes:
            raise AssertionError(f"wanted exit {code}:\n{answer!r}")
        return answer

    def start(self, line, env=None):
        """In the background, for --follow and long waits: a Popen with text pipes."""
        argv = shlex.split(line) if isinstance(line, str) else list(line)
        return subprocess.Popen([str(paths.MAILCTL), *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, cwd="/",
                                env=environment({"MAILNODE_ROOT": self.root, **(env or {})}))

    def _program(self, uid):
        """Other users may not be able to reach the build folder: they get a copy."""
        if uid is None:
            return paths.MAILCTL
        copy = os.path.join(self._folder, "mailctl")
        if not os.path.exists(copy):
            shutil.copy(paths.MAILCTL, copy)
            os.chmod(copy, 0o755)
        return copy

"""An agent in an attacker's hands, beside the real mail-engine: what it can say, and what root does of it (DESIGN 1; S10, S41, B05, B07).

The test connects as mailagent and says every verb with hostile values, while strace watches which programs mail-engine runs and
which files it opens for writing.
"""
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess

import pytest

from harness import wait_until
from harness.wire import Envelope, VERSION, packed
import control_pb2
import desired_pb2

pytestmark = pytest.mark.xdist_group("verbs")

HOSTILE = ["../../../etc/passwd", "/etc/shadow", "-rf", "$(touch /tmp/owned)", "`touch /tmp/owned`", "a\nb", "a\0b", "a;id", "x" * 5000,
           "${HOME}", "%s%n", "!include /etc/shadow", "\x1b]52;c;x\x07", "a b", "", "..", "alice --all", "'; DROP TABLE userdb; --"]
# Not one of the node's objects: they would have these fields.
MORE = {"settings": {"junk_folder": "Junk"}, "tls": {"follow_certificate": "/etc/ssl/x", "follow_key": "/etc/ssl/y"}}
# What is a folder's name gets to the checkers, a second each: those that could mean something there.
FEW = {"junk_folder": ["$(touch /tmp/owned)", "${HOME}", "%s%n", "!include /etc/shadow", "-rf", "../../../etc/passwd", "a\nb", "a\0b"]}
# Checkers, and doveadm for a refresh.
MAY_RUN = re.compile(r"/usr/s?bin/(postconf|postmap|doveconf|doveadm|rspamadm|unbound-checkconf|slaptest)|"
                     r"/usr/lib/postfix/sbin/[a-z]+|/usr/lib/dovecot/[a-z0-9-]+")
MAY_WRITE = re.compile(r"/dev/(null|tty|urandom)|/proc/(self|\d+)/\S+")
CALLS = ("execve,execveat,open,openat,openat2,creat,truncate,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mkdir,mkdirat,"
         "unlink,unlinkat,rmdir,chmod,fchmodat,chown,lchown,fchownat,mknod,mknodat")


class Agent:
    """What a process with mailagent's uid can do with the socket."""

    def __init__(self, node):
        self.uid = pwd.getpwnam("mailagent").pw_uid
        self.gid = pwd.getpwnam("mailagent").pw_gid
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(90)
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            self.socket.connect(node.engine_socket)
        finally:
            os.seteuid(0)
            os.setegid(0)
        self._in, self._next = b"", 1
        self.say(greeting=control_pb2.Greeting(protocol=VERSION, release="1.0.0", program="mail-agent"))
        assert self.hear().WhichOneof("body") == "greeting"

    def say(self, **body):
        envelope = Envelope(version=VERSION, id=self._next)
        self._next += 1
        for name, value in body.items():
            getattr(envelope, name).CopyFrom(value)
        self.write(packed(envelope))
        return envelope.id

    def write(self, octets):
        self.socket.sendall(len(octets).to_bytes(4, "little") + octets)

    def hear(self):
        """The next envelope; None when the connection was ended."""
        while len(self._in) < 4 or len(self._in) < 4 + int.from_bytes(self._in[:4], "little"):
            try:
                more = self.socket.recv(1 << 20)
            except ConnectionError:
                more = b""
            if not more:
                return None
            self._in += more
        size = int.from_bytes(self._in[:4], "little")
        envelope, self._in = Envelope.FromString(self._in[4:4 + size]), self._in[4 + size:]
        return envelope

    def ask(self, **body):
        id = self.say(**body)
        while (envelope := self.hear()) is not None:
            if envelope.in_reply_to == id and envelope.last:
                return envelope
        return None

    def close(self):
        self.socket.close()


def objects_of(node):
    """The configuration in force, as the agent would send it, and one object each of what is left at its defaults."""
    with open(os.path.join(node.generation(), "objects"), "rb") as f:
        octets = f.read()[:-32]   # behind it stands its digest
    out = [desired_pb2.Object.FromString(o) for o in control_pb2.EnginePrepare.FromString(octets).objects]
    for kind, fields in MORE.items():
        if not any(o.WhichOneof("body") == kind for o in out):
            out.append(desired_pb2.Object(instance_name="main", **{kind: fields}))
    return out


def texts(message, path=()):
    """Every string field of an object, stated or not: the names that lead to it."""
    for field in message.DESCRIPTOR.fields:
        if field.type == field.TYPE_STRING:
            yield (*path, field.name)
        elif field.type == field.TYPE_MESSAGE and field.label != field.LABEL_REPEATED and message.HasField(field.name):
            yield from texts(getattr(message, field.name), (*path, field.name))


def with_text(stated, path, value):
    """The object with another text in this field, packed."""
    out = desired_pb2.Object.FromString(stated.SerializeToString())
    message = out
    for name in path[:-1]:
        message = getattr(message, name)
    field = message.DESCRIPTOR.fields_by_name[path[-1]]
    if field.label == field.LABEL_REPEATED:
        getattr(message, path[-1])[:] = [value]
    else:
        setattr(message, path[-1], value)
    return out.SerializeToString()


class Trace:
    """What strace -y saw: programs that were run, and names that something was done to."""

    def __init__(self, path, root):
        self.root = root
        self.run, self.done = set(), set()
        with open(path, errors="replace") as f:
            for line in f:
                self.take(line)

    def take(self, line):
        call = re.match(r"\d+ +(\w+)\((.*)", line)
        if not call:
            return
        name, rest = call.groups()
        if name in ("execve", "execveat"):
            if not re.search(r"= -1 ENOENT", rest):   # one of PATH's folders
                self.run.add(re.search(r'"([^"]*)"', rest).group(1))
        elif not name.startswith("open") or re.search(r"\bO_(WRONLY|RDWR|CREAT|TRUNC)\b", rest):
            for folder, path in re.findall(r'(?:<([^>]*)>, )?"([^"]*)"', rest):
                path = os.path.normpath(os.path.join(folder, path))
                if name != "mkdir" or not (self.root + "/").startswith(path + "/"):   # folders above ours are there
                    self.done.add(path)


@pytest.fixture
def watched(mail):
    """mail-engine under strace: programs that it and its children run, and what they do outside the node's root."""
    if not shutil.which("strace"):
        pytest.fail("strace is missing: packaging/packages run build test")
    path = os.path.join(mail.cluster.folder, "strace")
    tracer = subprocess.Popen(["strace", "-f", "-q", "-y", "-s", "4096", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", path,
                               "-p", str(mail.mail_engine.pid)], stderr=subprocess.PIPE, text=True)

    def traced():
        with open(f"/proc/{mail.mail_engine.pid}/status") as f:
            return "TracerPid:\t0" not in f.read()
    wait_until(lambda: tracer.poll() is not None or traced(), "strace watches")
    assert tracer.poll() is None, tracer.stderr.read()
    yield mail
    tracer.send_signal(signal.SIGINT)
    tracer.wait(20)
    seen = Trace(path, mail.root)
    assert any(os.path.basename(p) == "doveconf" for p in seen.run), f"not even the checkers: {seen.run}"
    assert not (others := [p for p in seen.run if not MAY_RUN.fullmatch(p)]), others
    assert any(p.startswith(mail.path("var/lib/mailnode/engine/gen")) for p in seen.done), "nothing is written"
    assert not (outside := [p for p in seen.done if not p.startswith(mail.root + "/") and not MAY_WRITE.fullmatch(p)]), outside
    assert not os.path.exists("/tmp/owned")


class Talk:
    """Asks, and comes again where the connection was ended."""

    def __init__(self, node):
        self.node, self.agent = node, Agent(node)

    def ask(self, **body):
        answer = self.agent.ask(**body)
        if answer is None:
            self.agent.close()
            self.agent = Agent(self.node)
        else:
            assert "root:" not in str(answer), answer   # of /etc/shadow, or of /etc/passwd
        return answer

    def prepare(self, objects):
        """True: it would be taken."""
        answer = self.ask(engine_prepare=control_pb2.EnginePrepare(objects=objects, revision=99))
        if answer is not None and answer.WhichOneof("body") == "done":
            assert self.ask(engine_abort=control_pb2.EngineAbort()).WhichOneof("body") == "done"
            return True
        assert answer is None or answer.WhichOneof("body") == "failure", answer
        return False


@pytest.mark.spec("S10", "S41", "B05", "B07", "B01", "B02", "B03")
def test_hostile_agent(watched):
    node, talk = watched, Talk(watched)
    before = node.generation(), node.pids()
    base = objects_of(node)
    good = [o.SerializeToString() for o in base if o.WhichOneof("body") not in MORE]
    assert talk.prepare(good), "what is in force is taken"
    taken = set()
    for stated in base:
        others = [o.SerializeToString() for o in base if o is not stated and o.WhichOneof("body") != "tls"]
        for path in texts(stated):
            for value in FEW.get(path[-1], HOSTILE):
                if talk.prepare([*others, with_text(stated, path, value)]) and value:   # an empty one is none
                    taken.add(path[-1])
    assert taken == {"description", "junk_folder"}, f"words of people, and no others: {taken}"
    for objects in ([b""], [b"\xff" * 50], good + good, good[:1] * 1001, [good[0] + b"\0" * 200000], [os.urandom(300)]):
        assert not talk.prepare(objects), objects
    for user in HOSTILE:
        talk.ask(engine_refresh=control_pb2.EngineRefresh(users=[user]))
    for revision in (0, 7, 99, 2**63):
        assert talk.ask(engine_switch=control_pb2.EngineSwitch(revision=revision)).WhichOneof("body") == "failure"
    for id in ("../../x", "../" * 12, "x" * 36, "", "%n" * 18):
        task = control_pb2.TaskStart(task_id=id, node_check=control_pb2.NodeCheck(repair=False))
        answer = talk.ask(engine_task=control_pb2.EngineTask(task=task))
        assert answer is None or answer.WhichOneof("body") in ("failure", "task_result"), answer
    talk.agent.close()
    assert (node.generation(), node.pids()) == before
    node.wait_ready()


@pytest.mark.spec("S42")
def test_what_is_not_a_verb_ends_the_connection(mail):
    for name in ("hello", "join", "change", "list", "task_start", "directory", "applied", "engine_is"):
        agent = Agent(mail)
        body = getattr(Envelope(), name)
        body.SetInParent()
        agent.say(**{name: body})
        answer = agent.hear()
        assert answer is None or answer.WhichOneof("body") == "failure", name
        agent.close()
    for octets in (b"\xff" * 100, b"", b"\0" * 1000):
        agent = Agent(mail)
        try:
            agent.write(octets)
            while agent.hear() is not None:
                pass
        except OSError:
            pass
        agent.close()
    assert mail.mail_engine.running()
    with socket.socket(socket.AF_UNIX) as other:   # somebody else
        os.seteuid(65534)
        try:
            with pytest.raises(PermissionError):
                other.connect(mail.engine_socket)
        finally:
            os.seteuid(0)

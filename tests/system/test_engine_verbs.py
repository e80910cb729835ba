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
MAY_RUN = re.compile(r"^/(usr/)?s?bin/(postconf|postmap|doveconf|doveadm|rspamadm|unbound-checkconf|unbound|slaptest|slapadd|slapd|dovecot|"
                     r"redis-server|clamd|rspamd|redis-check-rdb)$|^/usr/lib/(postfix/sbin/|dovecot/|rspamd/)|^/usr/bin/rspamd-.*|"
                     r".*/mail-(agent|engine)$")


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
    """The configuration in force, as the agent would send it."""
    with open(os.path.join(node.generation(), "objects"), "rb") as f:
        octets = f.read()[:-32]   # behind it stands its digest
    return [desired_pb2.Object.FromString(o) for o in control_pb2.EnginePrepare.FromString(octets).objects]


def texts(message, path=()):
    """Every string field of the objects: (path of fields, setter)."""
    for field in message.DESCRIPTOR.fields:
        if field.type == field.TYPE_STRING:
            yield (*path, field.name), message, field
        elif field.type == field.TYPE_MESSAGE and field.label != field.LABEL_REPEATED and message.HasField(field.name):
            yield from texts(getattr(message, field.name), (*path, field.name))


@pytest.fixture
def watched(mail):
    """mail-engine under strace: programs that it and its children run, files opened for writing."""
    if not shutil.which("strace"):
        pytest.fail("strace is missing: packaging/packages run build test")
    trace = os.path.join(mail.cluster.folder, "strace")
    tracer = subprocess.Popen(["strace", "-f", "-q", "-e", "trace=execve,openat,open,creat", "-o", trace, "-p", str(mail.mail_engine.pid)],
                              stderr=subprocess.PIPE, text=True)
    wait_until(lambda: tracer.poll() is not None or "TracerPid:\t0" not in open(f"/proc/{mail.mail_engine.pid}/status").read(), "strace watches")
    assert tracer.poll() is None, tracer.stderr.read()
    yield mail
    tracer.send_signal(signal.SIGINT)
    tracer.wait(20)
    with open(trace, errors="replace") as f:
        seen = f.read()
    run = set(re.findall(r'execve\("([^"]+)"', seen))
    assert run, "strace saw nothing"
    assert not [p for p in run if not MAY_RUN.match(p)], [p for p in run if not MAY_RUN.match(p)]
    assert not [p for p in run if os.path.basename(p) in ("sh", "bash", "dash", "env", "perl", "python3")], run
    written = set(re.findall(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]+)", [^)]*\bO_(?:WRONLY|RDWR|CREAT)\b', seen))
    outside = [p for p in written if p.startswith("/") and not p.startswith((mail.root, "/dev/", "/proc/", "/tmp/", "/var/tmp/"))]
    assert not outside, outside
    assert not os.path.exists("/tmp/owned")


@pytest.mark.spec("S10", "S41", "B05", "B07", "B01", "B02", "B03")
def test_hostile_agent(watched):
    node = watched
    before = node.generation(), node.pids()
    agent = Agent(node)
    base = objects_of(node)
    paths = [p for o in base for p, _, _ in texts(o)]
    assert len(paths) > 5
    for i, stated in enumerate(base):
        for path, _, _ in list(texts(stated)):
            for value in HOSTILE:
                objects = [desired_pb2.Object.FromString(o.SerializeToString()) for o in base]
                for where, message, field in texts(objects[i]):
                    if where == path:
                        try:
                            if field.label == field.LABEL_REPEATED:
                                getattr(message, field.name)[:] = [value]
                            else:
                                setattr(message, field.name, value)
                        except ValueError:
                            continue
                answer = agent.ask(engine_prepare=control_pb2.EnginePrepare(objects=[o.SerializeToString() for o in objects], revision=99))
                if answer is None:   # it broke the protocol
                    agent = Agent(node)
                    continue
                assert answer.WhichOneof("body") in ("failure", "done"), (path, value, answer)
                if answer.WhichOneof("body") == "done":
                    agent.ask(engine_abort=control_pb2.EngineAbort())
                else:
                    assert "root:" not in answer.failure.what, answer
    for user in HOSTILE:
        try:
            answer = agent.ask(engine_refresh=control_pb2.EngineRefresh(users=[user]))
        except ValueError:
            continue
        if answer is None:
            agent = Agent(node)
    for revision in (0, 7, 2**63):
        answer = agent.ask(engine_switch=control_pb2.EngineSwitch(revision=revision))
        assert answer.WhichOneof("body") == "failure", answer
    task = control_pb2.TaskStart(task_id="../../x", node_check=control_pb2.NodeCheck(repair=False))
    answer = agent.ask(engine_task=control_pb2.EngineTask(task=task))
    assert answer is None or answer.WhichOneof("body") in ("failure", "task_result"), answer
    agent.close()
    assert (node.generation(), node.pids()) == before
    node.wait_ready()


@pytest.mark.spec("S35", "S42")
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

"""Jobs of mail-engine, asked for as the agent would: the objects and secrets come along with the task."""
import os
import pwd
import socket
import subprocess

from . import paths
from .wire import Envelope, VERSION, packed

import control_pb2
import desired_pb2

PASSWORD = "s3cret password of the repository"


class Jobs:
    """One instance "main"; destinations as {name: repository, or fields of it with 'secrets'}; a plan "nightly" to all of them."""

    def __init__(self, node, destinations, **plan):
        self.node, self.secrets, self.staged = node, [], {}
        self.objects = [desired_pb2.Object(name="main", instance={"node": node.name})]
        for name, fields in destinations.items():
            fields = dict(fields if isinstance(fields, dict) else {"repository": fields})
            for secret, value in {"password": PASSWORD, **fields.pop("secrets", {})}.items():
                self.secrets.append(control_pb2.SecretValue(id=len(self.secrets) + 1, value=value.encode()))
                fields[secret] = len(self.secrets)
            self.objects.append(desired_pb2.Object(name=name, destination=fields))
        plan = {"destinations": sorted(destinations), "schedule": "daily 01:00", **plan}
        self.objects.append(desired_pb2.Object(name="nightly", plan=plan))

    def start(self, crash=None, **verb):
        """The connection of a job that runs; with a crash point it is a process of the test's, which dies there."""
        return Job(self.node, crash, control_pb2.EngineTask(task=control_pb2.TaskStart(task_id="T" * 26, **verb), secrets=self.secrets,
                                                     objects=[o.SerializeToString() for o in self.objects], **self.staged))

    def die(self, point, **verb):
        """The job dies at its crash point."""
        job = self.start(crash=point, **verb)
        assert job.process.wait(60) == -9, f"did not come to {point}"
        job.close()

    def run(self, **verb):
        """Its TaskResult."""
        job = self.start(**verb)
        try:
            return job.result()
        finally:
            job.close()


class Job:
    def __init__(self, node, crash, task):
        self.process, self._in, self.progress = None, b"", []
        if crash is None:
            self.socket = self.to_engine(node)
        else:
            self.socket, theirs = socket.socketpair()
            self.process = subprocess.Popen([paths.ENGINE, "job", "--root", node.root], stdin=theirs,
                                            env={**os.environ, "MAILNODE_CRASH": crash, "MAILNODE_BOOT_ID": node.boot_id})
            theirs.close()
        self.socket.settimeout(90)
        self.say(Envelope(version=VERSION, id=1, greeting={"protocol": VERSION, "release": "1.0.0", "program": "mail-agent"}))
        assert self.hear().WhichOneof("body") == "greeting"
        self.say(Envelope(version=VERSION, id=2, engine_task=task))

    @staticmethod
    def to_engine(node):
        agent, to = pwd.getpwnam("mailagent"), socket.socket(socket.AF_UNIX)
        os.setegid(agent.pw_gid)
        os.seteuid(agent.pw_uid)
        try:
            to.connect(node.engine_socket)
        finally:
            os.seteuid(0)
            os.setegid(0)
        return to

    def say(self, envelope):
        octets = packed(envelope)
        self.socket.sendall(len(octets).to_bytes(4, "little") + octets)

    def hear(self):
        while len(self._in) < 4 or len(self._in) < 4 + int.from_bytes(self._in[:4], "little"):
            more = self.socket.recv(1 << 20)
            assert more, "mail-engine ended the connection"
            self._in += more
        size = int.from_bytes(self._in[:4], "little")
        envelope, self._in = Envelope.FromString(self._in[4:4 + size]), self._in[4 + size:]
        return envelope

    def hear_progress(self):
        """The next word; kept, if it is one of progress."""
        envelope = self.hear()
        if envelope.WhichOneof("body") == "task_progress":
            self.progress.append(envelope.task_progress)
        return envelope

    def result(self):
        while True:
            envelope = self.hear_progress()
            if envelope.WhichOneof("body") != "task_progress" and envelope.last:
                assert envelope.WhichOneof("body") == "task_result", envelope
                return envelope.task_result

    def close(self):
        self.socket.close()

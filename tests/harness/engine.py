"""The stand-in for mail-engine: speaks the agent's verbs on NODE/run/mailnode/engine/engine.sock from a thread of the test.

It keeps what the real one keeps (generation, revision and digest of the configuration in force), over stop and start,
and can be told to misbehave:

    node.engine.refuse_prepare("postconf: fatal: no", once=True)
    node.engine.refuse_switch("smtpd does not come up")
    node.engine.hang = True            # reads, never answers
"""
import grp
import hashlib
import os
import selectors
import socket
import struct
import threading

from .wire import Envelope, VERSION, packed
import control_pb2
import desired_pb2
import report_pb2


def digest_sum(objects):
    """Sum modulo 2^256 of SHA-256 over each object's bytes."""
    total = sum(int.from_bytes(hashlib.sha256(o).digest(), "big") for o in objects)
    return (total % (1 << 256)).to_bytes(32, "big")


JOBS = ("destination_check", "backup_run", "backup_verify", "restore_folder", "restore_instance")


class Engine:
    def __init__(self, root):
        self.path = os.path.join(root, "run/mailnode/engine/engine.sock")
        self.stage = os.path.join(root, "var/lib/mailnode/agent/stage")
        self.staged_copies = []     # of the controller, as each backup had it
        self.generation, self.revision, self.objects = 0, 0, []
        self.prepared = None        # (revision, objects)
        self.calls = []             # (verb, message) in the order of arrival
        self.hang = False
        self.facts = [("postfix", report_pb2.GOOD, "ready"), ("dovecot", report_pb2.GOOD, "ready")]
        self.findings = []          # of the next task: (severity, where, text)
        self.job = lambda task: (control_pb2.SUCCEEDED, "nothing to say")   # what becomes of a job; None: it goes on and on
        self.life, self.happenings = 0, []   # (number, severity, what, text)
        self._refuse = {}           # verb -> (words, once)
        self._lock = threading.Lock()
        self._thread = None

    # ---- telling it to misbehave

    def refuse_prepare(self, words, once=False):
        self._refuse["prepare"] = (words, once)

    def refuse_switch(self, words, once=False):
        self._refuse["switch"] = (words, once)

    def refuse_task(self, words, once=False):
        self._refuse["task"] = (words, once)

    def relent(self):
        self._refuse.clear()
        self.hang = False

    # ---- what it has

    @property
    def digest(self):
        return digest_sum(self.objects)

    def stated(self):
        """The configuration in force as objects."""
        return [desired_pb2.Object.FromString(o) for o in self.objects]

    def verbs(self):
        return [verb for verb, _ in self.calls]

    def refreshed(self):
        """Users named in Refresh so far."""
        return {u for verb, message in self.calls if verb == "refresh" for u in message.users}

    # ---- running

    def start(self):
        folder = os.path.dirname(self.path)
        os.makedirs(folder, exist_ok=True)
        if os.path.exists(self.path):
            os.unlink(self.path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        os.chown(self.path, 0, grp.getgrnam("mailagent").gr_gid)
        os.chmod(self.path, 0o660)
        self._listener.listen(8)
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self):
        if self._thread:
            self._wake.close()
            self._thread.join()
            self._thread = None
            if os.path.exists(self.path):
                os.unlink(self.path)

    def _serve(self):
        selector = selectors.DefaultSelector()
        selector.register(self._listener, selectors.EVENT_READ)
        selector.register(self._woken, selectors.EVENT_READ)
        peers = {}
        while True:
            for key, _ in selector.select():
                if key.fileobj is self._woken:
                    for peer in peers:
                        peer.close()
                    self._listener.close()
                    self._woken.close()
                    return
                if key.fileobj is self._listener:
                    peer, _ = self._listener.accept()
                    peers[peer] = _Peer(peer)
                    selector.register(peer, selectors.EVENT_READ)
                elif not self._hear(peers[key.fileobj]):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    del peers[key.fileobj]

    def _hear(self, peer):
        """Answers what has arrived; False: the peer is gone."""
        try:
            if not peer.greeted:
                peer.greeted = True
                peer.say(_envelope("greeting", protocol=VERSION, release="1.0.0", program="mail-engine"))
            envelopes = peer.read()
            for envelope in envelopes or ():
                self._answer(peer, envelope)
            return envelopes is not None
        except OSError:   # killed while it was answered
            return False

    def _answer(self, peer, envelope):
        verb = envelope.WhichOneof("body")
        if verb == "greeting":
            return
        with self._lock:
            self.calls.append((verb.removeprefix("engine_"), getattr(envelope, verb)))
            if self.hang:
                return
            reply = getattr(self, "_" + verb)(getattr(envelope, verb))
        if reply is None:
            return
        reply.in_reply_to, reply.last = envelope.id, True
        peer.say(reply)

    def _engine_state(self, message):
        known = message.happened if message.life == self.life else 0
        return self._is([h for h in self.happenings if h[0] > known])

    def _engine_prepare(self, message):
        refusal = self._refusal("prepare")
        if refusal:
            return refusal
        self.prepared = (message.revision, list(message.objects))
        return _envelope("done")

    def _engine_switch(self, message):
        refusal = self._refusal("switch")
        if refusal:
            self.prepared = None
            return refusal
        if self.prepared is None or self.prepared[0] != message.revision:
            return _failure(control_pb2.CONFLICT, f"revision {message.revision} is not prepared")
        self.revision, self.objects = self.prepared
        self.prepared = None
        self.generation += 1
        return self._is()

    def _engine_abort(self, _):
        self.prepared = None
        return _envelope("done")

    def _engine_refresh(self, _):
        return _envelope("done")

    def _engine_task(self, message):
        refusal = self._refusal("task")
        if refusal:
            return refusal
        if message.task.WhichOneof("verb") in JOBS:
            if message.staged_copy:   # it is gone when the job has ended
                with open(os.path.join(self.stage, message.staged_copy), "rb") as f:
                    self.staged_copies.append(f.read())
            return self._job(message.task)
        reply = _envelope("task_result", task_id=message.task.task_id, verdict="nothing to say",
                          state=control_pb2.FOUND if self.findings else control_pb2.SUCCEEDED)
        for severity, where, text in self.findings:
            reply.task_result.findings.add(severity=severity, where=where, text=text)
        return reply

    def _job(self, task):
        became = self.job(task)
        if became is None:
            return None
        state, words = became
        reply = _envelope("task_result", task_id=task.task_id, state=state)
        if state == control_pb2.SUCCEEDED:
            reply.task_result.verdict = words
        else:
            reply.task_result.why.code, reply.task_result.why.what = control_pb2.UNAVAILABLE, words
        return reply

    def job_calls(self, verb):
        """All that came along with jobs of this kind."""
        return [m for name, m in self.calls if name == "task" and m.task.WhichOneof("verb") == verb]

    def jobs(self, verb):
        """What was asked of this kind so far."""
        return [getattr(m.task, verb) for m in self.job_calls(verb)]

    def _is(self, happenings=()):
        reply = _envelope("engine_is", generation=self.generation, revision=self.revision, config_digest=self.digest,
                          life=self.life)
        for number, severity, what, text in happenings:
            reply.engine_is.happenings.add(number=number, severity=severity, what=what, text=text, age_ms=0)
        for name, state, text in self.facts:
            reply.engine_is.facts.add(name=name, state=state, text=text, age_ms=0)
        return reply

    def _refusal(self, verb):
        words, once = self._refuse.get(verb, (None, False))
        if once:
            del self._refuse[verb]
        return words and _failure(control_pb2.REFUSED, words)


class _Peer:
    def __init__(self, sock):
        self.socket, self._in, self._next, self.greeted = sock, b"", 1, False

    def say(self, envelope):
        envelope.id = self._next
        self._next += 1
        octets = packed(envelope)
        self.socket.sendall(struct.pack("<I", len(octets)) + octets)

    def read(self):
        """Whole envelopes that have arrived; None at the end."""
        more = self.socket.recv(1 << 20)
        if not more:
            return None
        self._in += more
        out = []
        while len(self._in) >= 4:
            size = struct.unpack("<I", self._in[:4])[0]
            if len(self._in) < 4 + size:
                break
            out.append(Envelope.FromString(self._in[4:4 + size]))
            self._in = self._in[4 + size:]
        return out


def _envelope(name, **fields):
    envelope = Envelope(version=VERSION)
    getattr(envelope, name).SetInParent()
    for key, value in fields.items():
        setattr(getattr(envelope, name), key, value)
    return envelope


def _failure(code, words):
    return _envelope("failure", code=code, what=words)

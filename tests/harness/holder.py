"""An agent of a node that holds a directory, played by a test: it takes what it is sent, and answers Directory."""
import threading
import time
import uuid

from .wire import CurvePeer, body, fill
import control_pb2

USER, GROUP = control_pb2.USER, control_pb2.GROUP


class Refusal(Exception):
    """What the directory says no with."""

    def __init__(self, code, what, hint=""):
        super().__init__(what)
        self.failure = {"code": code, "what": what, "hint": hint}


class People:
    """A directory in memory, as the agent's answers show it."""

    def __init__(self):
        self.users, self.groups, self.passwords = {}, {}, {}

    def write(self, write):
        table = self.users if write.kind == USER else self.groups
        word = "user" if write.kind == USER else "group"
        there = write.name in table
        if write.verb == control_pb2.ADD and there:
            if write.lenient:
                return
            raise Refusal(control_pb2.EXISTS, f"{word} {write.name} exists")
        if write.verb != control_pb2.ADD and not there:
            if write.lenient:
                return
            raise Refusal(control_pb2.NOT_FOUND, f"{word} {write.name} does not exist")
        if write.verb == control_pb2.REMOVE:
            del table[write.name]
            return
        entry = table.setdefault(write.name, {"full_name": "", "enabled": True} if write.kind == USER else {"members": []})
        for edit in write.fields:
            self.edit(entry, edit)
        if write.HasField("password"):
            self.passwords[write.name] = write.password

    def edit(self, entry, edit):
        if edit.field == "full-name":
            entry["full_name"] = edit.value
        elif edit.field == "locked":
            entry["enabled"] = edit.value != "yes"
        else:
            items = [i for i in edit.value.split(",") if i]
            old = [] if edit.op in (control_pb2.SET, control_pb2.CLEAR) else entry["members"]
            entry["members"] = [m for m in old if m not in items] + ([] if edit.op == control_pb2.TAKE else items)

    def accounts(self, read):
        """In the order of names."""
        table = self.groups if read.kind == GROUP else self.users
        names = sorted(n for n in table if n > read.after)
        if read.name:
            if read.name not in table:
                raise Refusal(control_pb2.NOT_FOUND, f"{'group' if read.kind == GROUP else 'user'} {read.name} does not exist")
            names = [read.name]
        for name in names[:read.limit or None]:
            entry = {"kind": read.kind, "name": name, "uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), **table[name]}
            if read.kind != GROUP:
                entry["groups"] = sorted(g for g, e in self.groups.items() if name in e["members"])
            yield entry


class Holder:
    """Joined as 'node', online until it is closed.  answer: what is called with each Directory instead of the People;
    refusal: what is said to each Prepare."""

    def __init__(self, cluster, node, part=3):
        self.people, self.seen, self.part, self.answer = People(), [], part, None
        self.tasks, self.findings = [], []   # what was started; what each task finds; None: nothing is said of it
        self.refusal = None   # of what is prepared
        box = cluster.new_node(node)
        box.join()
        self._cluster, self._node, self._boot = cluster, node, box.boot_id
        self._keys = box.identity["public_key"], box.identity["secret_key"]
        self._thread = None
        self.start()

    def start(self):
        self._stop, self.trouble = threading.Event(), None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        end = time.monotonic() + 15
        while not self._cluster.online(self._node):
            assert time.monotonic() < end and not self.trouble, self.trouble
            time.sleep(0.01)

    def stop(self):
        if self._thread:
            self._stop.set()
            self._thread.join()
            self._thread = None
        assert not self.trouble, self.trouble

    def _run(self):
        try:
            with self._cluster.peer(self._keys) as peer:
                assert peer.handshake()
                peer.send(body("hello", schema=1, release="1.0.0", revision=0, boot_id=self._boot))
                while not self._stop.is_set():
                    said = peer.receive(0.05)
                    if said is not None:
                        self._take(peer, said)
        except Exception as trouble:  # told where the test waits
            self.trouble = trouble

    def _take(self, peer, said):
        what = said.WhichOneof("body")
        if what == "ping":
            self.say(peer, said, body("pong", boot_id=self._boot))
        elif what == "prepare":
            self.say(peer, said, body("failure", **self.refusal.failure) if self.refusal else body("prepared"))
        elif what == "delta" and said.last:
            delta = said.delta
            peer.send(body("applied", revision=delta.to_revision, chain=delta.to_chain, digest=delta.to_digest,
                           config_revision=delta.to_revision))
        elif what == "task_start":
            self.tasks.append(said.task_start)
            self.result(peer, said.task_start.task_id)
        elif what == "directory":
            self.seen.append(said.directory)
            (self.answer or self.serve)(peer, said)

    def say(self, peer, asked, envelope, seq=0, last=True):
        envelope.in_reply_to, envelope.seq = asked.id, seq
        if last:
            envelope.last = True
        peer.send(envelope)

    def result(self, peer, task):
        if self.findings is not None:
            peer.send(body("task_result", task_id=task, state=control_pb2.FOUND if self.findings else control_pb2.SUCCEEDED,
                           verdict=f"{len(self.findings)} found", findings=self.findings))

    def serve(self, peer, asked):
        wish = asked.directory
        try:
            if wish.HasField("write"):
                self.people.write(wish.write)
                self.say(peer, asked, body("done"))
                return
            found = list(self.people.accounts(wish.read))
        except Refusal as refusal:
            self.say(peer, asked, body("failure", **refusal.failure))
            return
        parts = [found[i:i + self.part] for i in range(0, len(found), self.part)] or [[]]
        for seq, part in enumerate(parts):
            envelope = body("accounts")
            for entry in part:
                account = envelope.accounts.accounts.add()
                for key, value in entry.items():
                    fill(account, key, value)
            self.say(peer, asked, envelope, seq, seq + 1 == len(parts))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


__all__ = ["Holder", "People", "Refusal", "CurvePeer"]

"""A whole cluster as one object."""
import fcntl
import json
import os
import shutil
import sys
import tempfile

from . import paths, program
from .ctl import Ctl, run
from .net import Addresses
from .node import Node
from .program import Program
from .wait import DEADLINE_S, wait_until
from .wire import Closed, CurvePeer, LocalLink, body
import control_pb2

REPORT_MS = int(1000 * DEADLINE_S / 3.75)   # silent for three of these is offline: not while a slow build or fourteen daemons work
TAIL_LINES = 40

failed = []  # tails of clusters that a failing test has already closed; the report takes them
live = []


class Cluster:
    """nodes: how many, named mx1, mx2 ...; joined and started with their engines.  start=False: only the folders.
    node: the class of nodes; MailNode has the real mail-engine with its daemons."""

    def __init__(self, nodes=0, start=True, node=Node):
        self.node_class = node
        self.folder = tempfile.mkdtemp(prefix="mn-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.addresses = Addresses()
        self.root = os.path.join(self.folder, "c")
        os.mkdir(self.root)
        os.chmod(self.root, 0o755)
        self.log = os.path.join(self.folder, "controller.log")
        self.ctl = Ctl(self.root, self.folder)
        self.controller = None
        self.nodes = {}
        self._others, self._asking = [], None
        live.append(self)
        try:
            if start:
                self.init()
                self.start()
                for i in range(nodes):
                    self.add_node(f"mx{i + 1}")
        except BaseException:
            self.close(failing=True)
            raise

    # ---- the controller

    @property
    def address(self):
        return self.addresses[0]

    @property
    def endpoint(self):
        return f"tcp://{self.address}:6464"

    @property
    def enrol_endpoint(self):
        return f"tcp://{self.address}:6465"

    def init(self):
        done = run([paths.CONTROLLER, "--init", "--listen", f"{self.address}:6464", "--root", self.root])
        assert done.code == 0, done

    def start(self, crash=None, wait=True, env=None, more=()):
        self.controller = Program("controller", [paths.CONTROLLER, "--root", self.root, "--report-ms", REPORT_MS, *more],
                                  self.log, {"MAILNODE_CRASH": crash, **(env or {})})
        if wait:
            self.wait_answers()

    def wait_answers(self):
        """The socket exists and somebody behind it speaks."""
        def answers():
            if not self.controller.running():
                raise AssertionError(f"the controller ended: {self.controller.output()}")
            try:
                self.link().close()
                return True
            except (OSError, AssertionError):
                return False
        wait_until(answers, "the controller answers", every=0.005)

    def stop(self):
        self.controller.stop()

    def kill(self):
        self.controller.kill()

    def restart(self, **more):
        self.stop()
        self.start(**more)

    @property
    def socket(self):
        return os.path.join(self.root, "run/mailnode/controller/mailctl.sock")

    @property
    def store(self):
        return os.path.join(self.root, "var/lib/mailnode/controller/store.db")

    @property
    def identity(self):
        with open(os.path.join(self.root, "etc/mailnode/controller/identity")) as f:
            return json.load(f)

    @property
    def key(self):
        return self.identity["public_key"]

    # ---- nodes

    def __getitem__(self, name):
        return self.nodes[name]

    def new_node(self, name):
        """Its folder and engine only."""
        self.nodes[name] = self.node_class(self, name)
        return self.nodes[name]

    def add_node(self, name):
        node = self.new_node(name)
        node.join()
        return node.start(wait=True)

    def status(self):
        """{node: its status} as mailctl shows it."""
        answer = self.ctl("status -o json", code=None)
        assert answer.code in (0, 1), answer
        return {n["name"]: n for n in answer.json.get("nodes", [])}

    def told(self):
        """The same as the raw message, for what is asked a hundred times: no program is started."""
        for again in (True, False):   # the controller may be another one than last time
            try:
                self._asking = self._asking or self.link()
                return self._asking.call(body("get_status"))[-1].status
            except (OSError, Closed):
                if self._asking:
                    self._asking.close()
                self._asking = None
                if not again:
                    raise

    @property
    def revision(self):
        return self.told().revision

    def online(self, name):
        """Also False while there is no controller to ask."""
        try:
            return any(n.name == name and n.state == control_pb2.ONLINE for n in self.told().nodes)
        except (OSError, Closed):
            return False

    # ---- shorthands

    def site(self, node="mx1", domains=("example.org",), instance="main", user_domain="staff"):
        """user domain staff, instance main on mx1, its domains; waits until all is in force."""
        self.ctl(f"user-domain add {user_domain} kind=internal node={node}")
        self.ctl(f"instance add {instance} node={node} hostname={node}.example.org user-domain={user_domain} "
                 f"mail-domain={domains[0]}")
        for domain in domains[1:]:
            self.ctl(f"domain add {domain} -i {instance}")
        return self

    def mail_site(self, node="mx1", domain="example.org", instance="main", users=("alice", "bob")):
        """A MailNode that serves: user domain, instance on the node's address, domain, users; all daemons ready."""
        box = self[node]
        if not box.patterns_take():
            with open("/tmp/mailnode-tests.rspamd.lock", "w") as lock:   # one compiles, the others wait
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not box.patterns_take():
                    self._serve(box, domain, instance, users)
                    box.patterns_give()
                    return self
        self._serve(box, domain, instance, users)
        return self

    def _serve(self, box, domain, instance, users):
        node = box.name
        directory = f"people-{node}"
        self.ctl(f"user-domain add {directory} kind=internal node={node}")
        self.ctl(f"instance add {instance} node={node} hostname={node}.{domain} user-domain={directory} "
                 f"mail-domain={domain} listen={box.address} --timeout 90s", timeout=120)
        for user in users:
            box.add_user(user, user_domain=directory)
        for user in users:
            box.wait_user(user)
        box.wait_ready()

    def export(self, form="json"):
        """The state as objects, without 'version'."""
        answer = self.ctl(f"export -o {form}")
        return answer.json["items"] if form == "json" else answer.out

    def link(self, **more):
        """A raw connection to mailctl's socket."""
        return LocalLink(self.socket, **more)

    def peer(self, keys=None, door="node", **more):
        """A raw CURVE connection to the node port or the enrolment port."""
        return CurvePeer(self.endpoint if door == "node" else self.enrol_endpoint, self.key, keys, **more)

    def program(self, name, argv, env=None):
        """Something else that must be gone when the cluster is."""
        other = Program(name, argv, os.path.join(self.folder, name.replace(" ", "-") + ".log"), env)
        self._others.append(other)
        return other

    # ---- the end

    def tails(self):
        """The last lines of every log, for a failure."""
        out = []
        for name in sorted(os.listdir(self.folder)):
            if name.endswith(".log"):
                with open(os.path.join(self.folder, name), errors="replace") as f:
                    lines = f.readlines()[-TAIL_LINES:]
                out.append(f"---- {name}\n" + "".join(lines))
        return "".join(out)

    def close(self, failing=False):
        if self not in live:
            return
        live.remove(self)
        if self._asking:
            self._asking.close()
        if failing:
            failed.append(self.tails())
        troubles = []
        for end in [*(n.close for n in self.nodes.values()), *(o.stop for o in self._others),
                    *([self.controller.stop] if self.controller else [])]:
            try:
                end()
            except AssertionError as trouble:
                troubles.append(str(trouble))
        left = program.with_root_in_cmdline(self.folder)
        if left:
            troubles.append(f"still running on {self.folder}: {left}")
            program.end_all(left)
        self.addresses.close()
        if os.environ.get("MAILNODE_KEEP"):
            print(f"kept: {self.folder}", file=sys.__stderr__)
        else:
            shutil.rmtree(self.folder)
        if troubles and not failing:
            raise AssertionError("; ".join(troubles))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close(failing=kind is not None)

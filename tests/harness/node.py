"""One node of a cluster: its root, its agent, its stand-in engine, its tables."""
import json
import os
import uuid

from . import paths
from .ctl import run
from .engine import Engine
from .program import Program
from .tables import Tables
from .wait import wait_until

PEOPLE = {"users": ["alice", "bob", "carol"], "groups": {"sales": ["alice", "bob"]}}


class Node:
    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.root = os.path.join(cluster.folder, name)
        os.makedirs(self.root, mode=0o755, exist_ok=True)
        self.log = os.path.join(cluster.folder, name + ".log")
        self.accounts = os.path.join(cluster.folder, name + ".accounts.json")
        self.boot_id = str(uuid.uuid4())
        self.engine = Engine(self.root)
        self.tables = Tables(self.root, cluster.folder)
        self.agent = None
        self.accounts_write()

    def __repr__(self):
        return self.name

    # ---- life

    def join(self, token=None, code=0):
        token = token or self.cluster.ctl(f"node add {self.name}").out
        done = run([paths.AGENT, "join", "--root", self.root, "-"], stdin=token, env={"MAILNODE_BOOT_ID": self.boot_id})
        if code is not None and done.code != code:
            raise AssertionError(f"wanted exit {code}:\n{done!r}")
        return done

    def start(self, crash=None, wait=False, engine=True, env=None, accounts=True):
        """accounts=False: from the directory, as on a real node."""
        if engine and not self.engine._thread:
            self.engine.start()
        people = ["--accounts", self.accounts] if accounts else []
        self.agent = Program(f"agent of {self.name}", [paths.AGENT, "--root", self.root, *people], self.log,
                             {"MAILNODE_BOOT_ID": self.boot_id, "MAILNODE_CRASH": crash, **(env or {})})
        if wait:
            self.wait_online()
        return self

    def stop(self):
        if self.agent:
            self.agent.stop()

    def kill(self):
        if self.agent:
            self.agent.kill()

    def close(self):
        try:
            self.stop()
        finally:
            self.engine.stop()

    def wait_online(self, timeout=None):
        wait_until(lambda: (not self.agent or self.agent.said("controller answers")) and self.cluster.online(self.name),
                   lambda: f"{self} online: {self.status()}", timeout)
        return self

    # ---- what it has

    def status(self):
        return self.cluster.status().get(self.name, {})

    @property
    def node_db(self):
        return os.path.join(self.root, "var/lib/mailnode/agent/node.db")

    @property
    def identity(self):
        with open(os.path.join(self.root, "etc/mailnode/node/identity")) as f:
            return json.load(f)

    # ---- its people

    def accounts_write(self, users=None, groups=None):
        """users: names, or dicts; groups: name -> members ('g:NAME' nests a group).  UUIDs follow from the names."""
        users = PEOPLE["users"] if users is None else users
        groups = PEOPLE["groups"] if groups is None else groups
        out = {"users": [], "groups": []}
        for user in users:
            entry = {"name": user} if isinstance(user, str) else dict(user)
            entry.setdefault("uuid", account_uuid("user", entry["name"]))
            entry.setdefault("enabled", True)
            out["users"].append(entry)
        for name, members in groups.items():
            out["groups"].append({"uuid": account_uuid("group", name), "name": name,
                                  "users": [m for m in members if not m.startswith("g:")],
                                  "groups": [m[2:] for m in members if m.startswith("g:")]})
        temporary = self.accounts + ".new"
        with open(temporary, "w") as f:
            json.dump(out, f)
        os.chmod(temporary, 0o644)
        os.rename(temporary, self.accounts)


def account_uuid(what, name):
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{what}.{name}"))

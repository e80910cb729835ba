"""A repository as a backup leaves it, made by hand: what a test wants to be in it is in it, hostile or not."""
import itertools
import json
import os
import shutil
import subprocess

from .wire import LocalLink, body

import control_pb2
import desired_pb2

PASSWORD = "of the vault"


def escaped(name):
    """As the lists in a snapshot have names."""
    return "".join(chr(c) if 0x20 <= c <= 0x7e and c != 0x5c else f"\\x{c:02x}" for c in os.fsencode(name))


def _messages(folder):
    found = []
    for part, letter in (("cur", "C"), ("new", "N")):
        place = os.path.join(folder, part)
        for name in os.listdir(place) if os.path.isdir(place) else []:
            found.append((name.split(":")[0].encode(), letter == "N", os.fsencode(name), letter,
                          os.lstat(os.path.join(place, name)).st_size, name))
    return sorted(found)


def mailbox_list(folders):
    """The list of one mailbox; folders: {name on the disk: path}."""
    out, messages, octets = ["mailnode-mailbox 1"], 0, 0
    for name in sorted(folders, key=os.fsencode):
        found = _messages(folders[name])
        size = sum(m[4] for m in found)
        out.append(f"F\t{escaped(name)}\t{len(found)}\t{size}")
        out += [f"{m[3]}\t{m[4]}\t{escaped(m[5])}" for m in found]
        messages, octets = messages + len(found), octets + size
    out.append(f"E\t{len(folders)}\t{messages}\t{octets}")
    return "\n".join(out) + "\n"


def fetching(node):
    """The pid of a restic that restores into this node; None: there is none."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                words = f.read().split("\0")
        except OSError:
            continue
        if words[:2] == ["restic", "restore"] and any(node.path("var/lib/mailnode/work/restore") in w for w in words):
            return int(pid)
    return None


_ids = itertools.count(1)


class Vault:
    """The repository of an instance on its own node: local:…/backup/NAME."""

    def __init__(self, node, name="vault", instance="main"):
        self.node, self.name = node, name
        self.top = node.path("var/lib/mailnode/backup", name)
        self.folder = os.path.join(self.top, instance)
        self.tree = os.path.join(node.cluster.folder, f"tree-{name}")
        self.env = {"PATH": os.environ["PATH"], "RESTIC_PASSWORD": PASSWORD, "RESTIC_REPOSITORY": self.folder,
                    "RESTIC_CACHE_DIR": os.path.join(node.cluster.folder, "restic-cache"), "HOME": "/nonexistent"}
        self.address = "local:" + self.top

    def restic(self, *argv):
        done = subprocess.run(["restic", *argv], env=self.env, cwd=self.tree, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        shutil.chown(self.top, "mailbackup", "mailbackup")
        subprocess.run(["chown", "-R", "mailbackup:", self.top], check=True)
        return done.stdout

    def restore(self, mailbox, folder, snapshot="latest", destination=None, reserve=None, **more):
        """A task's result, asked of mail-engine as the agent asks it."""
        wish = control_pb2.RestoreFolder(mailbox=mailbox, folder=folder, snapshot=snapshot,
                                         destination=self.name if destination is None else destination, **more)
        settings = desired_pb2.Settings() if reserve is None else desired_pb2.Settings(restore_reserve=reserve)
        objects = [desired_pb2.Object(name="main", instance=desired_pb2.Instance(node=self.node.name)),
                   desired_pb2.Object(instance_name="main", settings=settings),
                   desired_pb2.Object(name=self.name, destination=desired_pb2.Destination(repository=self.address, password=7))]
        link = LocalLink(self.node.engine_socket)
        try:
            said = link.call(body("engine_task", task=control_pb2.TaskStart(task_id=f"{next(_ids):026d}", restore_folder=wish),
                                  objects=[o.SerializeToString(deterministic=True) for o in objects],
                                  secrets=[control_pb2.SecretValue(id=7, value=PASSWORD.encode())]), timeout=90)[-1]
        finally:
            link.close()
        assert said.WhichOneof("body") == "task_result", said
        return said.task_result

    def user_folder(self, user, name=""):
        return os.path.join(self.tree, "mail", user, "Maildir", name)

    def snapshot(self, change=None):
        """All mail of the node as it is now; change(self): what is done to the tree after its lists are written."""
        shutil.rmtree(self.tree, ignore_errors=True)
        for place in ("mail", "public"):   # without what Dovecot makes and takes away while we look
            shutil.copytree(self.node.path("var/lib/mailnode", place), os.path.join(self.tree, place), ignore=lambda _, names: [
                n for n in names if n.endswith(".lock") or n.startswith("dovecot") and n not in ("dovecot-keywords", "dovecot-acl", "dovecot-uidlist")])
        self._lists()
        if change:
            change(self)
        if not os.path.isdir(self.folder):
            os.makedirs(self.folder)
            self.restic("init", "-q")
        self.restic("backup", "-q", "--host", "main", "mail", "public", "state")
        snapshots = json.loads(self.restic("snapshots", "--json"))
        return max(snapshots, key=lambda s: s["time"])["id"]

    def _entries(self, kind, name, folders):
        """Lines of the manifest: one for a user, one for each public mailbox."""
        figures = {n: [(1, len(m), sum(x[4] for x in m)) for m in [_messages(path)]][0] for n, path in folders.items()}
        if kind == "public":
            return [(kind, n, *f) for n, f in figures.items()]
        return [(kind, name, *(sum(f[i] for f in figures.values()) for i in range(3)))]

    def _manifest(self):
        entries = sorted(self.entries, key=lambda e: (e[0] == "public", os.fsencode(e[1])))
        lines = ["mailnode-manifest 1", *("\t".join((e[0], escaped(e[1]), *(str(n) for n in e[2:]))) for e in entries),
                 f"E\t{len(entries)}\t{sum(e[3] for e in entries)}\t{sum(e[4] for e in entries)}"]
        with open(os.path.join(self.tree, "state/manifest"), "w") as f:
            f.write("\n".join(lines) + "\n")

    def _lists(self):
        self.entries = []
        users = os.path.join(self.tree, "mail")
        for user in os.listdir(users):
            maildir = self.user_folder(user)
            found = {n: os.path.join(maildir, n) for n in os.listdir(maildir)
                     if n.startswith(".") and os.path.isdir(os.path.join(maildir, n))}
            self._list_put("user", user, {"": maildir, **found})
        public, tops = os.path.join(self.tree, "public"), {}
        for name in os.listdir(public):
            if name.startswith(".") and os.path.isdir(os.path.join(public, name)):
                tops.setdefault(name.split(".")[1], {})[name] = os.path.join(public, name)
        for top, folders in tops.items():
            self._list_put("public", top, folders)
        self._manifest()

    def _list_put(self, kind, name, folders):
        lines = self._entries(kind, name, folders)
        self.entries += lines
        path = os.path.join(self.tree, "state/mailboxes", kind, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(mailbox_list(folders))

"""A node with the real mail-engine: Postfix, Dovecot, Rspamd, clamd, Redis, Unbound and slapd on an address of its own."""
import json
import os
import pwd
import re
import shlex
import stat

from . import paths
from .ctl import run
from .mail import Imap, Smtp, deliver, submit
from .node import Node
from .program import Program, end_all, may_read, session_pids
from .wait import wait_until

DAEMONS = ("unbound", "redis", "clamd", "slapd", "rspamd", "dovecot", "postfix")
# Compiling patterns for Hyperscan takes both cores for seconds, and no test is about it.  What Rspamd compiles all the same
# (its list of top-level domains, 12 s) is done by the first node of a machine; later ones get links to its files.
QUICK_RSPAMD = "disable_hyperscan = true;\n"
COMPILED = "/tmp/mailnode-tests.rspamd"
COMPILED_MARK = os.path.join(COMPILED, "complete")


class MailNode(Node):
    def __init__(self, cluster, name):
        super().__init__(cluster, name)
        self.address = cluster.addresses[1 + len(cluster.nodes)]
        self.mail_engine = None
        self.passwords = {}
        self.engine_log = os.path.join(cluster.folder, name + ".engine.log")
        self.override("rspamd.d/options.inc", QUICK_RSPAMD)
        self.override("rspamd.d/rbl.conf", "enabled = false;\n")   # asks the world's name servers, and there is none

    # ---- Rspamd's compiled patterns

    def patterns_take(self):
        """Before its first start; True: they are there."""
        if not os.path.exists(COMPILED_MARK):
            return False
        user = pwd.getpwnam("_rspamd")
        folder = self.path("var/lib/mailnode/rspamd")
        os.makedirs(folder, mode=0o755, exist_ok=True)
        os.chown(folder, user.pw_uid, user.pw_gid)
        os.chmod(folder, 0o750)
        for name in os.listdir(COMPILED):
            if name != "complete" and not os.path.exists(os.path.join(folder, name)):
                os.link(os.path.join(COMPILED, name), os.path.join(folder, name))
        return True

    def patterns_give(self):
        """After its first start."""
        os.makedirs(COMPILED, mode=0o755, exist_ok=True)
        folder = self.path("var/lib/mailnode/rspamd")
        for name in os.listdir(folder):
            if ".hsmp" in name and not os.path.exists(os.path.join(COMPILED, name)):
                os.link(os.path.join(folder, name), os.path.join(COMPILED, name))
        open(COMPILED_MARK, "w").close()

    # ---- life

    def start(self, crash=None, wait=False, engine=True, env=None, agent=True):
        """crash: of the agent; engine_crash in env's place: see start_engine."""
        if engine and not (self.mail_engine and self.mail_engine.running()):
            self.start_engine()
        if agent:
            self.start_agent(env={"MAILNODE_CRASH": crash, **(env or {})})
        if wait:
            self.wait_online()
        return self

    def start_agent(self, more=(), env=None):
        self.agent = Program(f"agent of {self.name}", [paths.AGENT, "--root", self.root, *more], self.log,
                             {"MAILNODE_BOOT_ID": self.boot_id, **(env or {})})

    def start_engine(self, crash=None, wait=True, env=None):
        self.patterns_take()
        self.mail_engine = Program(f"mail-engine of {self.name}", [paths.ENGINE, "--root", self.root], self.engine_log,
                                   {"MAILNODE_BOOT_ID": self.boot_id, "MAILNODE_CRASH": crash, "MAILNODE_PROBE_MS": "3000",
                                    **(env or {})})
        if wait:
            wait_until(lambda: os.path.exists(self.engine_socket) or not self.mail_engine.running(), "mail-engine listens")
            assert self.mail_engine.running(), self.mail_engine.output()
        return self

    def kill_engine(self):
        if self.mail_engine:
            self.mail_engine.kill()

    def stop_engine(self):
        if self.mail_engine:
            assert self.mail_engine.stop() == 0, self.mail_engine.output()

    def halt(self):
        """Ends the daemons, as the machine's end would."""
        return run([paths.ENGINE, "halt", "--root", self.root], env={"MAILNODE_BOOT_ID": self.boot_id}, timeout=60)

    def close(self):
        try:
            self.stop()
            self.kill_engine()
            if os.path.isdir(os.path.join(self.root, "var/lib/mailnode/engine")):
                done = self.halt()
                assert done.code == 0, done
        finally:
            end_all([p for sid in self.pids().values() for p in session_pids(sid)])

    # ---- its engine

    @property
    def engine_socket(self):
        return os.path.join(self.root, "run/mailnode/engine/engine.sock")

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def override(self, name, text):
        """A file of the node's root below etc/mailnode/override; text None removes it."""
        path = self.path("etc/mailnode/override", name)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        if text is None:
            os.unlink(path)
            return path
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o644)
        return path

    def generation(self):
        """The folder that is in force; None before the first."""
        try:
            return os.path.realpath(self.path("var/lib/mailnode/engine/current"), strict=True)
        except OSError:
            return None

    def rendered(self, name):
        with open(os.path.join(self.generation(), name)) as f:
            return f.read()

    def pid(self, daemon):
        """Of the daemon's main process, from its run-file; None when there is none alive."""
        try:
            with open(self.path("var/lib/mailnode/engine/run", daemon)) as f:
                found = re.search(r"^pid[ =](\d+)", f.read(), re.M)
        except OSError:
            return None
        pid = int(found.group(1)) if found else None
        return pid if pid and os.path.exists(f"/proc/{pid}") else None

    def pids(self):
        return {d: p for d in DAEMONS if (p := self.pid(d))}

    def daemon_log(self, daemon):
        try:
            with open(self.path("var/log/mailnode", daemon + ".log"), errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def facts(self):
        """{name: fact} as node show has them."""
        answer = self.cluster.ctl(f"node show {self.name} -o json", code=None)
        shown = json.loads(answer.out)
        items = shown.get("nodes") or shown.get("items") or [shown]
        return {f["name"]: f for f in items[0].get("facts", [])}

    def ready(self, *which):
        """Every daemon (or these) is reported as ready; one that died a moment ago is ready, and not good yet."""
        facts = self.facts()
        return all(facts.get(d, {}).get("text", "").startswith("ready") for d in which or DAEMONS)

    def wait_ready(self, *which, timeout=30):
        wait_until(lambda: self.ready(*which), lambda: f"{which or 'all daemons'} ready: {self.facts()}", timeout, every=0.05)
        return self

    # ---- people and mail

    def add_user(self, name, password=None, user_domain=None, **fields):
        password = password or f"pw of {name}"
        where = f"-u {user_domain}" if user_domain else ""
        more = " ".join(f"'{k.replace('_', '-')}={v}'" for k, v in fields.items())
        self.cluster.ctl(f"user add {shlex.quote(name)} password=- {where} {more}", stdin=password)
        self.passwords[name] = password
        return password

    def wait_user(self, name):
        """Known to the tables: mail for it is accepted, it may log in."""
        wait_until(lambda: self.tables.query("SELECT 1 FROM userdb WHERE name=?", name), f"{name} is in mail.db")
        return self

    def smtp(self, port=25, **more):
        return Smtp(self.address, port, **more)

    def rcpt(self, recipient, **more):
        with self.smtp() as smtp:
            return smtp.rcpt(recipient, **more)

    def deliver(self, sender, recipients, message=None, **more):
        return deliver(self.address, sender, recipients, message, **more)

    def submit(self, user, sender, recipients, message=None, port=587):
        return submit(self.address, user, self.passwords[user], sender, recipients, message, port)

    def imap(self, user, password=None):
        return Imap(self.address, user, password or self.passwords[user])

    def mailbox(self, user, *folders):
        """All messages of these folders (INBOX), read from the disk: also while Dovecot is away."""
        base = self.path("var/lib/mailnode/mail", user, "Maildir")
        out = []
        for folder in folders or ("INBOX",):
            place = base if folder == "INBOX" else os.path.join(base, "." + folder)
            for part in ("new", "cur"):
                try:
                    names = os.listdir(os.path.join(place, part))
                except FileNotFoundError:
                    continue
                for name in names:
                    try:
                        with open(os.path.join(place, part, name), "rb") as f:
                            out.append(f.read())
                    except FileNotFoundError:   # seen just now: new became cur
                        return self.mailbox(user, *folders)
        return out

    def queue(self):
        """Messages in Postfix's queue.  A file that is not executable was never finished, so never answered with 250."""
        base = self.path("var/lib/mailnode/spool/postfix")
        found = []
        for part in ("incoming", "active", "deferred", "maildrop", "hold", "corrupt"):
            for folder, _, names in os.walk(os.path.join(base, part)):
                for name in names:
                    try:
                        if os.stat(os.path.join(folder, name)).st_mode & stat.S_IXUSR:
                            found.append(f"{part}/{name}")
                    except FileNotFoundError:   # it went on in this moment
                        found.append(f"{part}/{name}")
        return found

    def queue_empty(self):
        return not self.queue()

    def flush(self):
        """Deferred mail is tried at once."""
        run(["/usr/sbin/postqueue", "-c", os.path.join(self.generation(), "postfix"), "-f"])

    def readable_by(self, user):
        """Rendered files that this user could open: (path, mode)."""
        found = []
        for folder, _, names in os.walk(self.path("var/lib/mailnode/engine")):
            for name in names:
                path = os.path.join(folder, name)
                if stat.S_ISREG(os.lstat(path).st_mode) and may_read(user, path):
                    found.append(path)
        return found


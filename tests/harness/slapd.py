"""A slapd started by hand from rendered files, for nodes whose mail-engine is the stand-in."""
import grp
import os
import pwd
import subprocess

import yaml

from . import paths
from .golden import NODE_ROOT
from .program import Program, environment
from .wait import wait_until

GOLDEN_UIDS = {"uidNumber=995,": "mailagent", "uidNumber=103,": "dovecot"}
GOLDEN_TLS = "/var/lib/mailnode/engine/tls/5e1f51907ed0"


class Slapd:
    """certificate: an instance is there, so LDAPS is served on 'listen'."""

    def __init__(self, node, user_domain="staff", listen=(), certificate=False):
        self.node, self.user_domain = node, user_domain
        self.suffix = f"dc={user_domain},dc=mailnode"
        self.people, self.groups = f"ou=People,{self.suffix}", f"ou=Groups,{self.suffix}"
        self.data = os.path.join(node.root, "var/lib/mailnode/slapd", user_domain)
        self.run = os.path.join(node.root, "run/mailnode/slapd")
        self.socket = os.path.join(self.run, "ldapi")
        self.url = "ldapi://" + self.socket.replace("/", "%2F")
        self.listen = list(listen)
        self.program = None
        self.render(certificate)

    # ---- what mail-engine would do

    def render(self, certificate):
        folder = os.path.join(self.node.root, "slapd-files")
        os.makedirs(folder, exist_ok=True)
        state = os.path.join(folder, "state.yaml")
        items = [{"kind": "node", "name": self.node.name},
                 {"kind": "user-domain", "name": self.user_domain, "user_domain_kind": "internal", "node": self.node.name,
                  "listen": self.listen}]
        if certificate:
            items.append({"kind": "instance", "name": "main", "node": self.node.name, "hostname": "mx.example.org",
                          "user_domain": self.user_domain})
        with open(state, "w") as f:
            yaml.safe_dump({"version": 1, "items": items}, f)
        subprocess.run([paths.BUILD / "tests/golden-render", state, folder], check=True, stdin=subprocess.DEVNULL)
        self.files = os.path.join(folder, "slapd")
        self.conf = os.path.join(self.files, "slapd.conf")
        for name in os.listdir(self.files):
            self._place(os.path.join(self.files, name))
        os.chmod(folder, 0o711)
        for path in (self.data, self.run):
            os.makedirs(path, exist_ok=True)
            os.chown(path, pwd.getpwnam("openldap").pw_uid, grp.getgrnam("openldap").gr_gid)
            os.chmod(path, 0o700 if path == self.data else 0o755)
        os.chmod(os.path.dirname(self.data), 0o755)
        if certificate:
            self._certificate()

    def _place(self, path):
        """Below our root, with this machine's uids and the modes of a generation."""
        with open(path) as f:
            text = f.read().replace(f"{NODE_ROOT}/", f"{self.node.root}/")
        for golden, user in GOLDEN_UIDS.items():
            text = text.replace(golden, f"uidNumber={pwd.getpwnam(user).pw_uid},")
        with open(path, "w") as f:
            f.write(text)
        os.chown(path, 0, grp.getgrnam("openldap").gr_gid)
        os.chmod(path, 0o640)

    def _certificate(self):
        folder = self.node.root + GOLDEN_TLS
        os.makedirs(folder)
        key, certificate = os.path.join(folder, "ldap-key.pem"), os.path.join(folder, "ldap-cert.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=mx.example.org", "-addext", f"subjectAltName=IP:{self.listen[0]}",
                        "-keyout", key, "-out", certificate], check=True, capture_output=True)
        for path in (key, certificate):
            os.chown(path, 0, grp.getgrnam("openldap").gr_gid)
            os.chmod(path, 0o640)
        self.certificate = certificate

    def check(self):
        return subprocess.run(["/usr/sbin/slaptest", "-u", "-Q", "-f", self.conf], capture_output=True, text=True)

    def load(self):
        subprocess.run(["/usr/sbin/slapadd", "-q", "-w", "-f", self.conf, "-b", self.suffix,
                        "-l", os.path.join(self.files, f"tree-{self.user_domain}.ldif")],
                       check=True, user="openldap", group="openldap", extra_groups=[], capture_output=True)
        return self

    def start(self):
        if not os.path.exists(os.path.join(self.data, "data.mdb")):
            self.load()
        urls = [self.url] + [f"ldaps://{a}:636" for a in self.listen]
        self.program = self.node.cluster.program(
            f"slapd of {self.node.name}",
            ["/usr/sbin/slapd", "-d", "none", "-s", "none", "-u", "openldap", "-g", "openldap", "-f", self.conf,
             "-h", " ".join(urls)], {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_ARENA_MAX": "2"})
        wait_until(lambda: self.tool("ldapwhoami").returncode == 0, lambda: self.program.output())
        return self

    def stop(self):
        self.program.stop()

    # ---- with the tools of ldap-utils

    def tool(self, name, *args, user="root", stdin=None, timeout=20):
        """Over ldapi, as this user of the machine."""
        return subprocess.run([name, "-Y", "EXTERNAL", "-Q", "-H", self.url, *args], input=stdin, capture_output=True,
                              text=True, timeout=timeout, env=environment({"LDAPNOINIT": "1"}), user=user, group=pwd.getpwnam(user).pw_gid,
                              extra_groups=[])

    def search(self, *args, user="root", base=None):
        return self.tool("ldapsearch", "-LLL", "-o", "ldif-wrap=no", "-b", base or self.suffix, *args, user=user)

    def bind(self, name, password, url=None, **env):
        """The result code of a login with a password: 0 in, 49 not."""
        done = subprocess.run(["ldapwhoami", "-x", "-H", url or self.url, "-D", f"uid={name},{self.people}", "-w", password],
                              capture_output=True, text=True, timeout=20, env=environment(env or {"LDAPNOINIT": "1"}))
        return done.returncode

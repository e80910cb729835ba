"""Postfix and Dovecot as an admin would set them up by hand: what benches hold the product against.

One address, one domain; users of a passwd-like list; Postfix with hash maps, LMTP to Dovecot, Maildir.
"""
import os
import pwd
import shutil
import socket
import subprocess

from .program import end_all, environment, session_pids
from .wait import wait_until

PASSWORD = "of-all"   # that is all the driver takes
MAIN_CF = """compatibility_level = 3.6
queue_directory = {root}/spool
data_directory = {root}/data
inet_protocols = ipv4
myhostname = stock.example.test
mydestination =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
virtual_mailbox_domains = hash:{root}/domains
virtual_mailbox_maps = hash:{root}/mailboxes
virtual_alias_maps = hash:{root}/aliases
virtual_transport = lmtp:unix:{root}/run/lmtp
maillog_file = {root}/postfix.log
maillog_file_prefixes = {root}
"""
MASTER_CF = """{address}:25 inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
DOVECOT_CONF = """base_dir = {root}/run
state_dir = {root}/run
log_path = {root}/dovecot.log
listen = {address}
protocols = imap lmtp
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
auth_mechanisms = plain login
mail_location = maildir:~/Maildir
first_valid_uid = 1
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid=vmail gid=vmail home={root}/mail/%n
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
}}
{more}
"""
# What a system does that knows groups at login only: it asks the directory once for each.
POST_LOGIN = """service imap {{
  executable = imap imap-postlogin
}}
service imap-postlogin {{
  executable = script-login {root}/post-login
  user = vmail
  unix_listener imap-postlogin {{
  }}
}}
"""


class Stock:
    """pair: files of a certificate and its key; post_login: lines of a shell script that runs at each login."""

    def __init__(self, root, address, users, pair, post_login=None):
        self.root, self.address = root, address
        vmail = pwd.getpwnam("vmail")
        for name in ("spool", "data", "run", "mail", "etc"):
            os.makedirs(os.path.join(root, name))
        shutil.chown(os.path.join(root, "data"), "postfix")
        os.chown(os.path.join(root, "mail"), vmail.pw_uid, vmail.pw_gid)
        for name, lines in (("domains", ["example.org x"]), ("mailboxes", [f"{u}@example.org x" for u in users]),
                            ("aliases", [f"{u}@example.org {u}@example.org" for u in users])):
            self._write(name, "\n".join(lines) + "\n")
        with_it = {"root": root, "address": address, "password": PASSWORD, "certificate": pair[0], "key": pair[1]}
        more = POST_LOGIN.format(**with_it) if post_login else ""
        self._write("etc/main.cf", MAIN_CF.format(**with_it))
        self._write("etc/master.cf", MASTER_CF.format(**with_it))
        self._write("dovecot.conf", DOVECOT_CONF.format(more=more, **with_it))
        if post_login:
            os.chmod(self._write("post-login", "#!/bin/sh\n" + post_login + '\nexec "$@"\n'), 0o755)
        for name in ("domains", "mailboxes", "aliases"):
            subprocess.run(["/usr/sbin/postmap", "-c", self.root + "/etc", "hash:" + os.path.join(root, name)], check=True)
        if os.path.exists(os.path.join(root, "etc/main.cf")):   # the folders of its queue
            subprocess.run(["/usr/sbin/postfix", "-c", self.root + "/etc", "check"], check=True, capture_output=True)
        self._started = []

    def _write(self, name, text):
        path = os.path.join(self.root, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def start(self, postfix=True):
        lines = [["/usr/sbin/dovecot", "-F", "-c", self.root + "/dovecot.conf"]]
        if postfix:
            lines.append(["/usr/lib/postfix/sbin/master", "-d", "-c", self.root + "/etc"])
        for line in lines:
            self._started.append(subprocess.Popen(line, env=environment({"MAIL_CONFIG": self.root + "/etc"}), start_new_session=True,
                                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_until(lambda: os.path.exists(self.root + "/run/lmtp") and not (postfix and self._refused()), self.log)
        return self

    def _refused(self):
        try:
            socket.create_connection((self.address, 25), 5).close()
            return False
        except ConnectionRefusedError:
            return True

    def log(self):
        texts = []
        for name in ("dovecot.log", "postfix.log"):
            if os.path.exists(os.path.join(self.root, name)):
                with open(os.path.join(self.root, name)) as f:
                    texts.append(f.read()[-2000:])
        return "\n".join(texts)

    def close(self):
        end_all([p for started in self._started for p in session_pids(started.pid)])
        for started in self._started:
            started.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

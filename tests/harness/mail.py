"""Mail as its users see it: raw SMTP dialogues, submission, IMAP, and the ledger that accounts for every message.

A ledger belongs to a node: ledger.send(...) gives each message an id of its own; ledger.settle() waits until each is where
it was said to be, and nowhere else.
"""
import imaplib
import itertools
import smtplib
import socket
import ssl
import uuid
from email.message import EmailMessage

from .wait import wait_until

# Taken apart, so that no scanner finds the test instead of what is tested.
EICAR = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE" + "!$H+H*"
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + "*C.34X"

TIMEOUT_S = 20


def tls_context():
    """Certificates of tests are self-signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Talk:
    """Lines over TCP, as a hostile or a careful client writes them: octets out, whole replies in."""

    def __init__(self, address, port, tls=False, source=None):
        self.socket = socket.create_connection((address, port), TIMEOUT_S, (source, 0) if source else None)
        if tls:
            self.start_tls()
        self._in = b""

    def start_tls(self):
        self.socket = tls_context().wrap_socket(self.socket)

    def line(self):
        """One line without its end; None at the end of the connection."""
        while b"\r\n" not in self._in:
            try:
                more = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLError):
                more = b""
            if not more:
                return None
            self._in += more
        line, self._in = self._in.split(b"\r\n", 1)
        return line.decode(errors="replace")

    def reply(self):
        """A whole SMTP reply: its text, lines joined by newlines; None when the server hung up."""
        lines = []
        while True:
            line = self.line()
            if line is None:
                return None
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    def write(self, octets):
        self.socket.sendall(octets if isinstance(octets, bytes) else octets.encode())

    def say(self, text):
        """A command; its reply."""
        try:
            self.write(text + "\r\n")
        except ConnectionError:
            return None
        return self.reply()

    def pending(self):
        """Octets that were read but belong to nothing asked for."""
        return self._in

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Smtp(Talk):
    """Talk that has read the banner and said EHLO."""

    def __init__(self, address, port=25, tls=False, source=None, helo="client.test"):
        super().__init__(address, port, tls, source)
        self.banner = self.reply()
        self.ehlo = self.say(f"EHLO {helo}")

    def starttls(self, helo="client.test"):
        answer = self.say("STARTTLS")
        assert answer and answer.startswith("220"), answer
        self.start_tls()
        self.ehlo = self.say(f"EHLO {helo}")
        return self

    def rcpt(self, recipient, sender="someone@remote.test"):
        """RCPT's answer in a transaction of its own."""
        self.say("RSET")
        answer = self.say(f"MAIL FROM:<{sender}>")
        return self.say(f"RCPT TO:<{recipient}>") if answer and answer.startswith("250") else answer

    def message(self, sender, recipients, octets):
        """Answers of MAIL, each RCPT, and of the end of DATA (None when it never came to that)."""
        answers = [self.say(f"MAIL FROM:<{sender}>")] + [self.say(f"RCPT TO:<{r}>") for r in recipients]
        if not (self.say("DATA") or "").startswith("354"):
            return answers, None
        self.write(octets)
        return answers, self.reply()


def text_message(sender, recipients, subject="test", body="Hello.\n", **headers):
    message = EmailMessage()
    message["From"] = sender or "nobody@remote.test"
    message["To"] = ", ".join(recipients)
    message["Subject"] = subject
    message["Message-ID"] = f"<{uuid.uuid4()}@test>"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(body)
    return message


def deliver(address, sender, recipients, message=None, source=None, port=25):
    """By port 25, as a server outside; smtplib's exceptions are its refusals."""
    message = message or text_message(sender, recipients)
    with smtplib.SMTP(address, port, "client.test", TIMEOUT_S, (source, 0) if source else None) as smtp:
        smtp.send_message(message, sender, recipients)
    return message


def submit(address, user, password, sender, recipients, message=None, port=587):
    """As a mail program: STARTTLS on 587 or TLS on 465, then AUTH."""
    message = message or text_message(sender, recipients)
    if port == 465:
        smtp = smtplib.SMTP_SSL(address, port, "client.test", timeout=TIMEOUT_S, context=tls_context())
    else:
        smtp = smtplib.SMTP(address, port, "client.test", TIMEOUT_S)
    with smtp:
        if port != 465:
            smtp.starttls(context=tls_context())
        smtp.login(user, password)
        smtp.send_message(message, sender, recipients)
    return message


class Imap:
    """One login, by TLS on 993."""

    def __init__(self, address, user, password):
        self.link = imaplib.IMAP4_SSL(address, 993, ssl_context=tls_context(), timeout=TIMEOUT_S)
        try:
            self.link.login(user, password)
        except BaseException:
            self.link.shutdown()
            raise

    def messages(self, folder="INBOX"):
        """Whole messages, as octets; none where the folder is not there."""
        if self.link.select(f'"{folder}"', readonly=True)[0] != "OK":
            return []
        _, found = self.link.search(None, "ALL")
        out = []
        for number in found[0].split():
            _, data = self.link.fetch(number, "(BODY.PEEK[])")
            out.append(data[0][1])
        return out

    def folders(self):
        _, lines = self.link.list()
        return [line.decode() for line in lines if line]

    def close(self):
        try:
            self.link.logout()
        except (OSError, imaplib.IMAP4.error):
            self.link.shutdown()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Ledger:
    """Every message that was sent: its id, the answer at the end of DATA, and where it must be in the end."""

    FOLDERS = ("INBOX", "Junk")

    def __init__(self, node):
        self.node = node
        self.entries = {}   # id -> (answer, {user: copies})
        self._count = itertools.count()

    def send(self, recipients, boxes=None, sender="someone@remote.test", body="Hello.\n", **headers):
        """By port 25.  boxes: {user: copies} that must come of it when it is accepted.  Gives the last answer, never raises
        for a refusal."""
        id = f"ledger-{next(self._count)}-{uuid.uuid4()}"
        message = text_message(sender, recipients, id, body, X_Ledger=id, **headers)
        try:
            with Smtp(self.node.address) as smtp:
                answers, last = smtp.message(sender, recipients, message.as_bytes().replace(b"\n", b"\r\n") + b"\r\n.\r\n")
                answer = last if last is not None else next((a for a in answers if not (a or "").startswith("250")), None)
        except (OSError, AssertionError) as trouble:
            answer = f"--- {trouble}"
        self.entries[id] = (answer or "--- hung up", boxes or {})
        return self.entries[id][0]

    @property
    def accepted(self):
        return [id for id, (answer, _) in list(self.entries.items()) if answer.startswith("250")]   # others send meanwhile

    def found(self):
        """{id: {user: copies}} of all mailboxes."""
        out = {}
        for user in {u for _, boxes in self.entries.values() for u in boxes} | set(self.node.passwords):
            for octets in self.node.mailbox(user, *self.FOLDERS):
                for line in octets.splitlines():
                    if line.lower().startswith(b"x-ledger:"):
                        id = line.split(b":", 1)[1].strip().decode()
                        if id in self.entries:   # others have ledgers of their own
                            out.setdefault(id, {}).setdefault(user, 0)
                            out[id][user] += 1
                        break
        return out

    def settle(self, timeout=30, again=0):
        """What was answered with 250 is where it must be, as often as it must be; nothing else is anywhere.
        again: a message may be there so often more: delivered, and the daemon was killed before it knew."""
        wanted = {id: boxes for id, (answer, boxes) in self.entries.items() if answer.startswith("250") and boxes}
        wait_until(lambda: wanted.keys() <= self.found().keys(), lambda: f"delivered: {self.differences(wanted)}", timeout,
                   every=0.1)
        wait_until(self.node.queue_empty, "the queue is empty", timeout, every=0.1)
        wrong = {id: d for id, d in self.differences(wanted).items() if not (again and self._cut(d, again))}
        assert not wrong, wrong

    @staticmethod
    def _cut(difference, again):
        """What a kill -9 explains: once more for each, or the answer was lost on its way."""
        wanted, found = difference["wanted"] or {}, difference["found"] or {}
        if not wanted:
            return difference["answer"].startswith("---")
        return all(n <= found.get(user, 0) <= n + again for user, n in wanted.items())

    def differences(self, wanted):
        found = self.found()
        return {id: {"wanted": wanted.get(id), "found": found.get(id), "answer": self.entries[id][0]}
                for id in wanted.keys() | found.keys() if wanted.get(id, {}) != found.get(id, {})}

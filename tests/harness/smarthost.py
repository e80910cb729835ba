"""The next hop of a relay rule: an SMTP server of the test that may be hostile, and writes down who said what to it.

    with Smarthost(address, 2587) as host:
        ...
        assert host.logins == [("user", "password", True)]      # True: under TLS

starttls: offered; auth: "always", "tls" (only under TLS) or None.  A server that takes STARTTLS away and asks for a login
in the clear is Smarthost(..., starttls=False).  pair: files of its certificate and key; without it, self-signed.
"""
import base64
import os
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading


class Smarthost:
    def __init__(self, address, port=2587, starttls=True, auth="always", wrapped=False, pair=None):
        self.address, self.port = address, port
        self.starttls, self.auth, self.wrapped = starttls, auth, wrapped
        self.logins = []     # (user, password, under TLS)
        self.messages = []   # (sender, recipients, logged in as)
        self.lines = []      # every command as it came
        self._context = _context(*pair) if pair else _self_signed()
        self._server = _Server((address, port), _Session)
        self._server.of, self.port = self, self._server.server_address[1]   # 0: one that is free
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def recipients(self):
        return [r for _, recipients, _ in list(self.messages) for r in recipients]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


_made = []


def _context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _self_signed():
    """One for all."""
    if not _made:
        folder = tempfile.mkdtemp(prefix="mn-smarthost-")
        files = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                        "2", "-subj", "/CN=smarthost.test", "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
        _made.append(_context(*files))
        for file in files:
            os.unlink(file)
        os.rmdir(folder)
    return _made[0]


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


class _Session(socketserver.BaseRequestHandler):
    def handle(self):
        self.of, self.tls, self.user = self.server.of, False, None
        self.request.settimeout(60)
        try:
            if self.of.wrapped:
                self._wrap()
            self._talk()
        except (OSError, ssl.SSLError):   # the node went, or does not trust us
            pass

    def _wrap(self):
        self.request = self.of._context.wrap_socket(self.request, server_side=True)
        self.tls = True

    def _say(self, text):
        self.request.sendall(text.encode() + b"\r\n")

    def _line(self):
        while b"\r\n" not in self._in:
            more = self.request.recv(65536)
            if not more:
                return None
            self._in += more
        line, self._in = self._in.split(b"\r\n", 1)
        return line.decode(errors="replace")

    def _ehlo(self):
        offers = ["smarthost.test", "8BITMIME"]
        if self.of.starttls and not self.tls:
            offers.append("STARTTLS")
        if self.of.auth == "always" or (self.of.auth == "tls" and self.tls):
            offers.append("AUTH PLAIN LOGIN")
        for i, offer in enumerate(offers):
            self._say(f"250{' ' if i + 1 == len(offers) else '-'}{offer}")

    def _login(self, words):
        if words[1].upper() != "PLAIN":
            return self._say("504 5.5.4 no")
        if len(words) < 3:
            self._say("334 ")
            words = words + [self._line() or ""]
        _, user, password = base64.b64decode(words[2]).decode().split("\0")
        self.of.logins.append((user, password, self.tls))
        self.user = user
        self._say("235 2.7.0 ok")

    def _data(self):
        while (line := self._line()) not in (".", None):
            pass
        return line is not None

    def _talk(self):
        self._in = b""
        self._say("220 smarthost.test ESMTP")
        sender, recipients = "", []
        while (line := self._line()) is not None:
            verb = line.upper()
            self.of.lines.append(line)
            if verb.startswith("EHLO"):
                self._ehlo()
            elif verb == "STARTTLS" and self.of.starttls:
                self._say("220 2.0.0 go on")
                self._wrap()
            elif verb.startswith("AUTH "):
                self._login(line.split())
            elif verb.startswith("MAIL FROM:"):
                sender, recipients = _path(line), []
                self._say("250 2.1.0 ok")
            elif verb.startswith("RCPT TO:"):
                recipients.append(_path(line))
                self._say("250 2.1.5 ok")
            elif verb == "DATA":
                self._say("354 go on")
                if self._data():
                    self.of.messages.append((sender, tuple(recipients), self.user))
                    self._say("250 2.0.0 kept")
            elif verb == "QUIT":
                self._say("221 2.0.0 bye")
                self.request.shutdown(socket.SHUT_WR)
                return
            else:
                self._say("250 2.0.0 ok" if verb in ("RSET", "NOOP") else "502 5.5.1 no")


def _path(text):
    return text[text.index("<") + 1:text.index(">")]

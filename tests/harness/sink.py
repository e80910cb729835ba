"""Where a node's outside mail ends: an SMTP server of the test that keeps what it gets.

    with Sink(address) as sink:
        ...
        assert [m.recipients for m in sink.messages] == [["x@far.test"]]

Recipients whose local part begins with 'refused' get 550, with 'later' 451.
"""
import socketserver
import threading
from dataclasses import dataclass

PORT = 2525


@dataclass(frozen=True)
class Kept:
    sender: str
    recipients: tuple
    octets: bytes


class Sink:
    def __init__(self, address, port=PORT):
        self.address, self.port = address, port
        self.messages = []   # Kept
        self.refused = []    # (sender, recipient)
        self._server = _Server((address, port), _Session)
        self._server.sink = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


class _Session(socketserver.StreamRequestHandler):
    timeout = 60

    def handle(self):
        try:
            self._talk()
        except OSError:   # the node went
            pass

    def _say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def _talk(self):
        self._say("220 sink.test ESMTP")
        sender, recipients = "", []
        while line := self.rfile.readline(4096):
            text = line.decode(errors="replace").strip()
            verb = text.upper()
            if verb.startswith("EHLO"):
                self._say("250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0")
            elif verb.startswith("MAIL FROM:"):
                sender, recipients = _path(text), []
                self._say("250 2.1.0 ok")
            elif verb.startswith("RCPT TO:"):
                self._say(self._rcpt(sender, _path(text), recipients))
            elif verb == "DATA" and recipients:
                self._say("354 go on")
                self.server.sink.messages.append(Kept(sender, tuple(recipients), self._data()))
                self._say("250 2.0.0 kept")
            elif verb == "QUIT":
                self._say("221 2.0.0 bye")
                return
            else:
                self._say("250 2.0.0 ok" if verb in ("RSET", "NOOP") or verb.startswith("HELO") else "503 5.5.1 no")

    def _rcpt(self, sender, recipient, recipients):
        for word, answer in (("refused", "550 5.1.1 refused by the sink"), ("later", "451 4.2.0 later, says the sink")):
            if recipient.startswith(word):
                self.server.sink.refused.append((sender, recipient))
                return answer
        recipients.append(recipient)
        return "250 2.1.5 ok"

    def _data(self):
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)


def _path(text):
    return text[text.index("<") + 1:text.index(">")]

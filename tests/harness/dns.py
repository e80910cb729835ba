"""A small name server of the test: A and MX records that it was given, and nothing else of the world.

    with Dns(address, {"one.test": [("MX", 10, "mx.one.test")], "mx.one.test": [("A", "127.0.16.1")]}) as dns:
        ...
        assert ("one.test", "MX") in dns.asked

in_front_of: the words that start a program which asks this server (its own /etc/resolv.conf, in a mount namespace: the
machine's stays as it is).
"""
import os
import socket
import socketserver
import struct
import threading

PORT = 53
TYPES = {1: "A", 15: "MX", 28: "AAAA", 16: "TXT", 2: "NS", 6: "SOA"}
SCRIPT = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


def _name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\0"


def _answer(records, query):
    """The reply to one question, uncompressed; (reply, name, type)."""
    number, labels, at = query[:2], [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    question = query[12:at + 5]
    type = TYPES.get(struct.unpack("!H", query[at + 1:at + 3])[0], "other")
    name, found = ".".join(labels), []
    for kind, *data in records.get(name, []):
        if kind == type == "A":
            found.append((1, socket.inet_aton(data[0])))
        elif kind == type == "MX":
            found.append((15, struct.pack("!H", data[0]) + _name(data[1])))
    head = number + struct.pack("!HHHHH", 0x8580 | (0 if name in records else 3), 1, len(found), 0, 0)
    rest = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", n, 1, 5, len(d)) + d for n, d in found)
    return head + question + rest, name, type


class Dns:
    def __init__(self, address, records, folder):
        self.records, self.asked = records, []
        self.file = os.path.join(folder, "resolv.conf")
        with open(self.file, "w") as f:
            f.write(f"nameserver {address}\n")
        os.chmod(self.file, 0o644)
        self.in_front_of = ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", SCRIPT, self.file]
        self._server = socketserver.UDPServer((address, PORT), _Handler)
        self._server.of = self
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


class _Handler(socketserver.BaseRequestHandler):
    def handle(self):
        query, to = self.request
        try:
            reply, name, type = _answer(self.server.of.records, query)
        except (IndexError, struct.error, UnicodeDecodeError):
            return
        self.server.of.asked.append((name, type))
        to.sendto(reply, self.client_address)

"""The product's messages, spoken by a test: as mailctl, as an agent, as an enemy.

local: u32 little endian length, then the envelope.  CURVE: one frame, the envelope.
"""
import select
import socket
import struct
import subprocess
import time

import zmq
from zmq.utils import monitor as zmq_monitor

from . import paths  # noqa: F401  (puts the generated classes on the path)

import control_pb2  # noqa: E402
import desired_pb2  # noqa: E402

VERSION = 1
SCHEMA = 1
Envelope = control_pb2.Envelope

# Printed in zmq_curve(7): known to everybody.
PUBLISHED = [("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"),
             ("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6")]


def body(name, **fields):
    """An envelope without an id: body("get_status", node="mx1")."""
    envelope = Envelope(version=VERSION)
    member = getattr(envelope, name)
    member.SetInParent()
    for key, value in fields.items():
        fill(member, key, value)
    return envelope


def fill(message, key, value):
    if isinstance(value, dict):
        inner = getattr(message, key)
        inner.SetInParent()
        for k, v in value.items():
            fill(inner, k, v)
    elif isinstance(value, (list, tuple)):
        for item in value:
            if isinstance(item, dict):
                inner = getattr(message, key).add()
                for k, v in item.items():
                    fill(inner, k, v)
            else:
                getattr(message, key).append(item)
    elif hasattr(value, "DESCRIPTOR"):
        getattr(message, key).CopyFrom(value)
    else:
        setattr(message, key, value)


def every_body():
    """Names of all members of Envelope's oneof."""
    return [f.name for f in Envelope.DESCRIPTOR.oneofs_by_name["body"].fields]


def packed(envelope):
    return envelope.SerializeToString(deterministic=True)


class Closed(Exception):
    """The other side ended the connection."""


def connected_as(uid, path):
    """A socket that another user connected: peer credentials are those of connect(2)."""
    here, there = socket.socketpair()
    code = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
            "socket.send_fds(socket.socket(fileno=0), [b'x'], [s.fileno()])")
    with here, there:
        subprocess.run(["/usr/bin/python3", "-ISc", code, path], stdin=there, user=uid, group=uid, extra_groups=[], check=True)
        return socket.socket(fileno=socket.recv_fds(here, 1, 1)[1][0])


class LocalLink:
    """A raw unix-socket peer; 'path' may be a socket that is connected."""

    def __init__(self, path, greet=True, uid=None):
        if isinstance(path, socket.socket):
            self.socket = path
        elif uid is None:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.connect(path)
        else:
            self.socket = connected_as(uid, path)
        self._next, self._in = 1, b""
        if greet:
            self.send(body("greeting", protocol=VERSION, release="test", program="test"))
            said = self.receive()
            assert said.WhichOneof("body") == "greeting", said

    def send(self, envelope):
        if not envelope.HasField("id"):
            envelope.id = self._next
            self._next += 1
        self.raw(frame(packed(envelope)))
        return envelope.id

    def raw(self, octets):
        try:
            self.socket.sendall(octets)
        except OSError as e:
            raise Closed(str(e)) from None

    def receive(self, timeout=10):
        """The next envelope; None when there is none in time; Closed at the end."""
        end = time.monotonic() + timeout
        while True:
            if len(self._in) >= 4:
                size = struct.unpack("<I", self._in[:4])[0]
                if len(self._in) >= 4 + size:
                    octets, self._in = self._in[4:4 + size], self._in[4 + size:]
                    return Envelope.FromString(octets)
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            try:
                more = self.socket.recv(65536)
            except OSError as e:
                raise Closed(str(e)) from None
            if not more:
                raise Closed("end of stream")
            self._in += more

    def call(self, envelope, timeout=10):
        """Sends, and gives all envelopes that answer it, to the last."""
        asked, answers = self.send(envelope), []
        while True:
            said = self.receive(timeout)
            if said is None:
                raise AssertionError(f"no (last) answer to {envelope.WhichOneof('body')}: {answers}")
            if said.in_reply_to == asked:
                answers.append(said)
                if said.last or said.WhichOneof("body") in ("failure", "done"):
                    return answers

    def closed(self, timeout=5):
        """Does the other side end the connection?"""
        end = time.monotonic() + timeout
        try:
            while time.monotonic() < end:
                self.receive(max(0.01, end - time.monotonic()))
        except Closed:
            return True
        return False

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def frame(octets):
    return struct.pack("<I", len(octets)) + octets


class CurvePeer:
    """A DEALER with any keys, or none."""

    def __init__(self, endpoint, server_key=None, keys=None, mechanism="curve"):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.immediate = 1
        self.socket.reconnect_ivl = 100
        if mechanism == "curve":
            self.public, self.secret = keys or fresh_keys()
            self.socket.curve_serverkey = server_key.encode()
            self.socket.curve_publickey = self.public.encode()
            self.socket.curve_secretkey = self.secret.encode()
        elif mechanism == "plain":
            self.socket.plain_username, self.socket.plain_password = b"mx1", b"x"
        self._monitor = self.socket.get_monitor_socket()
        self._seen = []
        self.socket.connect(endpoint)
        self._next = 1

    def handshake(self, timeout=5):
        """True: done; False: refused, or nothing came of it in time."""
        good, bad = zmq.EVENT_HANDSHAKE_SUCCEEDED, (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
                                                    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self._monitor.poll(50):
                event = zmq_monitor.recv_monitor_message(self._monitor)["event"]
                if event == good:
                    return True
                if event in bad:
                    return False
        return False

    def send(self, envelope):
        if not envelope.HasField("id"):
            envelope.id = self._next
            self._next += 1
        self.raw(packed(envelope))
        return envelope.id

    def raw(self, *frames):
        if not self.socket.poll(5000, zmq.POLLOUT):
            raise Closed("cannot send")
        self.socket.send_multipart(frames)

    def receive(self, timeout=5):
        if not self.socket.poll(int(timeout * 1000)):
            return None
        frames = self.socket.recv_multipart()
        return Envelope.FromString(frames[-1]) if frames[-1] else self.receive(timeout)

    def expect(self, name, timeout=5):
        """The next envelope with this body; others are passed over."""
        end = time.monotonic() + timeout
        seen = []
        while time.monotonic() < end:
            said = self.receive(max(0.01, end - time.monotonic()))
            if said is not None:
                seen.append(said.WhichOneof("body"))
                if seen[-1] == name:
                    return said
        raise AssertionError(f"no {name} within {timeout} s, only {seen}")

    def close(self):
        self.socket.disable_monitor()
        self._monitor.close(0)
        self.socket.close(0)
        self.context.term()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def fresh_keys():
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


class FakeController:
    """A ROUTER that a node takes for its controller, and that says whatever a test wants."""

    def __init__(self, address):
        self.public, self.secret = fresh_keys()
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.curve_server = True
        self.socket.curve_secretkey = self.secret.encode()
        self.endpoint = f"tcp://{address}:6464"
        self.socket.bind(self.endpoint)
        self.route, self._next = None, 1

    def receive(self, timeout=5):
        """The next envelope of the node; None when there is none in time.  The newest connection counts."""
        if not self.socket.poll(int(timeout * 1000)):
            return None
        route, *frames = self.socket.recv_multipart()
        if not frames[-1]:
            return self.receive(timeout)
        self.route = route
        return Envelope.FromString(frames[-1])

    def expect(self, name, timeout=10):
        end = time.monotonic() + timeout
        seen = []
        while time.monotonic() < end:
            said = self.receive(max(0.01, end - time.monotonic()))
            if said is not None:
                seen.append(said.WhichOneof("body"))
                if seen[-1] == name:
                    return said
        raise AssertionError(f"no {name} within {timeout} s, only {seen}")

    def send(self, envelope):
        if not envelope.HasField("id"):
            envelope.id = self._next
            self._next += 1
        self.raw(packed(envelope))
        return envelope.id

    def raw(self, *frames):
        self.socket.send_multipart([self.route, *frames])

    def identity(self, node):
        """What 'mail-agent join' would have written."""
        public, secret = fresh_keys()
        return {"secret_key": secret, "public_key": public, "node": node, "controller_key": self.public,
                "endpoints": [self.endpoint]}

    def close(self):
        self.socket.close(0)
        self.context.term()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

"""A TCP proxy between a node and its controller that cuts, delays, drops and spoils what passes.

    with Proxy((c.address, 6464), (c.addresses[1], 6464)) as wire:
        wire.reroute(node)           # from its next start on
        wire.cut()                   # connections end, new ones are refused
        wire.mend()
        wire.spoil = lambda octets, up: octets[:-1]
"""
import json
import os
import selectors
import socket
import threading
import time


class Proxy:
    def __init__(self, target, listen):
        self._target, self._listen = target, listen
        self.spoil = None            # (octets, up) -> octets; up: from the node
        self.delay_s = 0.0
        self.silent = False          # nothing passes, connections stay: a partition without a word
        self.passed = 0
        self._pairs = {}
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._listener = None
        self._open()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def endpoint(self):
        return "tcp://%s:%d" % self._listen

    def reroute(self, node):
        path = os.path.join(node.root, "etc/mailnode/node/identity")
        with open(path) as f:
            identity = json.load(f)
        identity["endpoints"] = [self.endpoint]
        with open(path, "w") as f:
            json.dump(identity, f)

    def cut(self):
        with self._lock:
            if self._listener:
                self._selector.unregister(self._listener)
                self._listener.close()
                self._listener = None
            for one in list(self._pairs):
                self._end(one)

    def mend(self):
        with self._lock:
            if not self._listener:
                self._open()
        self._wake.send(b"x")

    def _open(self):
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(self._listen)
        self._listener.listen(64)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def _end(self, one):
        other = self._pairs.pop(one, None)
        for end in (one, other):
            if end is not None and end.fileno() >= 0:
                try:
                    self._selector.unregister(end)
                except KeyError:
                    pass
                end.close()
        self._pairs.pop(other, None)

    def _serve(self):
        while True:
            events = self._selector.select()
            with self._lock:
                for key, _ in events:
                    if key.fileobj is self._woken:
                        if not self._woken.recv(64):
                            return
                    elif key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._pairs:
                        self._pass(key.fileobj)

    def _accept(self):
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(self._target, 5)
        except OSError:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass(self, one):
        other = self._pairs[one]
        try:
            octets = one.recv(65536)
            if not octets:
                self._end(one)
                return
            up = one.getsockname()[:2] == self._listen
            self.passed += len(octets)
            if self.silent:
                return
            if self.spoil:
                octets = self.spoil(octets, up)
            if self.delay_s:
                time.sleep(self.delay_s)
            other.sendall(octets)
        except OSError:
            self._end(one)

    def close(self):
        self.cut()
        self._wake.close()
        self._thread.join(5)
        self._woken.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

"""A loopback address of one's own: 127.0.16.0 and up in blocks of eight, taken under a lock that dies with its holder."""
import fcntl
import os

LOCKS = "/tmp/mailnode-tests.lock.d"
FIRST = (127 << 24) | (16 << 8)
BLOCKS = 2048
SIZE = 8


class Addresses:
    def __init__(self):
        os.makedirs(LOCKS, mode=0o1777, exist_ok=True)
        start = os.getpid() * 7 % BLOCKS  # not the one that was just given back: its last sockets may still be dying
        for i in range(BLOCKS):
            block = (start + i) % BLOCKS
            fd = os.open(f"{LOCKS}/{block}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                continue
            self._fd, self._first = fd, FIRST + block * SIZE
            return
        raise RuntimeError(f"all {BLOCKS} address blocks are in use: see {LOCKS}")

    def __getitem__(self, i):
        """The i-th address; 0 is the controller's."""
        assert 0 <= i < SIZE
        n = self._first + i
        return ".".join(str(n >> shift & 255) for shift in (24, 16, 8, 0))

    def close(self):
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

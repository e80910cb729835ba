"""A disk of a few megabytes, to be full for real."""
import os
import subprocess

import pytest


class SmallDisk:
    """A loop file system of a few megabytes below 'folder', whose image lies beside the cluster's programs."""

    def __init__(self, cluster, folder, megabytes=12):
        self.folder, self.image = folder, os.path.join(cluster.folder, f"disk-{os.path.basename(folder)}.img")
        os.makedirs(folder, exist_ok=True)
        with open(self.image, "wb") as f:
            f.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", self.image], check=True, capture_output=True)
        done = subprocess.run(["mount", "-o", "loop", self.image, folder], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no loop file systems here: {done.stderr.strip()}")

    @property
    def free_bytes(self):
        space = os.statvfs(self.folder)
        return space.f_bavail * space.f_frsize

    def fill(self, but=0):
        """To the last block, but for so many octets."""
        with open(os.path.join(self.folder, "ballast"), "wb", buffering=0) as f:
            for size in (1 << 16, 1 << 10):
                try:
                    while not but or self.free_bytes >= but + size:
                        f.write(bytes(size))
                except OSError:
                    pass
            os.fsync(f.fileno())

    def free(self):
        os.unlink(os.path.join(self.folder, "ballast"))

    def close(self):
        subprocess.run(["umount", "-l", self.folder], capture_output=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

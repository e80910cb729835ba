"""R41, R42: a disk is full under restic: where it saves to, and where it restores to."""
import os
import re
import shutil
import threading

import pytest

from harness import Cluster, MailNode, wait_until
from harness.backup import fetching
from harness.disk import SmallDisk

pytestmark = pytest.mark.xdist_group("backup-disk")
MEGABYTE = 1 << 20


class OwnDisk(MailNode):
    """Mail lies on a small disk of its own, and what is made of it, too, as docs/backup.md says."""

    def __init__(self, cluster, name):
        super().__init__(cluster, name)
        self.disk = SmallDisk(cluster, self.path("disk"), 128)
        os.makedirs(self.path("var/lib/mailnode"), mode=0o755, exist_ok=True)
        for part, user, mode in (("mail", "vmail", 0o750), ("public", "vmail", 0o750), ("work", "root", 0o711)):
            os.mkdir(self.path("disk", part))
            os.chmod(self.path("disk", part), mode)
            shutil.chown(self.path("disk", part), user, user)
            os.symlink(self.path("disk", part), self.path("var/lib/mailnode", part))


@pytest.fixture
def box():
    with Cluster(nodes=1, node=OwnDisk) as c:
        try:
            yield c.mail_site()["mx1"]
        finally:
            c["mx1"].disk.close()


def put(box, folder, n, size=MEGABYTE):
    """Messages that no compression shortens."""
    with box.imap("alice") as imap:
        imap.link.create(folder)
        for i in range(n):
            text = f"Subject: {i}\r\n\r\n".encode() + b"".join(os.urandom(35).hex().encode() + b"\r\n" for _ in range(size // 72))
            assert imap.link.append(folder, None, None, text)[0] == "OK"


def place(box, name, megabytes):
    """A disk of its own for a folder of mailbackup's."""
    disk = SmallDisk(box.cluster, box.path("var/lib/mailnode", name), megabytes)
    shutil.chown(disk.folder, "mailbackup", "mailbackup")
    return disk


def files(folder):
    return sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)


def half_made(box):
    """What a run that failed may not leave: a room of a restore, a lock, a file that is half written."""
    rooms = [n for n in os.listdir(box.path("var/lib/mailnode/work/restore")) if n != ".gate"]
    rooms += files(box.path("var/lib/mailnode/engine/restored"))
    saved = [f for f in files(box.path("var/lib/mailnode/backup")) if "/locks/" in f or "-tmp-" in f]
    return rooms + saved + [f for f in files(box.path("var/lib/mailnode/restic/tmp")) if not f.endswith("/ballast")]


def standing(box):
    return box.cluster.ctl("backup status -o json", code=(0, 1)).items[0]


def refused(box, line, words):
    """It ends with one line that says so, and a hint, and nothing is left of it."""
    said = box.cluster.ctl(line, code=11, timeout=120)
    lines = [text for text in said.err.splitlines() if not re.match(r"\d+/\d+ ", text)]
    assert len(lines) == 2 and words in lines[0] and lines[1].startswith("hint: "), said
    assert "\\x0a" not in said.out, said
    assert not half_made(box), half_made(box)
    return said


def run_fails(box, words):
    said = refused(box, "backup run nightly", words)
    last = standing(box)
    assert last["state"] == "degraded" and words in last["text"], last   # not good, and no alarm yet: one is young enough
    shown = box.cluster.ctl("backup status", code=1).out
    assert words in shown and "\\x0a" not in shown, shown
    return said


def run_is_good(box):
    said = box.cluster.ctl("backup run nightly", timeout=120)
    assert standing(box)["state"] == "good", standing(box)
    assert "no errors, 100% of the data read" in box.cluster.ctl("backup verify nightly", timeout=120).out
    return said.out


@pytest.mark.spec("R41", "R42", "F-160", "F-062")
def test_full_disks(box):
    ctl = box.cluster.ctl
    with place(box, "backup/vault", 32) as vault, place(box, "restic/tmp", 24) as own:
        ctl(f"destination add vault repository=local:{vault.folder} --init", timeout=120)
        ctl("plan add nightly destinations=vault schedule='daily 02:30' check-data=100")
        run_is_good(box)
        put(box, "Big", 12)

        vault.fill(4 * MEGABYTE)   # ends in the middle
        run_fails(box, f"vault: backup: no space left on the disk of {vault.folder}/main")
        vault.free()
        vault.fill()               # not even a lock can be written
        run_fails(box, f"vault: backup: no space left on the disk of {vault.folder}/main")
        vault.free()
        own.fill()                 # where packs are made before they are saved
        run_fails(box, f"vault: backup: no space left on the disk of {box.path('var/lib/mailnode/restic')}")
        own.free()
        assert "12 messages in 2 mailboxes" in run_is_good(box)

        shutil.rmtree(box.path("var/lib/mailnode/work/tree/state"))
        box.disk.fill()            # where the databases are staged and mail is linked
        said = ctl("backup run nightly", code=10, timeout=120)
        assert f"{box.path('var/lib/mailnode/work/tree')}/" in said.err and "No space left on device" in said.err, said
        assert standing(box)["state"] == "degraded" and not half_made(box)
        box.disk.free()
        run_is_good(box)

        back = "restore folder mailbox=user:alice folder=Big destination=vault snapshot=latest --yes"
        rooms = box.path("var/lib/mailnode/work/restore")
        ctl("settings set restore-reserve=0", timeout=60)
        box.disk.fill(4 * MEGABYTE)
        refused(box, back, "11.9 MiB are needed, and 4.0 MiB are free")
        refused(box, back + " --force", f"vault: restore: no space left on the disk of {rooms}/")
        box.disk.free()
        box.disk.fill()            # not even the room can be made
        said = ctl(back + " --force", code=10, timeout=120)
        assert f"{rooms}/" in said.err and "No space left on device" in said.err and not half_made(box), said
        box.disk.free()
        with box.imap("alice") as imap:
            assert imap.link.select('"Restored folder/Big"', readonly=True)[0] == "NO"

        ctl("settings set restore-reserve=20M", timeout=60)
        ctl("destination set vault download-limit=1M", timeout=60)
        filler = threading.Thread(target=lambda: (wait_until(lambda: fetching(box), "restic restores"), box.disk.fill(4 * MEGABYTE)))
        filler.start()             # somebody else's octets, while it works
        refused(box, back, f"stopped: the disk of {rooms} ran short, with less than 9 MiB free that are kept for mail")
        filler.join()
        box.disk.free()
        ctl("destination set vault download-limit=", timeout=60)
        assert "12 messages" in ctl(back, timeout=120).out
        with box.imap("alice") as imap:
            assert imap.link.select('"Restored folder/Big"', readonly=True)[1] == [b"12"]
        run_is_good(box)


@pytest.mark.spec("F-060")
def test_everything_comes_back_onto_a_disk_of_its_own(box):
    """Mail, public mailboxes and databases, though they lie on two disks; the links to the one stay."""
    ctl = box.cluster.ctl
    ctl(f"destination add vault repository=local:{box.path('var/lib/mailnode/backup/vault')} --init", timeout=120)
    ctl("plan add nightly destinations=vault schedule='daily 02:30' check-data=100")
    put(box, "Small", 3, 2000)
    run_is_good(box)
    line = "restore instance main destination=vault snapshot=latest"
    assert "is not stopped" in ctl(line, code=6, timeout=120).err
    ctl("instance stop main", timeout=120)
    assert "mail is there already" in ctl(line, code=6, timeout=120).err
    for user in os.listdir(box.path("disk/mail")):
        shutil.rmtree(box.path("disk/mail", user))
    for folder in os.listdir(box.path("disk/public")):
        shutil.rmtree(box.path("disk/public", folder))
    work, elsewhere = box.path("var/lib/mailnode/work"), box.path("elsewhere")
    os.makedirs(elsewhere)
    os.chmod(elsewhere, 0o711)
    os.rename(work, work + ".away")
    os.symlink(elsewhere, work)
    said = ctl(line, code=6, timeout=120)
    assert f"{box.path('var/lib/mailnode/mail')} and {work} are not folders of one disk" in said.err and "hint: " in said.err, said
    os.rename(work + ".away", work)
    said = ctl(line, timeout=120)
    assert "3 messages" in said.out and "what the filter had learned" in said.out, said
    assert os.path.islink(box.path("var/lib/mailnode/mail")) and os.path.isdir(box.path("disk/mail/alice/Maildir"))
    assert not half_made(box)
    ctl("instance start main", timeout=120)
    box.wait_ready()
    with box.imap("alice") as imap:
        assert imap.link.select("Small", readonly=True)[1] == [b"3"]

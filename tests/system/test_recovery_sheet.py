"""What opens a repository when the controller is gone (F-185)."""
import os
import shutil
import subprocess

import pytest

from harness.wire import body
import control_pb2

PASSWORD = "it's a \"pass\" $word `x` \\ é"


def secret(field, value):
    return control_pb2.FieldEdit(field=field, op=control_pb2.SET, secret=value.encode())


def destination(c, name, repository, *secrets, hosts=None):
    fields = [control_pb2.FieldEdit(field="repository", op=control_pb2.SET, value=repository), *secrets]
    if hosts:
        fields.append(control_pb2.FieldEdit(field="known-hosts", op=control_pb2.SET, value=hosts))
    edit = control_pb2.ObjectEdit(verb=control_pb2.ADD, ref=control_pb2.Ref(kind="destination", name=name), fields=fields)
    with c.link() as link:
        said = link.call(body("change", edits=[edit], manner=control_pb2.Manner(no_wait=True)))
    assert said[-1].WhichOneof("body") == "outcome", said


@pytest.mark.spec("F-185")
@pytest.mark.skipif(not shutil.which("restic"), reason="restic is not installed")
def test_the_sheet_alone_opens_the_repository(cluster, tmp_path):
    """Pasted into a shell, in an empty folder, with the controller gone: restic finds the snapshot of the instance."""
    c = cluster.site()
    repository, mail = str(tmp_path / "vault"), tmp_path / "mail"
    mail.mkdir()
    (mail / "message").write_text("hello")
    env = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(tmp_path / "cache")}
    for argv in (["init"], ["backup", "--host", "main", str(mail)]):
        subprocess.run(["restic", "-r", repository + "/main", *argv], env=env, check=True, capture_output=True, timeout=60)
    destination(c, "vault", f"local:{repository}", secret("password", PASSWORD))

    refused = c.ctl("destination recovery-sheet vault", code=2)
    assert "--yes" in refused.err and PASSWORD not in refused.out + refused.err
    sheet = c.ctl("destination recovery-sheet vault --yes")
    assert sheet.err == "" and "local:" + repository + "/main" in sheet.out
    assert "secrets shown" in c.ctl("events").out
    c.ctl("destination recovery-sheet valut --yes", code=4)
    c.ctl("admin add helpdesk role=operator uid=12345")
    denied = c.ctl("destination recovery-sheet vault --yes", code=6, uid=12345)
    assert denied.out == ""
    c.kill()

    folder = tmp_path / "empty"
    folder.mkdir()
    done = subprocess.run(["sh", "-e"], input=sheet.out, text=True, capture_output=True, cwd=folder, timeout=60,
                          env={"PATH": os.environ["PATH"], "HOME": str(folder)})
    assert done.returncode == 0 and "1 snapshots" in done.stdout and "main" in done.stdout, done
    assert (folder / "vault.password").stat().st_mode & 0o777 == 0o600


@pytest.mark.spec("F-185")
def test_logins_are_on_the_sheet(cluster, tmp_path):
    """ssh key and host keys, logins by environment: as a shell takes them; nothing of them in the state or in the log."""
    c = cluster.site()
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nZm9v\n-----END OPENSSH PRIVATE KEY-----\n"
    destination(c, "far", "sftp:backup@vault.example.org:/srv/mail", secret("password", "pw"), secret("ssh-key", key),
                hosts="vault.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0m0ZQd5m3xw1u3oYgkqPWqkz3ZfXq6zZ7l3ZQnXkA")
    destination(c, "cloud", "s3:https://s3.example.org/bucket", secret("password", "pw2"),
                secret("env", "AWS_ACCESS_KEY_ID=AKIA\nAWS_SECRET_ACCESS_KEY=it's $ecret"))
    far, cloud = (c.ctl(f"destination recovery-sheet {n} --yes").out for n in ("far", "cloud"))
    assert "-l backup" in far and "vault.example.org sftp" in far and "sftp:backup@vault.example.org:/srv/mail/main" in far

    def shell(text, then):
        quiet = text.replace("restic snapshots", "true")
        return subprocess.run(["sh", "-e"], input=quiet + then, text=True, capture_output=True, cwd=tmp_path, timeout=20,
                              check=True).stdout
    assert shell(far, "cat far.ssh_key; cat far.known_hosts; cat far.password").startswith(key + "vault.example.org ssh-ed25519 AAAA")
    assert shell(cloud, "echo $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY $RESTIC_REPOSITORY") == \
        "AKIA it's $ecret s3:https://s3.example.org/bucket/main\n"
    seen = c.tails() + c.ctl("export").out + c.ctl("history -o json").out + c.ctl("events -o json").out
    assert "BEGIN OPENSSH" not in seen and "$ecret" not in seen

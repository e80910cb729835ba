"""A newcomer's first minute: ./quickstart takes a machine to a received message, and away again (F-001, F-003)."""
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from harness import paths, wait_until

pytestmark = pytest.mark.xdist_group("quickstart")

FOLDER = "/tmp/mn-quickstart"
STEPS = ("a folder of its own", "controller", "node joins with a one-time token", "a directory for users",
         "a mail service for example.org", "users alice and bob", "alice sends to bob (587, STARTTLS, AUTH)",
         "a virus for bob (EICAR)", "spam for bob (GTUBE)", "a second instance on the same node")
ENVIRONMENT = {**os.environ, "MAILNODE_QUICKSTART": FOLDER, "MAILNODE_BUILD": str(paths.BUILD)}


def start(*arguments):
    return subprocess.Popen([paths.TREE / "quickstart", *arguments], env=ENVIRONMENT, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def quickstart(*arguments, code=0):
    with start(*arguments) as running:
        out, err = running.communicate(timeout=180)
    assert running.returncode == code, (running.returncode, out, err)
    return out, err


def processes():
    """Ours and the daemons: what has the folder in its command line."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if FOLDER.encode() in f.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


@pytest.fixture(autouse=True)
def nothing_stays():
    quickstart("--stop")
    yield
    quickstart("--stop")
    assert not os.path.exists(FOLDER)
    wait_until(lambda: not processes(), lambda: f"all ended: {processes()}")


@pytest.mark.spec("F-001")
def test_first_minute():
    out, _ = quickstart()
    for step in STEPS:
        assert re.search(rf"^{re.escape(step)} +\S.*  \(\d+\.\d\d s\)$", out, re.M), (step, out)
    assert "never arrived" in out and "refused: 554 5.7.1" in out and "has instance main already" in out
    assert re.search(r"^quick +online +in-force ", out, re.M), out
    assert "./quickstart --stop" in out
    before = set(processes())
    again, _ = quickstart()
    assert "it runs already" in again and re.search(r"^quick +online +in-force ", again, re.M), again
    assert before & set(processes()), "the second call left the first one's processes"
    _, refused = quickstart("--once", code=1)
    assert "left running" in refused
    assert "is gone" in quickstart("--stop")[0]
    assert "nothing to stop" in quickstart("--stop")[0]


@pytest.mark.spec("F-003", "R30")
def test_taken_port_stops_it_with_the_cause():
    """And it was killed before that: what the earlier run left is no hindrance."""
    with start() as running:
        wait_until(lambda: os.path.exists(f"{FOLDER}/agent.pid") or running.poll() is not None, "the agent is started", 60)
        assert running.poll() is None, running.communicate()
        os.kill(running.pid, signal.SIGKILL)
    with socket.create_server(("127.0.1.1", 25)):
        out, err = quickstart(code=1)
    assert re.search(r"^what an earlier run left +ended and removed ", out, re.M), out
    assert re.search(r"^a mail service for example.org +FAILED$", out, re.M), out
    assert re.search(rf"port 25 of 127\.0\.1\.1 is in use by \S+, pid {os.getpid()}$", err, re.M), err
    assert f"logs: {FOLDER}" in err


def test_what_is_not_its_own_is_left_alone():
    os.mkdir(FOLDER)
    try:
        with open(f"{FOLDER}/letter", "w"):
            pass
        assert f"{FOLDER} holds something else" in quickstart(code=1)[1]
        assert "nothing to stop" in quickstart("--stop")[0]
        assert os.listdir(FOLDER) == ["letter"]
    finally:
        shutil.rmtree(FOLDER)


@pytest.mark.parametrize("environment, argument, code, words", (
    ({}, "--nonsense", 2, "unknown argument --nonsense"),
    ({"MAILNODE_BUILD": "/nonexistent"}, None, 1, "no mail-controller in /nonexistent"),
    ({"MAILNODE_QUICKSTART": "here"}, None, 2, "must begin with /"),
))
def test_bad_words(environment, argument, code, words):
    done = subprocess.run([paths.TREE / "quickstart", *filter(None, [argument])], env={**ENVIRONMENT, **environment},
                          text=True, capture_output=True, timeout=60)
    assert done.returncode == code and words in done.stderr, done


def test_not_root_is_told():
    with open(paths.TREE / "quickstart") as script:   # the tree may be where nobody can go
        done = subprocess.run(["bash", "-s"], stdin=script, env=ENVIRONMENT, user="nobody", group="nogroup", extra_groups=[],
                              cwd="/", text=True, capture_output=True, timeout=60)
    assert done.returncode == 2 and "must be root" in done.stderr, done

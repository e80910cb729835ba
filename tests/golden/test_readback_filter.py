"""What is rendered for the filter reads back with the daemons' own tools."""
import json
import re
import socket
import subprocess
import time

import pytest

from test_readback import cases, rendered, said

# ---- Rspamd


def number(text):
    return float(text.removesuffix("s"))


def value_of(text):
    if text[0] in '"[' or text in ("true", "false", "null"):
        return json.loads(text)
    return number(text)


def ours(text):
    """Rspamd's grammar as render/ucl.c writes it: {key: value, "worker proxy": {...}}."""
    stack = [{}]
    for line in map(str.strip, text.splitlines()):
        if not line or line[0] in "#.":
            continue
        if line == "}":
            stack.pop()
        elif line.endswith("{"):
            inner = {}
            stack[-1][line[:-1].strip().replace('"', "")] = inner
            stack.append(inner)
        else:
            key, _, value = line.partition(" = ")
            stack[-1][key] = value_of(value.removesuffix(";"))
    assert len(stack) == 1
    return stack[0]


def holds(read, wanted):
    """All that is wanted, and perhaps Debian's beside it; what is null is not there."""
    if not isinstance(wanted, dict):
        return read == wanted
    return all(read.get(key) is None if value is None else key in read and holds(read[key], value) for key, value in wanted.items())


class Rspamd:
    def __init__(self, case, folder):
        self.case = case
        self.folder = rendered("rspamd", case, folder)
        self.variables = [f"--var={name}={value}" for name, value in
                          (("CONFDIR", "/etc/rspamd"), ("LOCAL_CONFDIR", self.folder), ("DBDIR", self.folder))]

    def tool(self, verb, *arguments):
        return said("rspamadm", *self.variables, verb, "-c", self.folder / "rspamd.conf", *arguments)

    def dump(self):
        out, err = self.tool("configdump", "-j")
        assert out.startswith("{"), out + err
        return json.loads(out)


SECTIONS = {"options.inc": "options", "logging.inc": "logging"}


@pytest.fixture(scope="module", params=cases("rspamd"))
def rspamd(request, tmp_path_factory):
    return Rspamd(request.param, tmp_path_factory.mktemp("rspamd"))


def test_rspamd_reads_back(rspamd):
    read = rspamd.dump()
    for path in sorted(rspamd.folder.glob("local.d/*")):
        wanted = ours(path.read_text())
        assert wanted
        overridden = (rspamd.folder / "override.d" / path.name)
        if overridden.exists():
            wanted = {key: value for key, value in wanted.items() if key not in overridden.read_text()}
        section = read if path.name == "groups.conf" else read[SECTIONS.get(path.name, path.stem)]
        assert holds(section, wanted), path.name
    wanted = {key: value for key, value in ours((rspamd.folder / "rspamd.conf").read_text()).items() if key.startswith("worker ")}
    if rspamd.case == "override":
        assert read["options"]["disable_hyperscan"] is True
        assert read["options"]["dns"]["nameserver"] == ["127.0.0.1:53"]
        assert read["classifier"]["bayes"]["min_learns"] == 50
    workers = {key: value for worker in read["worker"] for key, value in worker.items()}
    assert sorted(workers) == sorted(key.removeprefix("worker ") for key in wanted)  # no other worker
    for key, value in wanted.items():
        upstream = value.pop("upstream local", None)
        worker = workers[key.removeprefix("worker ")]
        assert holds(worker, value), worker
        assert not upstream or holds(worker["upstream"]["local"], upstream)
    assert not {"password", "enable_password"} & set(workers["controller"])


@pytest.mark.parametrize("case", ("antivirus-off", "override"))
def test_rspamd_finds_nothing_wrong(case, tmp_path):
    out, err = Rspamd(case, tmp_path).tool("configtest")
    assert "syntax OK" in out + err
    assert not [line for line in (out + err).splitlines() if "mailnode" in line], out + err



# ---- clamd

@pytest.mark.parametrize("case", cases("clamd"))
def test_clamd_reads_back(case, tmp_path):
    folder = rendered("clamd", case, tmp_path)
    out, err = said("clamconf", "-c", folder, "-n")
    assert err == ""
    read = dict(re.findall(r"^(\w+)(?: =)? (.*)$", out.partition("Config file: clamd.conf")[2].partition("\n\n")[0], re.M))
    wanted = dict(line.split(" ", 1) for line in (folder / "clamd.conf").read_text().splitlines() if line[0] != "#")
    silent = {"ConcurrentDatabaseReload", "FixStaleSocket", "OfficialDatabaseOnly", "SelfCheck"}  # as clamd has them anyway

    def plain(text):
        return {"yes": '"yes"', "no": "disabled"}.get(text, text).strip('"')
    assert {k: plain(v) for k, v in read.items()} == {k: plain(v) for k, v in wanted.items() if k not in silent}


# ---- Unbound

@pytest.mark.parametrize("case", cases("unbound"))
def test_unbound_reads_back(case, tmp_path):
    folder = rendered("unbound", case, tmp_path)
    home = tmp_path / "node/var/lib/mailnode/unbound"
    home.mkdir(parents=True)
    file = folder / "unbound.conf"
    out, err = said("unbound-checkconf", file)
    assert (out, err) == (f"unbound-checkconf: no errors in {file}\n", "")
    wanted = {}
    for name, value in re.findall(r"^    ([\w-]+): (.*)$", file.read_text(), re.M):
        wanted.setdefault(name, []).append(value.replace('"', ""))
    del wanted["local-zone"], wanted["local-data"]  # the tool reads them, but cannot print them
    for name, values in wanted.items():
        out, err = said("unbound-checkconf", "-o", name, file)
        assert err == ""
        assert sorted(map(size_of, out.splitlines())) == sorted(map(size_of, values)), name


def size_of(text):
    return str(int(text[:-1]) << 20) if re.fullmatch(r"\d+m", text) else text


# ---- Redis has no checker: it is started

def test_redis_reads_back(tmp_path):
    tmp_path.chmod(0o755)
    folder = rendered("redis", "minimal", tmp_path)
    for place in ("run/mailnode/redis", "var/lib/mailnode/redis"):
        (tmp_path / "node" / place).mkdir(parents=True)
    redis = subprocess.Popen(["redis-server", folder / "redis.conf"], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        for name, value in (line.split(" ", 1) for line in (folder / "redis.conf").read_text().splitlines() if line[0] != "#"):
            value = value.strip('"').replace("256mb", str(256 << 20))
            assert ask(redis, tmp_path / "node/run/mailnode/redis/redis.sock", name) == value, name
    finally:
        redis.kill()
        redis.wait()


def ask(redis, path, name):
    late = time.monotonic() + 10
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as talk:
                talk.settimeout(5)
                talk.connect(str(path))
                talk.sendall(f"CONFIG GET {name}\r\n".encode())
                return talk.recv(4096).decode().split("\r\n")[4]
        except OSError:
            assert redis.poll() is None and time.monotonic() < late
            time.sleep(0.01)

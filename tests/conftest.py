"""What ./check needs of pytest: C programs as tests, choice by file, name or id, logs with a failure, figures at the end."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness import MailNode, cluster as clusters  # noqa: E402
from harness import golden  # noqa: E402
from harness.paths import BUILD  # noqa: E402

ID = re.compile(r"[FRBSX]-?\d+[a-z]?$")


def pytest_addoption(parser):
    parser.addoption("--want", action="append", default=[], help="a file, a test, or an id of SPEC or THREATS")
    parser.addoption("--figures", help="file that gets 'passed failed skipped'")
    parser.addoption("--accept", action="store_true", help="golden tests: what is rendered is what is wanted")


def pytest_configure(config):
    config.addinivalue_line("markers", "spec(*ids): rows of SPEC.md and THREATS.md that this test proves")
    config.addinivalue_line("markers", "slow: only when asked for by file, name or id")


# ---- choice

def ids_of(item):
    found = {i for mark in item.iter_markers("spec") for i in mark.args}
    return found | getattr(item, "ids", set())


def wanted(item, names):
    path = item.path.relative_to(HERE).with_suffix("").as_posix()
    name = getattr(item, "originalname", None) or item.name
    return any(path == n or path.startswith(n.rstrip("/") + "/") or name == n or item.name == n or
               n in ids_of(item) or f"{path}::{name}" == n for n in names)


def pytest_collection_modifyitems(config, items):
    names = [n.removeprefix("tests/").removesuffix(".py").removesuffix(".c") for n in config.getoption("want")]
    for item in items:
        for i in ids_of(item):
            assert ID.match(i), f"{item.nodeid}: '{i}' is no id"
    if names:
        unknown = [n for n in names if not any(wanted(item, [n]) for item in items)]
        if unknown:
            raise pytest.UsageError(f"no test, file or id is called {', '.join(unknown)}")
        chosen = [item for item in items if wanted(item, names)]
    else:
        chosen = [item for item in items if not item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=[i for i in items if i not in set(chosen)])
    items[:] = chosen


# ---- C programs: every cmocka_unit_test of tests/unit/**.c, every fuzzer's corpus

UNIT_MACRO = re.compile(r"^#define (\w+)\(.*cmocka_unit_test.*$", re.M)


def unit_tests(source):
    """Names of the tests that a C file lists, by cmocka's own macros or by one of its own over them."""
    macros = "|".join(["cmocka_unit_test\\w*", *UNIT_MACRO.findall(source)])
    listed = re.findall(rf"\b(?:{macros})\(\s*(\w+)", UNIT_MACRO.sub("", source))
    return list(dict.fromkeys(listed))


def pytest_collect_file(parent, file_path):
    if file_path.suffix != ".c":
        return golden.collect(parent, file_path, HERE / "golden")
    if (HERE / "unit") in file_path.parents:
        return UnitFile.from_parent(parent, path=file_path)
    if file_path.parent == HERE / "fuzz" and file_path.name.startswith("fuzz_"):
        return FuzzFile.from_parent(parent, path=file_path)
    return None


class UnitFile(pytest.File):
    def collect(self):
        for name in unit_tests(self.path.read_text()):
            yield UnitTest.from_parent(self, name=name)

    def program(self):
        flat = self.path.relative_to(HERE).with_suffix("").as_posix().replace("/", "-")
        return BUILD / "unit" / flat

    def results(self):
        """Runs the program once per worker: {test: (verdict, words)}."""
        if not hasattr(self, "_results"):
            done = subprocess.run([self.program()], capture_output=True, text=True, errors="replace", timeout=300,
                                  stdin=subprocess.DEVNULL)
            said = done.stdout + done.stderr
            self._results = {name: (verdict, said) for verdict, name in
                             re.findall(r"\[\s*(OK|FAILED|SKIPPED|ERROR)\s*\]\s+(?:\w+: )?(\w+)", said)}
            self._said = f"exit {done.returncode}\n{said}"
        return self._results


class UnitTest(pytest.Item):
    def __init__(self, **more):
        super().__init__(**more)
        self.ids = {re.sub(r"^([FX])_", r"\1-", i) for i in
                    re.findall(r"(?<![A-Za-z0-9])([FX]_\d{2,3}[ab]?|[RBS]\d\d)(?![A-Za-z0-9])", self.name)}
        self.add_marker(pytest.mark.xdist_group(str(self.path)))  # one run of the program serves its tests

    def runtest(self):
        verdict, _ = self.parent.results().get(self.name, ("ENDED", ""))
        if verdict == "SKIPPED":
            pytest.skip("skipped by the test itself")
        if verdict != "OK":
            raise UnitFailure(f"{self.name}: {verdict}\n{self.parent._said}")

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, UnitFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, None, self.name


class UnitFailure(Exception):
    pass


class FuzzFile(pytest.File):
    def collect(self):
        yield Corpus.from_parent(self, name="corpus")


class Corpus(pytest.Item):
    """What was once found, or is worth trying first, does no harm."""

    def runtest(self):
        name = self.path.stem
        corpus = HERE / "fuzz/corpus" / name.removeprefix("fuzz_")
        done = subprocess.run([BUILD / "fuzz" / name, corpus], capture_output=True, text=True, errors="replace", timeout=300)
        if done.returncode != 0:
            raise UnitFailure(f"{name}: exit {done.returncode}\n{done.stdout}{done.stderr}")

    repr_failure = UnitTest.repr_failure

    def reportinfo(self):
        return self.path, None, self.name


# ---- logs with a failure, nothing left behind

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for tail in clusters.failed + [c.tails() for c in clusters.live]:
            report.sections.append(("logs of the cluster", tail))
    clusters.failed.clear()


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    for cluster in list(clusters.live):
        cluster.close()


@pytest.fixture
def cluster(request):
    """A running controller with the nodes of @pytest.mark.nodes(n) (1), nothing stated yet."""
    mark = request.node.get_closest_marker("nodes")
    with clusters.Cluster(nodes=mark.args[0] if mark else 1) as c:
        yield c


@pytest.fixture
def site(cluster):
    """The same with user domain staff, instance main on mx1 and the domain example.org."""
    return cluster.site()


# ---- figures

def pytest_terminal_summary(terminalreporter, config):
    path = config.getoption("figures")
    if path:
        count = {k: len(terminalreporter.stats.get(k, [])) for k in ("passed", "failed", "error", "skipped")}
        with open(path, "w") as f:
            f.write(f"{count['passed']} {count['failed'] + count['error']} {count['skipped']}\n")


@pytest.fixture(scope="module")
def shared_cluster():
    c = clusters.Cluster(nodes=2).site()
    clusters.live.remove(c)  # lives longer than one test
    yield c
    clusters.live.append(c)
    c.close()


@pytest.fixture
def site_shared(shared_cluster, request):
    """A site with mx1 and mx2 that the tests of one file use one after the other: for inputs that must change nothing."""
    yield shared_cluster
    assert shared_cluster.controller.running(), shared_cluster.tails()


# ---- nodes with the real mail-engine: seconds to start, so the tests of one file share one (xdist_group by file)

@pytest.fixture(scope="module")
def mail_shared():
    c = clusters.Cluster(nodes=1, node=MailNode).mail_site()
    clusters.live.remove(c)
    yield c
    clusters.live.append(c)
    c.close()


@pytest.fixture
def mail(mail_shared):
    """A MailNode that serves example.org, for tests that leave it as they found it: all daemons ready, alice and bob."""
    box = mail_shared["mx1"]
    yield box
    assert mail_shared.controller.running() and box.agent.running() and box.mail_engine.running(), mail_shared.tails()
    box.wait_ready()


@pytest.fixture
def mail_own(request):
    """The same for one test alone, which may break what it likes."""
    with clusters.Cluster(nodes=1, node=MailNode) as c:
        yield c.mail_site()["mx1"]

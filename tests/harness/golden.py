"""Golden tests: tests/golden/DAEMON/CASE/ is one, and reads without tools.

    state.yaml     the objects that a node has
    why.txt        what the case is for
    override/      files of the node's root, as below etc/mailnode/override (may be missing)
    want/DAEMON/   the files of that daemon; nothing: it is not rendered
    want/refused.txt   ... or why the renderer refuses

./check golden --accept writes want/ anew: the review is the diff.
"""
import difflib
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness.paths import BUILD

REFUSED = "refused.txt"
NODE_ROOT = "/node"  # as golden/render.c has it


def render(state, folder, override=None):
    """golden-render into folder/out; (exit code, stderr)."""
    folder = Path(folder)
    out, root = folder / "out", folder / "root"
    out.mkdir()
    arguments = [BUILD / "tests/golden-render", state, out]
    if override and Path(override).is_dir():
        lay_override(override, root)
        arguments.append(root)
    done = subprocess.run(arguments, capture_output=True, text=True, errors="replace", timeout=60, stdin=subprocess.DEVNULL)
    return done.returncode, done.stderr


def lay_override(override, root):
    """Copies a folder of overrides to where a node has them, with the modes that it wants."""
    there = Path(root) / "etc/mailnode/override"
    shutil.copytree(override, there)
    for path in [there, *there.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        shutil.chown(path, "root", "root")


def texts(folder, daemon):
    """{path: text} of a daemon's files, and of the refusal."""
    files = [p for p in sorted((folder / daemon).rglob("*")) if p.is_file()]
    if (folder / REFUSED).is_file():
        files.append(folder / REFUSED)
    return {p.relative_to(folder).as_posix(): p.read_text() for p in files}


def diff(want, got):
    lines = []
    for path in sorted(want.keys() | got.keys()):
        lines += difflib.unified_diff(want.get(path, "").splitlines(), got.get(path, "").splitlines(),
                                      f"want/{path}" if path in want else "/dev/null", path if path in got else "/dev/null", lineterm="")
    return "\n".join(lines)


class GoldenFile(pytest.File):
    """The state.yaml of a case."""

    def collect(self):
        case = self.path.parent
        yield GoldenTest.from_parent(self, name=f"golden/{case.parent.name}/{case.name}")


class GoldenTest(pytest.Item):
    def runtest(self):
        case = self.path.parent
        daemon = case.parent.name
        why = case / "why.txt"
        if not why.is_file() or not why.read_text().strip():
            raise Differs("why.txt: say what the case is for")
        got = self.rendered(case, daemon)
        if self.config.getoption("accept"):
            self.accept(case / "want", got)
        want = texts(case / "want", daemon)
        if want != got:
            raise Differs(f"{diff(want, got)}\nright so? ./check {self.name} --accept")

    def rendered(self, case, daemon):
        with tempfile.TemporaryDirectory(prefix="golden.") as folder:
            status, said = render(case / "state.yaml", folder, case / "override")
            if status and status not in (3, 6, 7):  # what is wrong with the input (exit codes of CLI.md)
                raise Differs(f"golden-render: exit {status}\n{said}")
            return {REFUSED: said} if status else texts(Path(folder) / "out", daemon)

    def accept(self, want, got):
        shutil.rmtree(want, ignore_errors=True)
        for path, text in got.items():
            (want / path).parent.mkdir(parents=True, exist_ok=True)
            (want / path).write_text(text)

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, Differs):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, None, self.name


class Differs(Exception):
    pass


def collect(parent, file_path, golden):
    """The hook's part: a case, or None."""
    if file_path.name == "state.yaml" and file_path.parent.parent.parent == golden:
        return GoldenFile.from_parent(parent, path=file_path)
    return None

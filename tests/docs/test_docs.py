"""docs/features.md: every row of the specification is there once, and names only tests that exist."""
import re
import subprocess
from pathlib import Path

import pytest

from harness import paths
from harness.paths import TREE

TESTS = TREE / "tests"
ROW = re.compile(r"^\| ([FX]-\d+[ab]?) \| (.+?) \| (.+?) \|$", re.M)


def rows():
    return ROW.findall((TREE / "docs/features.md").read_text())


def known_tests():
    """path -> names of the tests in it, as text: nothing has to be imported or built."""
    found = {}
    for path in TESTS.rglob("*"):
        if path.suffix == ".py":
            names = re.findall(r"^def (test_\w+)", path.read_text(), re.M)
        elif path.suffix == ".c":
            names = re.findall(r"^static void (\w+)\(void \*\*", path.read_text(), re.M)
        else:
            continue
        found[path.relative_to(TESTS).with_suffix("").as_posix()] = names
    return found


def test_features_name_tests_that_exist():
    there, wrong = known_tests(), []
    for id, _, proof in rows():
        named = re.findall(r"`([^`]+)`", proof)
        if not named and "not yet" not in proof:
            wrong.append(f"{id}: neither a test nor 'not yet'")
        for name in named:
            path, _, test = name.partition("::")
            if path not in there or test and test not in there[path]:
                wrong.append(f"{id}: no test {name}")
    assert not wrong, "\n".join(wrong)


def test_features_say_every_row_once_and_what_carries_its_id():
    """What a test claims by its marker, the table must not call 'not yet'."""
    listed = [id for id, _, _ in rows()]
    assert len(listed) == len(set(listed)) and len(listed) > 180
    marked = {i for path in TESTS.rglob("test_*.py") for mark in re.findall(r"mark\.spec\(([^)]*)\)", path.read_text())
              for i in re.findall(r'"([FX]-\d+[ab]?)"', mark)}
    assert marked <= set(listed), marked - set(listed)
    denied = marked & {id for id, _, proof in rows() if proof == "not yet"}
    assert not denied, f"proved by a test, and 'not yet' in the table: {denied}"


def test_links_of_the_documents_lead_somewhere():
    broken = []
    for page in [*TREE.glob("*.md"), *(TREE / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(TREE)}: {target}")
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("page", sorted((TREE / "docs/man").glob("*.[1-8]")) or [None], ids=lambda p: p.name if p else "none")
def test_man_pages_read_without_warnings(page):
    assert page, "no man pages in docs/man"
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_manual_of_mailctl_is_up_to_date():
    """docs/man/mailctl.1 is what the table of commands makes of itself: mailctl man > docs/man/mailctl.1"""
    done = subprocess.run([paths.MAILCTL, "man"], capture_output=True, text=True, check=True)
    assert done.stdout == (TREE / "docs/man/mailctl.1").read_text()

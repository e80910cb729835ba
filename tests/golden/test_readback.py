"""What is rendered reads back, value by value, with the daemon's own tool, which has nothing to say against it."""
import os
import re
import subprocess
from pathlib import Path

import pytest

from harness import golden

HERE = Path(__file__).resolve().parent


def cases(daemon):
    """The golden cases in which the daemon is rendered."""
    return sorted(p.parent.parent.name for p in HERE.glob(f"{daemon}/*/want/{daemon}"))


def rendered(daemon, case, folder):
    """The files of a case, for a node whose root is the folder."""
    status, said = golden.render(HERE / daemon / case / "state.yaml", folder, HERE / daemon / case / "override")
    assert status == 0, said
    there = folder / "out" / daemon
    for path in there.rglob("*"):
        if path.is_file():
            path.write_text(path.read_text().replace(golden.NODE_ROOT + "/", f"{folder}{golden.NODE_ROOT}/"))
            os.utime(path, (0, 0))  # Postfix's programs wait until main.cf is two seconds old
    return there


def said(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, errors="replace", timeout=60, stdin=subprocess.DEVNULL)
    return done.stdout, done.stderr


# ---- Postfix

def main_cf_values(text):
    """{name: value}, by postconf(5): what begins with a blank goes on, comments and empty lines say nothing."""
    logical = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace():
            logical[-1] += " " + line.strip()
        else:
            logical.append(line.strip())
    pairs = [line.partition("=") for line in logical]
    names = [name.strip() for name, _, _ in pairs]
    assert len(names) == len(set(names)), "a parameter stands twice"
    return {name.strip(): " ".join(value.split()) for name, _, value in pairs}


def postfix_folder(case, tmp_path):
    """postconf looks for the maps, too."""
    folder = rendered("postfix", case, tmp_path)
    for place in re.findall(r"sqlite:([^,\s]+)", (folder / "main.cf").read_text()):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Path(place).write_text("dbpath = /nowhere\nquery = SELECT 1\n")
    return folder


POSTFIX_WRONG = "override"  # holds a line that is none, on purpose


@pytest.mark.parametrize("case", [c for c in cases("postfix") if c != POSTFIX_WRONG])
def test_postfix_main_cf(case, tmp_path):
    folder = postfix_folder(case, tmp_path)
    out, err = said("postconf", "-c", folder, "-n")
    assert err == ""
    read = {name: " ".join(value.split()) for name, value in re.findall(r"^(\S+) =(.*)$", out, re.M)}
    wanted = main_cf_values((folder / "main.cf").read_text())
    for name in ("config_directory",):  # says postconf by itself
        read.pop(name, None)
    assert read == wanted


@pytest.mark.parametrize("case", [c for c in cases("postfix") if c != POSTFIX_WRONG])
def test_postfix_master_cf(case, tmp_path):
    folder = postfix_folder(case, tmp_path)
    services, err = said("postconf", "-c", folder, "-F")
    assert err == ""
    options, err = said("postconf", "-c", folder, "-P")
    assert err == ""
    read_services = set(re.findall(r"^(\S+)/command = (.*)$", services, re.M))
    read_options = {(name, value.strip()) for name, value in re.findall(r"^(\S+) =(.*)$", options, re.M)}
    wanted_services, wanted_options = set(), set()
    for line in (folder / "master.cf").read_text().splitlines():
        option = re.match(r" +-o (?:\{ )?([a-z_]+) ?= ?(.*?)(?: \})?$", line)
        if option:
            wanted_options.add((f"{service}/{option[1]}", option[2]))
        elif not line.startswith("#"):
            name, kind, _, _, _, _, _, command = line.split(maxsplit=7)
            service = f"{name}/{kind}"
            wanted_services.add((service, command))
    assert {(s, c.split(" -o ")[0]) for s, c in read_services} == wanted_services
    assert read_options == wanted_options


def test_postfix_says_what_is_no_entry(tmp_path):
    """A line of an override that postconf refuses is found again by the comment before it."""
    folder = postfix_folder(POSTFIX_WRONG, tmp_path)
    _, err = said("postconf", "-c", folder, "-n")
    found = re.search(r"main\.cf, line (\d+): missing '=' after attribute name", err)
    assert found, err
    lines = (folder / "main.cf").read_text().splitlines()
    assert lines[int(found[1]) - 1] == "no sign of equality"
    assert lines[int(found[1]) - 2] == "# from override/postfix.d/20-more.cf, line 3"

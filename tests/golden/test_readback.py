"""What is rendered reads back, value by value, with the daemon's own tool, which has nothing to say against it."""
import json
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


# ---- Dovecot

def dovecot_values(text):
    """{(section, ..., name): value}; a mailbox goes by its name, as doveconf has it, a passdb by its number."""
    values, path, passdbs = {}, [], 0
    for line in text.splitlines():
        line = line.strip()
        section = re.match(r'(\S+?)(?: (?:"(.*)"|(\S+)))? \{$', line)
        setting = re.match(r"(\S+) =(?: (.*))?$", line)
        if not line or line.startswith("#"):
            continue
        if section:
            label = section[3] if section[2] is None else re.sub(r"\\(.)", r"\1", section[2])
            if section[1] == "passdb":
                label = passdbs = passdbs + 1
            path = path + [f"{section[1]} {label or ''}".strip()]
        elif line == "}":
            path = path[:-1]
        elif setting:
            value = setting[2] or ""
            if re.fullmatch(r'".*"', value):
                value = re.sub(r"\\(.)", r"\1", value[1:-1])
            if setting[1] == "name" and path[-1].startswith("mailbox "):
                path = path[:-1] + [f"mailbox {value}"]
            else:
                values[*path, setting[1]] = value
        else:
            assert line.startswith("!include "), line
    return values


def dovecot_read(folder, *options):
    out, err = said("doveconf", "-c", folder / "dovecot.conf", *options)
    assert err == ""
    return dovecot_values(out)


@pytest.mark.parametrize("case", cases("dovecot"))
def test_dovecot(case, tmp_path):
    """Each value that is written is one that doveconf has; what differs from its defaults was written."""
    folder = rendered("dovecot", case, tmp_path)
    wanted = dovecot_values((folder / "dovecot.conf").read_text())
    for path in sorted(folder.glob("override-*")):
        wanted.update(dovecot_values(path.read_text()))
    read = dovecot_read(folder, "-a", "-P")
    assert {name: read.get(name) for name in wanted} == wanted
    said_by_itself = {"managesieve_notify_capability", "managesieve_sieve_capability"}
    assert {name[-1] for name in dovecot_read(folder, "-n", "-P").keys() - wanted.keys()} <= said_by_itself | {"location", "prefix"}


@pytest.mark.spec("B03", "B04", "S09")
@pytest.mark.parametrize("name", ["Spam", "a/b", "two words", '"', "'", '"both\'', "back\\slash", "\\", "a#b", "# a", "$x", "${base_dir}",
                                  "</etc/shadow", "}", "{", "!include x", "a=b", "a, b", "{{ x }}", "%{x}", "é", "a;b", "listen = x",
                                  "%u", "`id`", "$(id)", "Spam & Co", "{= env.x =}"])
def test_dovecot_reads_a_folders_name_as_it_is(name, tmp_path):
    state = tmp_path / "state.yaml"
    state.write_text((HERE / "dovecot/minimal/state.yaml").read_text() +
                     f"  - kind: settings\n    instance: main\n    junk_folder: {json.dumps(name)}\n")
    status, words = golden.render(state, tmp_path)
    if "%" in name:
        assert status != 0 and "junk" in words
        return
    assert status == 0, words
    folder = tmp_path / "out/dovecot"
    (tmp_path / "minimal").mkdir()
    minimal = rendered("dovecot", "minimal", tmp_path / "minimal")
    read, usual = dovecot_read(folder, "-n"), dovecot_read(minimal, "-n")
    assert read.get(("namespace inbox", f"mailbox {name}", "special_use")) == "\\Junk"
    renamed = {tuple(f"mailbox {name}" if part == "mailbox Junk" else part for part in path) for path in usual}
    assert read.keys() == renamed, "another setting came in"
    script, = folder.glob("junk-*.sieve")
    done = subprocess.run(["sievec", script, tmp_path / "compiled"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    dumped, _ = said("sieve-dump", tmp_path / "compiled", "-")
    assert f'"{name}"' in dumped

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts each defect of sabotage.txt into a copy of one source, rebuilds what depends on it, and expects kcheck to fail.

usage: sabotage.py SOURCE_ROOT BUILD_ROOT [NAME_PART]   (the build must be up to date; nothing in either root is changed)
"""
import json
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

SOURCE, BUILD = (pathlib.Path(p).resolve() for p in sys.argv[1:3])
ONLY = sys.argv[3] if len(sys.argv) > 3 else ""
TARGET = "tests/kcheck/kcheck"
TIMEOUT = 120


def entries(path):
    """Each as a dict: name, file, set, fn, edits [(find, put)]."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        word, _, rest = line.partition(" ")
        if word == "=":
            found.append({"name": rest, "edits": []})
        elif word in ("file", "set", "fn"):
            found[-1][word] = rest
        elif word == "-":
            found[-1]["edits"].append((rest, None))
        elif word == "+":
            found[-1]["edits"][-1] = (found[-1]["edits"][-1][0], rest)
        elif line and word != "#":
            sys.exit(f"{path.name}:{number}: what is this? {line}")
    return found


def ninja(*arguments):
    return subprocess.run(["ninja", "-C", BUILD, *arguments], check=True, capture_output=True, text=True).stdout


def dependents():
    """Source, relative to the root -> objects made from it, and object -> compile command."""
    commands = {c["output"]: shlex.split(c["command"]) for c in json.loads((BUILD / "compile_commands.json").read_text())}
    users, current = {}, None
    for line in ninja("-t", "deps").splitlines():
        if not line.startswith(" "):
            current = line.split(":")[0]
        elif line.strip():
            path = (BUILD / line.strip()).resolve()
            if path.is_relative_to(SOURCE):
                users.setdefault(str(path.relative_to(SOURCE)), set()).add(current)
    return users, commands


def link_command():
    for line in reversed(ninja("-t", "commands", TARGET).splitlines()):
        if f"-o {TARGET} " in line:
            return shlex.split(line)
    sys.exit(f"no command links {TARGET}")


def apply(entry, path):
    lines = path.read_text().splitlines()
    for find, put in entry["edits"]:
        at = [i for i, line in enumerate(lines) if line.strip() == find]
        if len(at) != 1 or put is None:
            sys.exit(f"sabotage.txt, \"{entry['name']}\": in {entry['file']}, {len(at)} lines are \"{find}\": the list is stale")
        lines[at[0]] = put
    path.write_text("\n".join(lines) + "\n")


def compile_into(command, scratch, copy, objects):
    """The same command over the copy: its folders are looked at first, optimised less, silent."""
    source = (BUILD / command[-1]).resolve()
    target = objects / (str(len(list(objects.iterdir()))) + ".o")
    out = command[:-1] + ["-O1", "-w", "-I", str(copy), str(copy / source.relative_to(SOURCE))]
    out[out.index("-o") + 1] = str(target)
    includes = [f"-I{copy}"]
    if "-MF" in out:
        out[out.index("-MF") + 1] = str(scratch / "deps")
    subprocess.run(out[:1] + includes + out[1:], cwd=BUILD, check=True)
    return str(target)


def kcheck(program, entry):
    return subprocess.run([program, "--set", entry["set"], "--fn", entry["fn"]], cwd=BUILD, capture_output=True, text=True,
                          timeout=TIMEOUT)


def sabotaged(entry, users, commands, link, copy, scratch):
    """kcheck's run with the defect in it."""
    original, objects = SOURCE / entry["file"], scratch / "objects"
    shutil.rmtree(objects, ignore_errors=True)
    objects.mkdir()
    apply(entry, copy / entry["file"])
    try:
        wanted = [o for o in sorted(users.get(entry["file"], ())) if relevant(o, entry)]
        if not wanted:
            sys.exit(f"nothing that kcheck links is made from {entry['file']}")
        made = [compile_into(commands[o], scratch, copy, objects) for o in wanted]
        program = scratch / "kcheck"
        out = list(link)
        out[out.index("-o") + 1] = str(program)
        at = out.index("-o") + 2
        subprocess.run(out[:at] + made + out[at:], cwd=BUILD, check=True)
        return kcheck(program, entry)
    finally:
        shutil.copyfile(original, copy / entry["file"])


def relevant(output, entry):
    """Portable drivers are in the library's parts, each set's kernels in an object folder of its own."""
    drivers = ("libexeunt_kernels.a.p/", "libexeunt_once.a.p/", "libexeunt_loops.a.p/kernels_")
    return f"libexeunt_{entry['set']}." in output or output.startswith(drivers)


def main():
    users, commands = dependents()
    link = link_command()
    sets = subprocess.run([BUILD / TARGET, "--list"], check=True, capture_output=True, text=True).stdout
    here = {l.split()[0] for l in sets.splitlines() if not l.startswith(" ") and "not on this CPU" not in l}
    missed = skipped = caught = 0
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        copy = scratch / "source"
        for part in ("core", "kernels", "arch"):
            shutil.copytree(SOURCE / part, copy / part)
        for entry in entries(pathlib.Path(__file__).with_name("sabotage.txt")):
            if ONLY not in entry["name"]:
                continue
            if entry["set"] not in here:
                print(f"skip   {entry['name']}: no {entry['set']} here")
                skipped += 1
                continue
            clean = kcheck(BUILD / TARGET, entry)
            if clean.returncode != 0:
                sys.exit(f"kcheck fails without any defect:\n{clean.stdout}{clean.stderr}")
            run = sabotaged(entry, users, commands, link, copy, scratch)
            if run.returncode == 0:
                missed += 1
                print(f"MISSED {entry['name']} ({entry['file']}, {entry['set']})")
            else:
                caught += 1
                first = next((l for l in run.stderr.splitlines() if l.startswith("FAIL")), f"exit status {run.returncode}")
                print(f"caught {entry['name']}: {first[:110]}", flush=True)
    print(f"{caught} caught, {missed} missed, {skipped} skipped")
    return missed > 0 or caught == 0


if __name__ == "__main__":
    sys.exit(main())

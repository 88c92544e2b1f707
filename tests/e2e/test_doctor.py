#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`mizan doctor`: usable here, and what it says of a folder that cannot be written in.

Usage: test_doctor.py PROGRAM [FOLDER of an OpenCL loader that crashes]
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[1]


def doctor(*words, **environment):
    return subprocess.run([PROGRAM, "doctor", "--json", *words], capture_output=True, text=True,
                          env=dict(os.environ, **environment))


def crashing_driver(folder):
    """It takes nothing along: what else there is is shown, and it is named with the signal."""
    chips = subprocess.run([PROGRAM, "chips", "--json", "--driver-path", folder], capture_output=True,
                           text=True)
    assert chips.returncode == 0 and chips.stderr == "", chips
    by_name = {one["name"]: one for one in json.loads(chips.stdout)["chips"]}
    assert by_name["cpu"]["usable"] and not by_name["opencl"]["usable"], by_name
    assert "signal 6" in by_name["opencl"]["reason"], by_name["opencl"]
    said = doctor("--driver-path", folder)
    found = [one for one in json.loads(said.stdout)["findings"] if one["name"] == "opencl"][0]
    assert said.returncode == 0 and "signal 6" in found["what"] and found["fix"], found
    used = subprocess.run([PROGRAM, "chips", "check", "opencl:0", "--driver-path", folder],
                          capture_output=True, text=True)
    assert used.returncode == 69 and "signal 6" in used.stderr, used


def main():
    if len(sys.argv) > 2:
        crashing_driver(sys.argv[2])
    good = doctor(LC_ALL="C.UTF-8")
    assert good.returncode == 0, good.stderr
    said = json.loads(good.stdout)
    assert said["schema"] == 1 and said["usable"] is True
    by_name = {one["name"]: one for one in said["findings"]}
    for name in ("libraries", "crypto", "MPI", "OpenCL", "cpu", "sets", "memory", "huge pages", "disk",
                 "/dev/shm", "open files", "locked", "stack", "run folder", "locale", "clock",
                 "terminal", "demo text", "registry"):
        assert by_name[name]["state"] in ("ok", "note", "warning"), by_name
    sets = by_name["sets"]["what"].split(", ")
    for isa in ("amx", "avx512", "avx2", "neon", "portable"):  # what it says is what runs
        runs = subprocess.run([PROGRAM, "doctor", "--isa", isa], capture_output=True).returncode == 0
        assert runs == (isa in sets), (isa, sets)
    chips = json.loads(subprocess.run([PROGRAM, "chips", "--json"], capture_output=True, text=True,
                                      check=True).stdout)["chips"]
    for chip in chips:  # each is judged, by its own words where it is not usable
        if chip["name"] not in ("hosted", "ref"):
            assert (by_name[chip["name"]]["state"] == "ok") == chip["usable"], by_name[chip["name"]]
    for one in said["findings"]:  # what is amiss can be mended, but for what a terminal is
        assert one["fix"] or one["state"] == "ok" or one["name"] == "terminal", one
    assert by_name["locale"]["state"] == "ok" and by_name["locale"]["fix"] is None
    plain = json.loads(doctor(LC_ALL="C").stdout)
    locale = [one for one in plain["findings"] if one["name"] == "locale"][0]
    assert locale["state"] == "note" and "UTF-8" in locale["fix"], locale

    odd = json.loads(doctor("--run-dir", "/no where/it's").stdout)["findings"]
    fix = [one for one in odd if one["name"] == "run folder"][0]["fix"]
    assert shlex.split(fix)[:3] == ["mkdir", "-p", "/no where/it's"], fix
    with tempfile.TemporaryDirectory() as folder:
        def registry():
            found = json.loads(doctor(XDG_STATE_HOME=f"{folder}/state").stdout)["findings"]
            return [one for one in found if one["name"] == "registry"][0]

        assert registry()["state"] == "ok" and "0 runs" in registry()["what"], registry()
        assert not os.path.exists(f"{folder}/state"), "it only looks"
        os.makedirs(f"{folder}/state/mizan")
        with open(f"{folder}/state/mizan/runs.db", "w") as file:
            file.write("no data base" * 100)
        broken = registry()
        assert broken["state"] == "warning" and broken["fix"], broken

    bad = doctor("--run-dir", "/nowhere/at/all")
    assert bad.returncode == 69, bad.returncode
    said = json.loads(bad.stdout)
    assert said["usable"] is False
    folder = [one for one in said["findings"] if one["name"] == "run folder"][0]
    assert folder["state"] == "error" and "mkdir -p /nowhere/at/all" in folder["fix"], folder
    assert json.loads(bad.stderr.splitlines()[-1])["error"]["exit"] == 69


if __name__ == "__main__":
    main()

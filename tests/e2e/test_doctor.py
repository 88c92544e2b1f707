#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`mizan doctor`: usable here, and what it says of a folder that cannot be written in.

Usage: test_doctor.py PROGRAM
"""

import json
import os
import subprocess
import sys

PROGRAM = sys.argv[1]


def doctor(*words, **environment):
    return subprocess.run([PROGRAM, "doctor", "--json", *words], capture_output=True, text=True,
                          env=dict(os.environ, **environment))


def main():
    good = doctor(LC_ALL="C.UTF-8")
    assert good.returncode == 0, good.stderr
    said = json.loads(good.stdout)
    assert said["schema"] == 1 and said["usable"] is True
    by_name = {one["name"]: one for one in said["findings"]}
    for name in ("libraries", "crypto", "MPI", "OpenCL", "cpu", "memory", "disk", "/dev/shm",
                 "open files", "stack", "run folder", "locale", "clock", "terminal"):
        assert by_name[name]["state"] in ("ok", "note", "warning"), by_name
    assert by_name["locale"]["state"] == "ok" and by_name["locale"]["fix"] is None
    plain = json.loads(doctor(LC_ALL="C").stdout)
    locale = [one for one in plain["findings"] if one["name"] == "locale"][0]
    assert locale["state"] == "note" and "UTF-8" in locale["fix"], locale

    bad = doctor("--run-dir", "/nowhere/at/all")
    assert bad.returncode == 69, bad.returncode
    said = json.loads(bad.stdout)
    assert said["usable"] is False
    folder = [one for one in said["findings"] if one["name"] == "run folder"][0]
    assert folder["state"] == "error" and "mkdir -p '/nowhere/at/all'" in folder["fix"], folder
    assert json.loads(bad.stderr.splitlines()[-1])["error"]["exit"] == 69


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`mizan chips` where OpenCL has no driver and where its loader is broken: a row for each chip, the reason and
what to do, and nothing measured on what cannot be used. Times are printed for people; only a hang fails.

Usage: test_chips.py PROGRAM
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

PROGRAM = sys.argv[1]


def chips(*words, **environment):
    """(stdout, milliseconds)"""
    begun = time.monotonic()
    done = subprocess.run([PROGRAM, "chips", *words], capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, **environment))
    took = (time.monotonic() - begun) * 1e3
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout, took


def check_document(text, measures):
    by_name = {one["name"]: one for one in json.loads(text)["chips"]}
    cpu, opencl = by_name["cpu"], by_name["opencl"]
    assert cpu["usable"] and cpu["reason"] is None and cpu["fix"] is None, cpu
    assert (cpu["gemm_flop_per_s"] is not None) == measures == (cpu["copy_bytes_per_s"] is not None), cpu
    assert not opencl["usable"] and "OpenCL" in opencl["reason"], opencl
    for one in by_name.values():
        if one["usable"]:
            continue
        assert one["reason"] and one["gemm_flop_per_s"] is None and one["measure_ms"] == 0, one
    times = ", ".join(f"{n} {one['open_ms']:.1f} + {one['measure_ms']:.1f}" for n, one in by_name.items())
    return opencl, times


def check_table(text, opencl):
    """Each chip's row begins in the first column, and what belongs to it stands below it, indented."""
    lines = text.splitlines()
    assert re.match(r"chip +usable +memory +types +matmul +copy +device$", lines[0]), lines[0]
    column = lines[0].index("memory")
    rows = {line.split()[0]: i for i, line in enumerate(lines) if line[0] != " "}
    assert {"chip", "cpu", "opencl", "hosted:SPEC"} <= set(rows), rows
    assert lines[rows["cpu"]].split()[1] == "yes" and "GFLOP/s" in lines[rows["cpu"]], text
    at = rows["opencl"]
    assert lines[at].split()[1] == "no" and lines[at][column:] == opencl["reason"], text
    if opencl["fix"]:
        assert lines[at + 1].strip() == opencl["fix"] and lines[at + 1][column] != " ", text
    assert all(line == line.rstrip() for line in lines), text


def main():
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "libOpenCL.so.1").write_text("no library", encoding="utf-8")
        none = {"OCL_ICD_VENDORS": os.path.join(folder, "none")}
        for what, words, environment in (("no driver", [], none), ("a broken loader", ["--driver-path", folder], {})):
            document, _ = chips("--json", *words, **environment)
            opencl, times = check_document(document, True)
            table, took = chips(*words, **environment)
            check_table(table, opencl)
            print(f"{what}: {took:.0f} ms; opening and measuring, ms: {times}")
            document, took = chips("--json", "--no-measure", *words, **environment)
            check_document(document, False)
            print(f"{what}, without measuring: {took:.0f} ms")
    print("chips: no problem")


if __name__ == "__main__":
    main()

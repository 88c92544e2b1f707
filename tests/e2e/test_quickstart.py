#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/quickstart.md and then docs/runs.md, run as they are written: each block of shell in one folder,
empty at first, in order.

Usage: test_quickstart.py PROGRAM
"""

import json
import os
import re
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[1]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main():
    def run_all(page, least):
        text = open(f"{ROOT}/docs/{page}").read()
        blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.S | re.M)
        assert len(blocks) >= least and text.count("```") == 2 * len(blocks), "a block that is not run"
        for block in blocks:
            done = subprocess.run(["sh", "-eu", "-c", block], cwd=folder, env=environment,
                                  capture_output=True, text=True, stdin=subprocess.DEVNULL)
            assert done.returncode == 0, (block, done.stderr)

    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, PATH=os.path.dirname(PROGRAM) + ":" + os.environ["PATH"],
                           XDG_STATE_HOME=f"{folder}/state")
        run_all("quickstart.md", 5)
        said = [json.loads(subprocess.run([PROGRAM, "runs", "hash", run, "--json"], cwd=folder,
                                          capture_output=True, text=True, check=True).stdout)
                for run in ("first", "second")]
        assert said[0]["weights"] == said[1]["weights"], said  # "the same bits"
        run_all("runs.md", 4)


if __name__ == "__main__":
    main()

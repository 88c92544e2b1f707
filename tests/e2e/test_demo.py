#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demonstration, on a text of the test's own: killed and resumed, stopped and gone on with; what
it writes, and each line of what it says to try next.

Usage: test_demo.py PROGRAM
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

PROGRAM = sys.argv[1]
WORDS = ("the a king house river walked said over under green small love is never always of to and "
         "when water light stone we they had was where old").split()


def text(path):
    draw = random.Random(5)
    with open(path, "w") as file:
        for _ in range(3500):
            file.write(" ".join(draw.choice(WORDS) for _ in range(draw.randint(4, 12))) + ".\n")


def run(words, folder):
    return subprocess.run([PROGRAM, *words], cwd=folder, capture_output=True, text=True, timeout=200)


def main():
    demo = ["demo", "--minutes", "0.02", "--text", "book.txt", "--out", "d"]
    with tempfile.TemporaryDirectory() as folder:
        text(f"{folder}/book.txt")
        first = subprocess.Popen([PROGRAM, *demo], cwd=folder, stderr=subprocess.PIPE, text=True)
        log = f"{folder}/d/run/log.jsonl"
        for _ in range(1200):  # stopped once it has made a step
            if first.poll() is not None or os.path.exists(log) and os.path.getsize(log) > 0:
                break
            time.sleep(0.02)
        first.send_signal(signal.SIGINT)
        said = first.communicate(timeout=60)[1]
        assert first.returncode == 75, (first.returncode, said)
        assert "goes on" in said, said
        made = open(log).read().count("\n")
        assert made > 0 and not os.path.exists(f"{folder}/d/result.json")

        held = open(f"{folder}/d/held.txt").read()
        with open(f"{folder}/other.txt", "w") as file:
            file.write(held * 40)
        other = run(["other.txt" if word == "book.txt" else word for word in demo], folder)
        assert other.returncode == 2 and "another text" in other.stderr, other.stderr
        assert open(f"{folder}/d/held.txt").read() == held

        done = run(demo, folder)
        assert done.returncode == 0, done.stderr
        assert "going on" in done.stderr and "SIGKILL" in done.stderr, done.stderr
        assert all(len(line) <= 80 for line in done.stderr.splitlines()), done.stderr
        steps = [json.loads(line)["step"] for line in open(log)]
        assert steps == list(range(1, len(steps) + 1)) and len(steps) > made, steps
        result = json.load(open(f"{folder}/d/result.json"))
        assert result["schema"] == 1 and result["steps"] == len(steps)
        assert 0 < result["bits_per_byte"] < 8 and 0 < result["order2_bits_per_byte"] < 3, result
        assert open(f"{folder}/d/loss.svg").read().startswith("<"), "no picture"
        assert result["loss"] < result["first_loss"], result
        tries = [line[2:] for line in done.stdout.split("Try next:")[1].splitlines() if line]
        assert len(tries) >= 5, done.stdout
        environment = dict(os.environ, PATH=os.path.dirname(PROGRAM) + ":" + os.environ["PATH"])
        for line in tries:
            tried = subprocess.run(line, shell=True, cwd=folder, env=environment,
                                   capture_output=True, text=True)
            assert tried.returncode == 0, (line, tried.stderr)

        again = run([*demo, "--json"], folder)  # a finished one begins anew
        assert again.returncode == 0 and "SIGKILL" in again.stderr, again.stderr
        assert json.loads(again.stdout)["bits_per_byte"] > 0


if __name__ == "__main__":
    main()

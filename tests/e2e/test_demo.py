#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`mizan demo`, made short: stopped by Ctrl-C in every phase and gone on with, to the bits of one
that nobody disturbed; killed by itself on the way; held by the clock; each command that it offers
is run as it stands. On a text made here of words, so that a minute is enough to learn something.

Usage: test_demo.py PROGRAM stopped|planned
"""

import hashlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time

PROGRAM = sys.argv[1]
WORDS = ("the a king house river walked said over under green small love is never always of to and "
         "when water light stone we they had was where old").split()
ENVIRONMENT = dict(os.environ, PATH=os.path.dirname(PROGRAM) + ":" + os.environ["PATH"])
HOW = ["--threads", "1", "--isa", "portable"]


def text(path):
    draw = random.Random(5)
    with open(path, "w") as file:
        for _ in range(3500):
            file.write(" ".join(draw.choice(WORDS) for _ in range(draw.randint(4, 12))) + ".\n")


def run(words, folder):
    return subprocess.run([PROGRAM, *words], cwd=folder, capture_output=True, text=True, timeout=200)


def listens(pid):
    """Whether it is the program by now, and no longer the shell, and has a handler for SIGINT."""
    try:
        if not os.path.samefile(f"/proc/{pid}/exe", PROGRAM):
            return False
        status = open(f"/proc/{pid}/status").read()
    except OSError:
        return False
    return int(status.split("SigCgt:")[1].split()[0], 16) >> (signal.SIGINT - 1) & 1


def interrupted(command, folder, is_reached):
    """Ctrl-C, as a terminal sends it, once is_reached() holds; how it ended and what it said."""
    demo = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, start_new_session=True)
    while demo.poll() is None and not (listens(demo.pid) and is_reached()):
        time.sleep(0.002)
    if demo.poll() is None:
        os.killpg(demo.pid, signal.SIGINT)
    said = demo.communicate(timeout=100)[1]
    return demo.returncode, said


def bits(folder):
    """Of everything that a demonstration makes and that is to be the same."""
    made = {}
    for name in ("model/model.safetensors", "model.gguf", "tokenizer.json", "held.txt"):
        with open(f"{folder}/{name}", "rb") as file:
            made[name] = hashlib.sha256(file.read()).hexdigest()
    result = json.load(open(f"{folder}/result.json"))
    made["result"] = {key: result[key] for key in ("steps", "bits_per_byte", "text", "loss")}
    hashes = json.loads(run(["runs", "hash", f"{folder}/run", "--json"], ".").stdout)
    made["run"] = {key: hashes[key] for key in ("weights", "optimizer", "rng", "cursor")}
    return made


def test_stopped_anywhere(folder):
    """In each phase, with a folder whose name no shell takes as it is."""
    demo = ["demo", "--steps", "10", "--seed", "3", "--text", "book.txt", "--second", "none", *HOW,
            "--out"]
    calm = run([*demo, "calm"], folder)
    assert calm.returncode == 0, calm.stderr
    out = "it's \"a\" #1"
    at = f"{folder}/{out}"

    def is_there(name):
        return lambda: os.path.exists(f"{at}/{name}") and os.path.getsize(f"{at}/{name}") > 0

    # each ends when its file appears; the work that is stopped is what comes after it
    phases = ("demo.lock", "train.txt", "tokenizer.json", "shards/data.json", "run/log.jsonl",
              "killed", "trained", "model/model.safetensors", "model.gguf", "eval.json")
    line = shlex.join([PROGRAM, *demo, out])
    stopped = 0
    for phase in phases:
        reached = is_there(phase) if phase != "demo.lock" else lambda: os.path.exists(f"{at}/demo.lock")
        code, said = interrupted(["sh", "-c", f"exec {line}"], folder, reached)
        assert code in (0, 75) and (code == 75 or phase in phases[-3:]), (phase, code, said)
        if code == 0:
            break  # it was faster than Ctrl-C at its end
        stopped += 1
        assert "this goes on: " in said, (phase, said)
        line = said.split("this goes on: ")[1].strip()
        if phase == "run/log.jsonl":  # it keeps to what it was begun with
            for option, was in (("--seed", "3"), ("--steps", "10"), ("--minutes", "4")):
                other = run(["demo", "--text", "book.txt", option, "9", "--out", out], folder)
                assert other.returncode == 2, other.stderr
                assert f"{option} {was}" in other.stderr and "goes on" in other.stderr, other.stderr
    assert stopped >= len(phases) - 3
    done = run(["demo", "--out", out], folder)  # the rest is in its plan
    assert done.returncode == 0, done.stderr
    assert "going on" in done.stderr or stopped < len(phases), done.stderr
    print(f"stopped in {stopped} phases of {len(phases)}")
    assert bits(at) == bits(f"{folder}/calm")
    return out


def test_what_it_offers(folder, out):
    """A finished one begins anew; its lines work in a shell as they stand, and the chip's options
    reach every command that computes."""
    demo = ["demo", "--steps", "8", "--text", "book.txt", "--second", "none", *HOW, "--out", out]
    again = subprocess.run([PROGRAM, *demo], cwd=folder, capture_output=True, text=True)
    assert again.returncode == 0 and "SIGKILL" in again.stderr, again.stderr
    tries = [line[2:] for line in again.stdout.split("Try next:")[1].splitlines() if line]
    assert len(tries) >= 5, again.stdout
    for line in tries:
        tried = subprocess.run(line, shell=True, cwd=folder, env=ENVIRONMENT, capture_output=True,
                               text=True)
        assert tried.returncode == 0, (line, tried.stderr)
        if line.split()[1] in ("generate", "eval"):
            assert "--isa portable" in line and "--threads 1" in line, line
    ran = [line for line in open(f"{folder}/{out}/commands.log") if line.startswith("$ ")]
    for command in ("train", "convert", "eval", "generate"):
        lines = [line for line in ran if line.startswith(f"$ mizan {command} ")]
        assert lines and all("--isa portable" in line for line in lines), (command, lines)


def test_by_the_clock(folder):
    """Measured and planned; the loss falls; one text is not judged by another's pieces."""
    demo = ["demo", "--minutes", "0.02", "--text", "book.txt", "--out", "d"]
    done = run(demo, folder)
    assert done.returncode == 0, done.stderr
    assert all(len(line) <= 80 for line in done.stderr.splitlines()), done.stderr
    steps = [json.loads(line)["step"] for line in open(f"{folder}/d/run/log.jsonl")]
    assert steps == list(range(1, len(steps) + 1)), steps
    result = json.load(open(f"{folder}/d/result.json"))
    assert result["schema"] == 1 and result["steps"] == len(steps)
    assert 0 < result["bits_per_byte"] < 8 and 0 < result["order2_bits_per_byte"] < 3, result
    assert open(f"{folder}/d/loss.svg").read().startswith("<"), "no picture"
    held = open(f"{folder}/d/held.txt").read()
    with open(f"{folder}/other.txt", "w") as file:
        file.write(held * 40)
    other = run(["other.txt" if word == "book.txt" else word for word in demo], folder)
    assert other.returncode == 2 and "another text" in other.stderr, other.stderr
    assert open(f"{folder}/d/held.txt").read() == held


def child_of(pid):
    """The one process that it has started."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = open(f"/proc/{name}/stat").read()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                return int(name)
    return None


def stood_still(folder, minutes, steps, seconds):
    """The training stands still for so long after so many steps; what the demonstration said."""
    out = f"slow{steps}"
    command = [PROGRAM, "demo", "--minutes", minutes, "--text", "book.txt", "--out", out, "--second",
               "none"]
    demo = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            text=True)
    log = f"{folder}/{out}/run/log.jsonl"
    while demo.poll() is None and not (os.path.exists(log) and open(log).read().count("\n") >= steps):
        time.sleep(0.002)
    try:
        child = child_of(demo.pid)
        if child is None:  # it was done before it could be stopped
            raise ProcessLookupError
        os.kill(child, signal.SIGSTOP)
        for _ in range(seconds * 10):
            os.kill(child, 0)
            time.sleep(0.1)
        os.kill(child, signal.SIGCONT)
    except ProcessLookupError:  # or it was killed, to begin anew
        pass
    said = demo.communicate(timeout=100)[1]
    assert demo.returncode == 0, said
    result = json.load(open(f"{folder}/{out}/result.json"))
    last = [json.loads(line) for line in open(log)][-1]
    assert result["steps"] == last["step"], (result, last)
    return said


def test_slow_machine(folder):
    """Planned anew while there is time, ended with what there is where there is none."""
    said = stood_still(folder, "0.05", 1, 4)
    assert "time is up after" in said, said
    said = stood_still(folder, "0.1", 3, 7)  # which of the two depends on how fast it is here
    assert "begun anew with" in said or "time is up after" in said, said


def test_two_ranks(folder):
    """A second chip that is asked for gets a share of every step; one that is not there is an
    error."""
    demo = ["demo", "--steps", "6", "--text", "book.txt", "--out", "two", "--json", "--second"]
    done = run([*demo, "far"], folder)
    assert done.returncode == 0, done.stderr
    assert "cpu and far" in done.stderr, done.stderr
    assert "share" in open(f"{folder}/two/run/train.yaml").read()
    result = json.loads(done.stdout)
    assert result["loss"] < result["first_loss"] and result["steps"] == 6, result
    none = run([*demo, "abacus"], folder)
    assert none.returncode == 69 and "abacus" in none.stderr, (none.returncode, none.stderr)


def main():
    with tempfile.TemporaryDirectory() as folder:
        text(f"{folder}/book.txt")
        if sys.argv[2] == "stopped":
            test_what_it_offers(folder, test_stopped_anywhere(folder))
        else:
            test_by_the_clock(folder)
            test_slow_machine(folder)
            test_two_ranks(folder)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The registry of runs through the program: who stands in it and as what, by which names a run is
called, what happens to it when folders move and vanish, and that nothing about it stops a run.

Usage: test_runs.py PROGRAM
"""

import fcntl
import glob
import json
import os
import pty
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unicodedata

PROGRAM = os.path.abspath(sys.argv[1])
STEPS = 12
ENDLESS = ("run.steps=10000000", "run.checkpoint_every=5")

CONFIG = """{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 300,
 "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
 "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
 "rope_theta": 10000.0, "tie_word_embeddings": true}
"""
YAML = f"""model: {{config: config.json}}
data: {{path: rows.jsonl, seq: 16}}
run: {{dir: first, steps: {STEPS}, checkpoint_every: 5}}
batch: {{global: 2, micro: 2}}
optim: {{lr: 1e-2}}
"""


class Place:
    """A folder with what a run needs, and a registry of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.state = os.path.join(folder, "state")
        self.processes = []
        self.environment = dict(os.environ, XDG_STATE_HOME=self.state, HOME=folder, NO_COLOR="1")
        self.write("config.json", CONFIG)
        self.write("train.yaml", YAML)
        self.write("rows.jsonl", "".join(
            json.dumps({"ids": [(7 * i + k * (i + 3)) % 300 for k in range(17)]}) + "\n"
            for i in range(64)))

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def run(self, *words, code=0, **more):
        done = subprocess.run([PROGRAM, *words], cwd=self.folder, env=self.environment,
                              capture_output=True, text=True, timeout=100, **more)
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done

    def train(self, run, *more, code=0):
        return self.run("train", "train.yaml", f"run.dir={run}", *more, code=code)

    def start(self, run, *more):
        """One that goes on until it is stopped, once its first checkpoint is there."""
        process = subprocess.Popen(
            [PROGRAM, "train", "train.yaml", f"run.dir={run}", *more], cwd=self.folder,
            env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        for _ in range(2000):
            if glob.glob(self.path(run, "checkpoints", "step-*", "manifest.json")):
                return process
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        raise AssertionError("no checkpoint came")

    def list(self, *words):
        said = json.loads(self.run("runs", "list", "--json", *words).stdout)
        assert said["schema"] == 1
        return {row["name"]: row for row in said["runs"]}

    def log(self, run):
        with open(self.path(run, "log.jsonl"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]


def hashed(place, word):
    return json.loads(place.run("runs", "hash", word, "--json").stdout)


def test_states(place):
    assert place.list() == {}
    assert not os.path.exists(place.state), "looking has made a registry"
    place.train("runs/first")
    row = place.list()["first"]
    last = place.log("runs/first")[-1]
    assert row["state"] == "finished" and row["gone"] is False and row["reason"] is None, row
    assert row["run"] == os.path.realpath(place.path("runs/first")), row
    assert (row["step"], row["steps"], row["loss"]) == (STEPS, STEPS, last["loss"]), row
    assert row["tokens"] == last["tokens"] and row["last"] == last
    assert row["family"] == "llama" and row["chips"] == "cpu" and len(row["config"]) == 64
    # embedding, q k v o, three of the MLP, three norms
    assert row["parameters"] == 300 * 32 + 32 * (32 + 16 + 16 + 32) + 3 * 32 * 64 + 3 * 32, row
    assert row["started"] <= row["ended"] and row["best_eval_loss"] is None

    process = place.start("runs/second", *ENDLESS)
    row = place.list()["second"]
    assert row["state"] == "running" and row["pid"] == process.pid and row["step"] >= 5, row
    assert set(place.list("--state", "running")) == {"second"}
    saved = json.loads(place.run("runs", "save", "second", "--json").stdout)
    assert saved["run"] == row["run"] and saved["step"] >= row["step"], saved
    place.run("runs", "rm", "second", code=75)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75
    stopped = place.list()["second"]
    assert stopped["state"] == "stopped" and "stopped after step" in stopped["reason"], stopped
    assert stopped["loss"] == place.log("runs/second")[-1]["loss"]

    process = place.start("runs/third", *ENDLESS)
    process.kill()
    process.wait(60)
    before = place.list()["third"]
    assert before["state"] == "failed" and "its process is gone" in before["reason"], before
    assert place.list()["third"] == before, "a second look says something else"
    place.train("runs/third", f"run.steps={len(place.log('runs/third')) + 3}",
                "run.checkpoint_every=5")
    after = place.list()["third"]
    assert after["state"] == "finished" and after["reason"] is None, after
    assert after["id"] == before["id"] and after["started"] == before["started"]
    assert after["steps"] == after["step"] == len(place.log("runs/third"))

    place.train("runs/fourth", "guard.most=1", "guard.sigma=1e-9", "guard.window=2", code=77)
    row = place.list()["fourth"]
    assert row["state"] == "failed" and "skipped" in row["reason"], row
    # same configuration but for the folder: same digest
    place.train("runs/fifth")
    rows = place.list()
    assert rows["fifth"]["config"] == rows["first"]["config"] != rows["fourth"]["config"]


def test_ranks(place):
    place.train("two", "ranks=[{chip: cpu, share: 1}, {chip: far, share: 1}]")
    row = place.list()["two"]
    assert row["state"] == "finished" and row["chips"] == "cpu, far", row
    shown = json.loads(place.run("runs", "show", "two", "--json").stdout)
    assert shown["entry"]["id"] == row["id"] and shown["faults"] == []
    assert shown["last"] == place.log("two")[-1]
    with open(place.path("two", "ranks.jsonl"), "a", encoding="utf-8") as file:
        file.write(json.dumps({"event": "fault", "time": 1.8e9, "kind": "crash", "rank": 1,
                               "chip": "far", "message": "rank 1 died \x1b[2J"}) + "\n")
    text = place.run("runs", "show", "two").stdout
    assert "rank 1 died ?[2J" in text and "cpu, far" in text, text


def test_names(place):
    place.train("runs/first")
    place.train("other/second")
    place.train("demo/run")
    rows = place.list()
    assert set(rows) == {"first", "second", "demo"}, rows
    by_path = hashed(place, "runs/first")
    assert hashed(place, "first") == by_path
    assert hashed(place, rows["first"]["id"]) == by_path
    assert hashed(place, rows["first"]["id"][:6]) == by_path
    assert hashed(place, place.path("runs", "first")) == by_path
    place.write("demo/train.yaml", YAML)  # what it was trained from lies beside it: still its name
    assert hashed(place, "demo") == hashed(place, "demo/run")
    place.run("runs", "hash", rows["first"]["id"][:3], code=74)  # too short for an id
    near = place.run("runs", "hash", "secnd", code=74).stderr
    assert "did you mean second?" in near, near
    for command in ("show", "plot", "compare"):
        words = ["first"] if command != "compare" else ["first", rows["second"]["id"]]
        place.run("runs", command, *words)
    names = place.run("runs", "names").stdout.splitlines()
    assert names == ["demo", "first", "second"], names
    place.train("again/first")
    names = place.run("runs", "names").stdout.splitlines()
    assert len(names) == 4 and rows["first"]["id"] in names and "first" not in names, names
    said = place.run("runs", "hash", "first", code=2).stderr
    assert rows["first"]["id"] in said and "again/first" in said, said
    os.rename(place.path("again"), place.path("hidden"))  # one that is there before one that is gone
    assert hashed(place, "first") == by_path
    os.rename(place.path("hidden"), place.path("again"))
    os.mkdir(place.path("work"))  # a folder that is there is meant before a name
    done = subprocess.run([PROGRAM, "runs", "hash", "first", "--json"], cwd=place.path("runs"),
                          env=place.environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == by_path

    assert list(place.list("--sort", "name", "--limit", "2")) == ["demo", "first"]
    assert set(place.list("--name", "sec")) == {"second"}
    assert place.list("--model", "qwen") == {} and len(place.list("--model", "lla")) == 3
    place.run("runs", "list", "--state", "flying", code=2)
    table = place.run("runs", "list").stdout.splitlines()
    assert len(table) == 5 and all(len(line) <= 80 for line in table), table
    assert len(place.list("runs")) == 1 and "first" in place.list("runs")


def columns(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def test_table(place):
    """Names of any script, of any length, and such as would move the cursor: ids stand in one column."""
    names = ["天平", "ميزان", "weegschaal", "a\x1b[2Jb", "\udcff\udcfe", "天" * 25, "x" * 90]
    for name in names:
        place.train(f"runs/{name}")
    done = subprocess.run([PROGRAM, "runs", "list"], cwd=place.folder, env=place.environment,
                          capture_output=True, check=True)
    lines = done.stdout.decode("utf-8").splitlines()  # nothing is cut inside a character
    assert len(lines) == len(names) + 1 and "\x1b" not in "".join(lines), lines
    assert all(columns(line) <= 80 for line in lines), lines
    found = {columns(line[:re.search(r"  [0-9a-f]{6}  finished", line).start()])
             for line in lines[1:]}
    assert len(found) == 1 and columns(lines[0][:lines[0].index("  id")]) <= found.pop(), lines
    assert any("天平" in line for line in lines) and any("ميزان" in line for line in lines)
    assert any("a?[2Jb" in line for line in lines) and any("?? " in line for line in lines), lines


def test_folders(place):
    place.train("runs/first")
    place.train("runs/second")
    rows = place.list()
    os.rename(place.path("runs", "first"), place.path("moved"))
    row = place.list()["first"]
    assert row["gone"] is True and row["state"] == "finished" and row["last"] is None, row
    assert set(place.list("--state", "gone")) == {"first"}
    assert " gone " in place.run("runs", "list").stdout
    said = place.run("runs", "hash", "first", code=74).stderr
    assert "is gone" in said and "runs add" in said, said
    place.run("runs", "add", ".")
    again = place.list()
    assert again["moved"]["id"] == rows["first"]["id"] and not again["moved"]["gone"], again
    assert set(again) == {"moved", "second"}

    # a copy is a run of its own
    shutil.copytree(place.path("moved"), place.path("copy"))
    place.run("runs", "add", "copy")
    rows = place.list()
    assert set(rows) == {"moved", "second", "copy"} and rows["copy"]["id"] != rows["moved"]["id"]

    # lost, and made anew: the same ids, and all that the folders know
    shutil.rmtree(place.state)
    added = json.loads(place.run("runs", "add", ".", "--json").stdout)["runs"]
    anew = place.list()
    assert {row["name"] for row in added} == set(anew) == set(rows)
    for name, row in rows.items():
        for key in ("id", "state", "step", "steps", "loss", "config", "family", "parameters"):
            assert anew[name][key] == row[key], (name, key, anew[name], row)
    place.run("runs", "add", "state", code=74)

    shutil.rmtree(place.path("copy"))
    place.run("runs", "rm", "copy")
    place.run("runs", "rm", "moved")
    assert set(place.list()) == {"second"} and not os.path.exists(place.path("moved"))
    place.train("kept")
    shutil.rmtree(place.path("runs", "second"))
    place.run("runs", "rm", code=2)
    place.run("runs", "rm", "kept", "--gone", code=2)
    assert place.run("runs", "rm", "--gone").stdout == "1 forgotten\n"
    assert set(place.list()) == {"kept"} and os.path.exists(place.path("kept"))


def test_terminal(place):
    """`runs rm` asks where somebody can answer."""
    def ask(answer, *words):
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(place.folder)
            os.execve(PROGRAM, [PROGRAM, "runs", "rm", *words], place.environment)
        text = b""
        answered = False
        while True:
            try:
                more = os.read(terminal, 4096)
            except OSError:
                break
            if not more:
                break
            text += more
            if b"[y/N]" in text and not answered:
                os.write(terminal, answer)
                answered = True
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text.decode(), answered

    place.train("first")
    code, text, answered = ask(b"n\n", "first")
    assert code == 75 and answered and "kept" in text and os.path.exists(place.path("first")), text
    code, text, answered = ask(b"\n", "first")
    assert code == 75 and answered and os.path.exists(place.path("first")), text
    code, text, answered = ask(b"y\n", "first")
    assert code == 0 and answered and not os.path.exists(place.path("first")), text
    place.train("first")
    code, text, answered = ask(b"", "first", "--yes")
    assert code == 0 and not answered and place.list() == {}, text


def checksum(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def fields(data):
    """Pairs of a protocol buffer: number of the field, value."""
    def varint(at):
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if data[at - 1] < 128:
                return value, at

    at, found = 0, []
    while at < len(data):
        key, at = varint(at)
        if key & 7 == 0:
            value, at = varint(at)
        elif key & 7 == 2:
            size, at = varint(at)
            value, at = data[at:at + size], at + size
        else:
            size, how = {1: (8, "<d"), 5: (4, "<f")}[key & 7]
            value, at = struct.unpack(how, data[at:at + size])[0], at + size
        found.append((key >> 3, value))
    return found


def events(place, run):
    """{step: {tag: value}} as a reader of all files sees it, who drops what a later start makes anew;
    and how many files there are."""
    seen, names = {}, sorted(glob.glob(place.path(run, "tensorboard", "events.out.tfevents.*")))
    for name in names:
        with open(name, "rb") as file:
            data = file.read()
        at = number = 0
        while len(data) - at >= 12:
            size, crc = struct.unpack("<QI", data[at:at + 12])
            assert crc == checksum(data[at:at + 8])
            if len(data) - at < size + 16:
                break  # torn
            body = data[at + 12:at + 12 + size]
            assert struct.unpack("<I", data[at + 12 + size:at + 16 + size])[0] == checksum(body)
            event = dict(fields(body))
            if number == 0:
                assert event[3] == b"brain.Event:2" and event[1] > 1e9
            if number == 1:
                assert event[7] == b"\x08\x01", "no START"
                seen = {step: values for step, values in seen.items() if step < event[2]}
            if 5 in event:
                values = {}
                for _, value in fields(event[5]):
                    value = dict(fields(value))
                    values[value[1].decode()] = value[2]
                assert event[2] not in seen, ("a step twice", event[2])
                seen[event[2]] = values
            at += size + 16
            number += 1
    return seen, len(names)


def same_as_log(place, run):
    seen, files = events(place, run)
    log = place.log(run)
    assert list(seen) == [line["step"] for line in log], run
    for line in log:
        keys = {"loss", "lr", "grad_norm", "tokens_per_s", "flops_per_s", "skipped"}
        keys |= {"eval_loss", "expert_load"} & set(line)
        assert set(seen[line["step"]]) == keys, (line, seen[line["step"]])
        for key in keys:
            want = struct.unpack("<f", struct.pack("<f", line[key]))[0]
            assert seen[line["step"]][key] == want, (run, line["step"], key)
    return files


def test_tensorboard(place):
    validation = ("run.eval_every=4", "run.eval_samples=8", "data.validation=rows.jsonl")
    place.train("plain", *validation)
    assert same_as_log(place, "plain") == 1
    assert sum("eval_loss" in line for line in place.log("plain")) == STEPS // 4
    place.train("plain", *validation)  # nothing is left to do
    assert same_as_log(place, "plain") == 1

    process = place.start("killed", *ENDLESS)
    process.kill()
    process.wait(60)
    before, _ = events(place, "killed")
    newest = max(glob.glob(place.path("killed", "tensorboard", "*")))
    with open(newest, "ab") as file:  # a record that was being written
        file.write(b"\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\x09\x01")
    place.train("killed", f"run.steps={len(before) + 3}", "run.checkpoint_every=5")
    assert same_as_log(place, "killed") == 2
    place.train("killed", f"run.steps={len(before) + 5}", "run.checkpoint_every=5")
    assert same_as_log(place, "killed") == 3

    place.train("ranks", "ranks=[{chip: cpu, share: 1}, {chip: far, share: 1}]", *validation)
    assert same_as_log(place, "ranks") == 1

    place.train("none", "run.tensorboard=false")
    assert not os.path.exists(place.path("none", "tensorboard"))
    os.mkdir(place.path("hindered"))
    place.write("hindered/tensorboard", "a file in the way")
    done = place.train("hindered")
    assert done.stderr.count("no more events for TensorBoard") == 1, done.stderr
    assert [line["loss"] for line in place.log("hindered")] == \
        [line["loss"] for line in place.log("none")]


def test_broken(place):
    """Whatever the registry is, the run is made, with the same numbers and one warning."""
    registry = os.path.join(place.state, "mizan", "runs.db")
    place.train("good")
    want = [(line["step"], line["loss"], line["grad_norm"]) for line in place.log("good")]

    def trains(name, want_word):
        done = place.train(name)
        warnings = [line for line in done.stderr.splitlines() if "registry" in line]
        assert len(warnings) == 1 and want_word in warnings[0], done.stderr
        got = [(line["step"], line["loss"], line["grad_norm"]) for line in place.log(name)]
        assert got == want, name
        place.run("runs", "show", name)  # a folder is enough
        return done

    shutil.rmtree(place.state)
    os.makedirs(os.path.dirname(registry))
    with open(registry, "w", encoding="utf-8") as file:
        file.write("this is no database " * 100)
    trains("damaged", "is no registry")
    said = place.run("runs", "list", code=76).stderr
    assert "runs add" in said, said

    os.remove(registry)
    other = sqlite3.connect(registry)
    other.execute("PRAGMA user_version = 1000")
    other.close()
    trains("newer", "newer")
    place.run("runs", "list", code=69)

    shutil.rmtree(place.state)
    place.write("state", "a file where the folder should be")
    trains("unwritable", "registry")
    os.remove(place.state)

    place.train("made")
    other = sqlite3.connect(registry, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    trains("locked", "held by another process")
    other.execute("COMMIT")
    other.close()
    assert set(place.list()) == {"made"}
    place.run("runs", "add", "locked")
    assert set(place.list()) == {"made", "locked"}

    environment = {key: value for key, value in place.environment.items()
                   if key not in ("HOME", "XDG_STATE_HOME")}
    done = subprocess.run([PROGRAM, "train", "train.yaml", "run.dir=homeless"], cwd=place.folder,
                          env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and len(place.log("homeless")) == STEPS, done.stderr
    assert sum("registry" in line for line in done.stderr.splitlines()) == 1, done.stderr


def test_together(place):
    processes = [subprocess.Popen([PROGRAM, "train", "train.yaml", f"run.dir=run{i}",
                                   "--threads", "1"], cwd=place.folder, env=place.environment,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                 for i in range(6)]
    for process in processes:
        said = process.communicate(timeout=100)[1]
        assert process.returncode == 0 and "registry" not in said, said
    rows = place.list()
    assert set(rows) == {f"run{i}" for i in range(6)}
    assert len({row["id"] for row in rows.values()}) == 6
    assert {row["state"] for row in rows.values()} == {"finished"}


def screen(text):
    """What a terminal shows in the end, and the widest line that it was given."""
    lines, row, column, widest, at = [""], 0, 0, 0, 0
    while at < len(text):
        code = re.compile(r"\x1b\[(\d*)([A-Za-z])").match(text, at)
        if code:
            count, kind = code.groups()
            if kind == "A":
                row -= int(count)
                assert row >= 0, "above the screen"
            elif kind == "K":
                lines[row] = lines[row][:column]
            elif kind == "J":
                lines[row] = lines[row][:column]
                del lines[row + 1:]
            at = code.end()
            continue
        if text[at] == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif text[at] == "\r":
            column = 0
        else:
            lines[row] = lines[row][:column].ljust(column) + text[at] + lines[row][column + 1:]
            column += 1
            widest = max(widest, column)
        at += 1
    return lines, widest


def on_terminal(place, rows, columns, *words):
    """Gives the exit code and all that was written to a terminal of that size."""
    environment = dict(place.environment, TERM="xterm", LC_ALL="C.UTF-8")
    if "NO_COLOR" not in words:
        del environment["NO_COLOR"]
    words = [word for word in words if word != "NO_COLOR"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(place.folder)
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(1, termios.TIOCSWINSZ, size)
        os.execve(PROGRAM, [PROGRAM, *words], environment)
    text = b""
    while True:
        try:
            more = os.read(terminal, 65536)
        except OSError:
            break
        if not more:
            break
        text += more
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text.decode()


def test_watch(place):
    process = place.start("first", "run.steps=900", "run.checkpoint_every=300",
                          "data.validation=rows.jsonl", "run.eval_every=100", "run.eval_samples=2")
    said = place.run("runs", "watch", "first", "--json", "--every", "0.05").stdout
    assert process.wait(60) == 0
    rows = [json.loads(line) for line in said.splitlines()]
    log = place.log("first")
    best = min((line for line in log if "eval_loss" in line), key=lambda line: line["eval_loss"])
    for row in rows:
        line = log[row["step"] - 1]
        for key in ("loss", "lr", "grad_norm", "tokens_per_s", "tokens", "skipped", "time"):
            assert row[key] == line[key], (row, key, line)
        assert row["schema"] == 1 and row["steps"] == 900 and row["ranks"] == 1
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert {row["state"] for row in rows[:-1]} <= {"running"}, rows
    assert (rows[-1]["state"], rows[-1]["step"], rows[-1]["seconds_left"]) == ("finished", 900, 0)
    assert rows[-1]["best_eval_step"] == best["step"], (rows[-1], best)

    text = place.run("runs", "watch", "first").stdout
    assert text.splitlines()[-1] == "finished" and "step 900/900" in text and "\x1b" not in text
    text = place.run("runs", "watch", "first", "--once").stdout
    assert max(map(len, text.splitlines())) <= 80 and "100.0 %" in text, text
    assert len(text.splitlines()) <= 24 and "first (" in text and "best" in text

    for how, state in ((signal.SIGTERM, "stopped"), (signal.SIGKILL, "failed")):
        process = place.start(state, *ENDLESS)
        watch = subprocess.Popen([PROGRAM, "runs", "watch", state, "--every", "0.05"],
                                 cwd=place.folder, env=place.environment, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        first = watch.stdout.readline()
        assert " left " in first or "step" in first, first
        process.send_signal(how)
        process.wait(60)
        out, err = watch.communicate(timeout=60)
        assert watch.returncode == 75, err
        assert out.splitlines()[-1].startswith(f"{state}: "), (state, out)
        assert place.list()[state]["state"] == state

    place.start("live", *ENDLESS).kill()  # dead, and nobody has looked since
    code, text = on_terminal(place, 24, 80, "runs", "watch", "live", "--every", "0.05")
    lines, widest = screen(text)
    assert code == 75 and widest <= 80 and any("process is gone" in line for line in lines), lines

    process = place.start("more", "run.steps=1000", "run.checkpoint_every=300")
    code, text = on_terminal(place, 14, 60, "runs", "watch", "more", "--every", "0.05")
    assert process.wait(60) == 0 and code == 0
    lines, widest = screen(text)
    titles = [line for line in lines if line.startswith("more (")]
    assert len(titles) == 1 and "finished" in titles[0], lines
    assert lines[-2] == "finished" and widest <= 60 and len(lines) <= 15, lines
    assert any("step 1000/1000" in line for line in lines), lines
    assert any("│" in line for line in lines), lines
    code, text = on_terminal(place, 14, 60, "NO_COLOR", "runs", "watch", "more")
    assert code == 0 and "\x1b" not in text, text
    place.run("runs", "watch", "nothing", code=74)


def main():
    fast = "/dev/shm" if os.path.isdir("/dev/shm") else None
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    for name, test in sorted(globals().items()):
        if re.match("test_" + only, name):
            with tempfile.TemporaryDirectory(prefix="mz-runs-", dir=fast) as folder:
                place = Place(folder)
                try:
                    test(place)
                finally:  # none goes on for ever
                    for process in place.processes:
                        process.kill()
                        process.wait(60)


if __name__ == "__main__":
    main()

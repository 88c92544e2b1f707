#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every kind of fault at calls of every phase, through the real backend.

Usage: test_emu_sweep.py PROGRAM

Phases: bind (from the start to the first operator), step and save of a training, serve (a generation, which is
what serves today), and rank (a step again, the Ascend beside a cpu: its rank dies alone, and the run goes on).
Each kind strikes at up to 50 calls of each phase, spread from its first to its last, of those that the kind can
strike; missing libraries and symbols are tried by name. A random sample in BUDGET seconds, of which the seed is
printed; with MIZAN_LONG=N all, N positions each (1: 50). MIZAN_SEED: another sample.

What must be: the process ends in time with a documented code, its message names the chip, the driver's code and,
once work was enqueued, the operators since the last good sync (or the call that failed), checkpoints are whole,
and a run goes on to the bits of one that nothing happened to. In a sanitizer's build leaks fail too.
"""

import concurrent.futures
import os
import random
import re
import subprocess
import sys
import tempfile
import time

from emu_tool import CONFIG, Tool, host_calls, write

PROGRAM = os.path.abspath(sys.argv[1])
TOOL = Tool(PROGRAM)
BUDGET, WORKERS, DEADLINE = 20, 2, 60
EACH = int(os.environ.get("MIZAN_LONG", "0"))
CALLS_H = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src", "chips", "ascend", "calls.h")

SAVING = CONFIG.replace("checkpoint_every: 2", "checkpoint_every: 2, checkpoint_async: false")
ALONE = SAVING + "ranks: [{chip: ascend:0}]\n" # as a rank: without a measurement, whose calls vary in number
ALONE = ALONE.replace("async: false", "async: false, on_fault: stop")
BESIDE = SAVING.replace("micro: 2", "micro: 1") + "ranks: [{chip: cpu}, {chip: ascend:0}]\n"

# kind: which calls it strikes, the driver's codes of which one is named, none where nobody is told
ENTRY, TASK, MEMORY = "entry", "task", "memory"
KINDS = {"out_of_memory": (MEMORY, ["207001"]), "error": (ENTRY, ["361001"]), "late": (TASK, ["507015"]),
         "endless": (TASK, ["507046", "507047"]), "ecc": (TASK, ["507054"]), "device_lost": (TASK, ["507010"]),
         "silent": (TASK, []), "flip": (TASK, [])}
UNGATED = ("aclrtFree", "aclrtFreeHost")


def is_struck(name, which):
    if which == MEMORY:
        return name in ("aclrtMalloc", "aclrtMallocHost")
    if which == ENTRY:
        return name not in UNGATED
    return name in ("aclrtMemcpyAsync", "aclrtMemsetAsync") or (
        name.startswith("aclnn") and not name.endswith("GetWorkspaceSize"))


def numbered(calls):
    """(name, how many of that name so far) of each call, as a plan counts them."""
    seen, out = {}, []
    for name in calls:
        seen[name] = seen.get(name, 0) + 1
        out.append((name, seen[name]))
    return out


def phases_of(calls):
    """Which phase each call of a training is of."""
    out, phase, updates = [], "bind", 0
    for i, name in enumerate(calls):
        if phase == "bind" and name == "aclnnIndexSelect":
            phase = "step"
        if name == "aclnnApplyAdamWV2":
            rest = calls[i + 1:]
            ahead = rest[:rest.index("aclrtMemsetAsync")] if "aclrtMemsetAsync" in rest else rest
            out.append(phase)
            if "aclnnApplyAdamWV2" not in ahead:  # the last of a step
                updates += 1
                phase = "save" if updates % 2 == 0 else "step"
            continue
        if phase == "save" and name == "aclrtMemsetAsync":
            phase = "step"
        out.append(phase)
    return out


def spread(places, most):
    if len(places) <= most:
        return places
    return [places[k * (len(places) - 1) // (most - 1)] for k in range(most)]


class Worker:
    """A folder of its own, in which faulted commands run."""

    def __init__(self, name, shared):
        self.folder = os.path.abspath(name)
        os.makedirs(self.folder)
        for file in ("shards", "tokenizer.json", "config.json"):
            subprocess.run(["cp", "-r", os.path.join(shared, file), self.folder], check=True)
        for config, text in (("alone.yaml", ALONE), ("beside.yaml", BESIDE)):
            write(os.path.join(self.folder, config), text.replace("RUN", "run"))

    def run(self, command, plan=None):
        words = [PROGRAM, "emu", "ascend"]
        if plan:
            words += ["--fault-plan", write(os.path.join(self.folder, "plan.yaml"), plan)]
        start = time.monotonic()
        done = subprocess.run([*words, "--", *command], capture_output=True, text=True, timeout=2 * DEADLINE,
                              cwd=self.folder, env=dict(os.environ, MIZAN_DEVICE_WAIT="1"))
        assert time.monotonic() - start < DEADLINE, (plan, "hangs")
        return done

    def clear(self):
        subprocess.run(["rm", "-rf", os.path.join(self.folder, "run")], check=True)


TRAIN = {"bind": "alone.yaml", "step": "alone.yaml", "save": "alone.yaml", "rank": "beside.yaml"}


class Sweep:
    def __init__(self):
        TOOL.make_run()
        self.shared = os.getcwd()
        TOOL.train("whole")
        self.model = os.path.abspath(os.path.join("whole", "checkpoints", "step-00000006"))
        self.serving = [PROGRAM, "generate", self.model, "--prompt", "The", "--max-tokens", "4", "--chip",
                        "hosted:ascend"]
        first = Worker("first", self.shared)
        self.want, self.places = {}, {}
        for config in ("alone.yaml", "beside.yaml"):
            first.clear()
            TOOL.emu("--trace", "t.json", command=["sh", "-c", f"cd {first.folder} && {PROGRAM} train {config}"])
            calls = host_calls("t.json")
            os.remove("t.json")
            self.want[config] = TOOL.mizan("runs", "hash", os.path.join(first.folder, "run"))
            for place, phase in zip(numbered(calls), phases_of(calls)):
                if config == "beside.yaml":
                    phase = "rank" if phase == "step" else None
                if phase:
                    self.places.setdefault(phase, []).append(place)
        TOOL.emu("--trace", "t.json", command=self.serving)
        self.places["serve"] = numbered(host_calls("t.json"))

    def trials(self, most):
        """Everything there is to try: (kind, phase, the plan's line, codes that are named)."""
        out, empty = [], []
        for kind, (which, codes) in KINDS.items():
            for phase in ("bind", "step", "save", "serve", "rank"):
                here = spread([p for p in self.places[phase] if is_struck(p[0], which)], most)
                if not here:
                    empty.append(f"{kind} in {phase}")
                for name, at in here:
                    out.append((kind, phase, f"- {{kind: {kind}, call: {name}, at: {at}}}\n", codes))
        with open(CALLS_H, encoding="utf-8") as file:
            names = re.findall(r"X\((\w+)\)", file.read())
        names = [name for name in names if name != "name" and not name.startswith("Hccl")]
        for name in names:
            symbol = name if name.startswith("acl") else f"aclnn{name}GetWorkspaceSize"
            for phase in ("bind", "serve"):
                out.append(("missing_symbol", phase, f"- {{kind: missing_symbol, symbol: {symbol}}}\n",
                            [symbol.replace("GetWorkspaceSize", "")]))
        for library in ("libascendcl.so", "libnnopbase.so", "libopapi.so", "libopapi_nn.so", "libopapi_math.so"):
            for phase in ("bind", "serve"):
                out.append(("missing_library", phase, f"- {{kind: missing_library, library: {library}}}\n", [library]))
        for version in ("0.0.0", "1.0.0", "1.8.3", "1.12.0", "1.12.9"):
            for phase in ("bind", "serve"):
                out.append(("version", phase, f"- {{kind: version, version: {version}}}\n", [version]))
        return out, empty

    def judge(self, done, trial):
        kind, phase, plan, codes = trial
        where = (trial, done.returncode, done.stdout[-500:], done.stderr)
        assert "Sanitizer" not in done.stderr and "mistake in Mizan" not in done.stderr, where
        assert done.returncode in (0, 69, 74, 75, 76, 77), where
        told = done.stderr if phase != "rank" else done.stderr + done.stdout
        if done.returncode == 0 and phase != "rank":
            return
        if not codes or (phase == "rank" and "rank 1" not in told):
            return
        assert any(code in told for code in codes), where
        if kind in ("missing_library", "missing_symbol", "version"):
            assert "ascend" in told or "CANN" in told, where
            return
        assert "chip ascend" in told or "chip hosted:ascend" in told or "the NPU does not open" in told, where
        late = kind in ("late", "endless", "ecc", "device_lost")
        assert not (late or phase in ("step", "save")) or "since the last good sync" in told, where
        call = plan.split("call: ")[1].split(",")[0]
        assert late or call in told or call.replace("GetWorkspaceSize", "") in told or \
            call.replace("Stream", "StreamWithTimeout") in told, where

    def has_lost_nothing(self, run, phase):
        return TOOL.mizan("runs", "hash", run) == self.want[TRAIN[phase]]

    def try_one(self, worker, trial):
        """Whether the command ended early."""
        phase, plan = trial[1], trial[2]
        if phase == "serve":
            done = worker.run(self.serving, plan)
            self.judge(done, trial)
            return done.returncode != 0
        worker.clear()
        command = [PROGRAM, "train", TRAIN[phase]]
        done = worker.run(command, plan)
        self.judge(done, trial)
        run = os.path.join(worker.folder, "run")
        steps = os.path.join(run, "checkpoints")
        for step in os.listdir(steps) if os.path.isdir(steps) and trial[3] else []:
            TOOL.mizan("verify", os.path.join(steps, step))
        if not trial[3] or "missing" in trial[0] or trial[0] == "version":
            return done.returncode != 0
        if phase == "rank":  # it dies alone and is told of, or nothing came of it
            with open(os.path.join(run, "ranks.jsonl"), encoding="utf-8") as file:
                events = file.read()
            told = any(code in events for code in trial[3])
            assert done.returncode == 0, (trial, done.returncode, done.stderr)
            assert told or self.has_lost_nothing(run, phase), (trial, "not told", done.stderr)
            return told
        if done.returncode != 0:
            again = worker.run(command)
            assert again.returncode == 0, (trial, again.stderr)
        assert self.has_lost_nothing(run, phase), (trial, done.returncode, "other bits", done.stderr)
        return done.returncode != 0


def main():
    long = EACH if EACH > 1 else 50
    seed = int(os.environ.get("MIZAN_SEED", str(random.randrange(1 << 30))))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["TMPDIR"] = os.path.join(folder, "tmp")
        os.makedirs(os.environ["TMPDIR"])
        sweep = Sweep()
        trials, empty = sweep.trials(long)
        print(f"seed {seed}; {len(trials)} trials; no such call: {', '.join(empty)}", flush=True)
        if not EACH:
            random.Random(seed).shuffle(trials)
        workers = [Worker(f"worker{i}", sweep.shared) for i in range(WORKERS)]
        begun, counts, failed = time.monotonic(), {}, []

        def work(i):
            for trial in trials[i::WORKERS]:
                if not EACH and time.monotonic() - begun > BUDGET:
                    return
                row = counts.setdefault((trial[0], trial[1]), [0, 0])
                row[0] += 1
                try:
                    ended = sweep.try_one(workers[i], trial)
                    row[1] += ended
                except (AssertionError, subprocess.SubprocessError) as e:
                    failed.append(e)
                    print("FAILED", e, flush=True)

        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(work, range(WORKERS)))
        for (kind, phase), (n, ended) in sorted(counts.items()):
            print(f"{kind:16} {phase:6} {n:4} struck, {ended:4} ended by it")
        n = sum(row[0] for row in counts.values())
        print(f"{n} faults, {sum(row[1] for row in counts.values())} ended a command, {len(failed)} failures; seed {seed}")
        assert not failed


if __name__ == "__main__":
    main()

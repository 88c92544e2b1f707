# SPDX-License-Identifier: Apache-2.0
"""Every operator alone, on our chips and in PyTorch on the processor, in turn (operator by operator, A B C A B C ...), on the same cores.

  kernels.py [--threads N] [--rounds N] [--repetitions N] [--chips cpu,opencl] [--only OP,OP] [--out FILE.csv] [--page FILE.md]

Each repetition is a row of the CSV. A figure of the table is the median of the rounds, each of which is the median of its repetitions;
a ratio is the median of the rounds' ratios, PyTorch's time to ours: above 1 ours is faster. PyTorch's interpreter is that of
tools/check_peers, or MIZAN_PEERS_PYTHON. With --threads fewer than there are cores all of them are tied to the first ones."""

import argparse
import csv
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIZAN = os.environ.get("MIZAN_PROGRAM", str(ROOT / "build" / "mizan"))
PYTHON = os.environ.get("MIZAN_PEERS_PYTHON", str(ROOT / ".cache/peers/bin/python"))
FIELDS = ["op", "pass", "dtype", "who", "how", "round", "repetition", "ns"]
OPS = ("matmul experts rmsnorm rope attention decode swiglu embed router permute unpermute xent adamw sumsq finite cast elementwise "
       "reduce rows sample").split()


def environment(threads):
    """PoCL, OpenMP and what else counts threads by itself."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "POCL_MAX_PTHREAD_COUNT": str(threads)}


class Torch:
    def __init__(self, options):
        self.version, self.child = None, None
        if not os.access(PYTHON, os.X_OK):
            print("kernels: no PyTorch here, tools/check_peers installs it; only our own are timed", file=sys.stderr)
            return
        words = [PYTHON, "-B", str(ROOT / "bench/torch_ops.py"), str(options.threads), str(options.repetitions)]
        self.child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(options.threads))
        self.version = json.loads(self.child.stdout.readline())["version"]

    def ask(self, rows):
        self.child.stdin.write(json.dumps(rows) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def end(self):
        if self.child:
            self.child.stdin.close()
            self.child.wait()


def ask_mizan(chip, op, options):
    done = subprocess.run([MIZAN, "bench", "ops", op, "--chip", chip, "--threads", str(options.threads), "--repetitions",
                           str(options.repetitions), "--json"], capture_output=True, text=True, env=environment(options.threads))
    if done.returncode:
        print(f"kernels: {op} on {chip}: {done.stderr.strip()[-200:]}", file=sys.stderr)
        return {"ops": [], "model": "", "isa": ""}
    return json.loads(done.stdout)


def measure(options, rows):
    """{(op, pass, dtype): {who: [median of each round]}}, {the same: how}, what the machine is."""
    torch, found, how, machine = Torch(options), {}, {}, {}

    def put(who, turn, ops):
        for o in ops:
            key = o["op"], o["pass"], o["dtype"]
            found.setdefault(key, {}).setdefault(who, []).append(statistics.median(o["ns"]))
            if "how" in o:
                how[key] = o["how"]
            for i, ns in enumerate(o["ns"]):
                rows.writerow(dict(zip(FIELDS, [*key, who, o.get("how", o.get("state")), turn, i, ns])))

    for op in options.only or OPS:
        for chip in options.chips:  # what a driver compiles, it compiles now
            ask_mizan(chip, op, argparse.Namespace(threads=options.threads, repetitions=1))
        for turn in range(options.rounds):
            shapes = []
            for chip in options.chips:
                said = ask_mizan(chip, op, options)
                machine[chip] = " ".join(w for w in (said["model"], said["isa"]) if w)
                shapes = shapes or said["ops"]
                put(chip, turn, said["ops"])
            if torch.child:
                put("pytorch", turn, torch.ask(shapes))
        print(f"  {op}", file=sys.stderr, flush=True)
    torch.end()
    return found, how, machine, torch.version


def ratio(theirs, ours):
    return f"{statistics.median(a / b for a, b in zip(theirs, ours)):.2f}" if theirs and ours else ""


def table(found, how, chips):
    lines = [["operator", "pass", "dtype", *(f"{c}, us" for c in chips), "PyTorch, us", *(f"PyTorch / {c}" for c in chips), "PyTorch's"]]
    for key, who in found.items():
        times = [f"{statistics.median(who[c]) / 1e3:.0f}" if c in who else "" for c in [*chips, "pytorch"]]
        lines.append([*key, *times, *(ratio(who.get("pytorch"), who.get(c)) for c in chips), how.get(key, "")])
    return lines


def page(lines, options, machine, version, loads):
    head = ["|" + "|".join(f" {c} " for c in lines[0]) + "|", "|---|---|---|" + "---:|" * (len(lines[0]) - 4) + "---|"]
    body = ["|" + "|".join(f" {c} " for c in line) + "|" for line in lines[1:]]
    chips = "; ".join(f"`{c}`: {what}" for c, what in machine.items())
    return f"""# Operators alone, beside PyTorch's

`bench/kernels.py` wrote this page on {datetime.date.today()}. {chips}; PyTorch {version} on the processor. Threads on each side:
{options.threads}, on the same cores. {options.rounds} rounds in turn, operator by operator, of {options.repetitions} repetitions; a figure is the median of the
rounds' medians, a ratio the median of the rounds' ratios, PyTorch's time to ours: above 1 ours is faster. Load average of one
minute: {loads[0]:.1f} when it began, {loads[1]:.1f} when it ended{"; others worked here too, so these figures are rough" if max(loads) > options.threads + 0.5 else ""}.

Shapes are those of `mizan bench ops --json`. Where PyTorch has no one operator, what its users write is timed: last column. OpenCL
through PoCL compiles the kernels that are meant for graphics cards to the processor. There is no bar here: the table says where work
is left.

""" + "\n".join(head + body) + "\n"


def main():
    names = lambda text: text.split(",")
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    read.add_argument("--rounds", type=int, default=3)
    read.add_argument("--repetitions", type=int, default=5)
    read.add_argument("--chips", type=names, default=["cpu", "opencl"])
    read.add_argument("--only", type=names)
    read.add_argument("--out", type=pathlib.Path, default=ROOT / "bench/results/kernels.csv")
    read.add_argument("--page", type=pathlib.Path)
    options = read.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:options.threads])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    begun = os.getloadavg()[0]
    with open(options.out, "w", newline="", encoding="utf-8") as stream:
        rows = csv.DictWriter(stream, FIELDS)
        rows.writeheader()
        found, how, machine, version = measure(options, rows)
    lines = table(found, how, options.chips)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(c.ljust(w) if i < 3 or i == len(line) - 1 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))).rstrip())
    if options.page:
        options.page.write_text(page(lines, options, machine, version, (begun, os.getloadavg()[0])), encoding="utf-8")


if __name__ == "__main__":
    main()

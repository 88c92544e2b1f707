# SPDX-License-Identifier: Apache-2.0
"""Where the time of a profile goes: spans.py PROFILE.json [LINES]

Sums the operators of the last step of a file of `mizan train --profile`, by kind, direction and
shapes. Operators inside a composition are counted once, as the composition."""

import json
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as stream:
        spans = [s for s in json.load(stream)["traceEvents"] if s["ph"] == "X"]
    lines = int(sys.argv[2]) if len(sys.argv) > 2 else 30
    step = [s for s in spans if s["name"] == "step"][-1]
    begin, end = step["ts"], step["ts"] + step["dur"]
    sums, seen = {}, begin
    inside = [s for s in spans if s is not step and s["cat"] != "phase" and begin <= s["ts"] < end]
    for s in sorted(inside, key=lambda s: (s["ts"], -s["dur"])):
        if s["ts"] < seen:
            continue
        seen = s["ts"] + s["dur"]
        shapes = "  ".join(f"{k} {v}" for k, v in s["args"].items() if k != "number")
        entry = sums.setdefault((s["name"], s["cat"], shapes), [0, 0.0])
        entry[0] += 1
        entry[1] += s["dur"]
    kinds = {}
    for (name, cat, _), (_, us) in sums.items():
        kinds[name, cat] = kinds.get((name, cat), 0.0) + us
    print(f"step {step['args']['number']}: {step['dur'] / 1e3:.1f} ms, "
          f"{100 * sum(kinds.values()) / step['dur']:.1f} % in operators")
    for (name, cat), us in sorted(kinds.items(), key=lambda x: -x[1]):
        print(f"{100 * us / step['dur']:6.1f} % {us / 1e3:10.1f} ms  {name} {cat}")
    print()
    for (name, cat, shapes), (n, us) in sorted(sums.items(), key=lambda x: -x[1][1])[:lines]:
        print(f"{100 * us / step['dur']:6.1f} % {us / 1e3:10.1f} ms {n:5d} x  {name} {cat}  {shapes}")


if __name__ == "__main__":
    main()

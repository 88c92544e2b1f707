# SPDX-License-Identifier: Apache-2.0
"""Time of one decoded token against the positions that are cached: positions.py MODEL [--most N] [--threads N] [--dtype D] [--out FILE.svg]

From 128 on, each time twice as many, `mizan bench decode` gives the raw times; the median is a point. The law: weights are read
once however long the text is, keys and values once a position, so that the time is a + b * positions; a and b are fitted to
relative errors. Prints a table, writes a CSV and the plot beside it."""

import argparse
import csv
import json
import math
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIZAN = os.environ.get("MIZAN_PROGRAM", str(ROOT / "build" / "mizan"))
WIDE, HIGH, EDGE = 640, 400, 56


def measure(options, positions):
    words = [MIZAN, "bench", "decode", options.model, "--positions", positions, "--repetitions", options.tokens, "--json"]
    words += ["--threads", options.threads] if options.threads else []
    words += ["--dtype", options.dtype] if options.dtype else []
    out = subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True).stdout
    return statistics.median(json.loads(out)["decode_ns"])


def law(points):
    """a, b of ns = a + b n with the least sum of squared relative errors."""
    w = [1 / ns**2 for _, ns in points]
    n0, n1, n2 = (sum(wi * n**k for wi, (n, _) in zip(w, points)) for k in range(3))
    y0, y1 = (sum(wi * ns * n**k for wi, (n, ns) in zip(w, points)) for k in range(2))
    b = (n0 * y1 - n1 * y0) / (n0 * n2 - n1 * n1)
    return (y0 - b * n1) / n0, b


def plot(points, a, b, path, title="decode, tokens/s (to {:.0f}) against cached positions; the line is a + b n"):
    xs, top = [math.log2(n) for n, _ in points], max(1e9 / min(ns, a + b * n) for n, ns in points)

    def at(n, ns):
        x = EDGE + (math.log2(n) - xs[0]) / (xs[-1] - xs[0]) * (WIDE - 2 * EDGE)
        return f"{x:.1f},{HIGH - EDGE - 1e9 / ns / top * (HIGH - 2 * EDGE):.1f}"

    line = " ".join(at(n, a + b * n) for n, _ in points)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDE}" height="{HIGH}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDE}" height="{HIGH}" fill="white"/>',
             f'<text x="{EDGE}" y="24">{title.format(top)}</text>',
             f'<polyline points="{line}" fill="none" stroke="#888"/>']
    for n, ns in points:
        x, y = at(n, ns).split(",")
        parts += [f'<circle cx="{x}" cy="{y}" r="4" fill="#1565c0"/>', f'<text x="{x}" y="{HIGH - 30}" text-anchor="middle">{n}</text>',
                  f'<text x="{x}" y="{float(y) - 8:.1f}" text-anchor="middle">{1e9 / ns:.0f}</text>']
    path.write_text("\n".join(parts + ["</svg>", ""]), encoding="utf-8")


def main():
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("model")
    read.add_argument("--most", type=int, default=32768)
    read.add_argument("--tokens", type=int, default=32)
    read.add_argument("--threads", type=int)
    read.add_argument("--dtype")
    read.add_argument("--out", type=pathlib.Path, default=ROOT / "bench/results/positions.svg")
    options = read.parse_args()
    points, n = [], 128
    while n <= options.most:
        points.append((n, measure(options, n)))
        n *= 2
    if len(points) < 2:
        read.error("--most is at least 256: a line needs two points")
    a, b = law(points)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with open(options.out.with_suffix(".csv"), "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["positions", "ns", "law_ns"])
        for n, ns in points:
            rows.writerow([n, int(ns), int(a + b * n)])
            print(f"{n:7} positions {1e9 / ns:8.1f} tokens/s, the law {1e9 / (a + b * n):8.1f} ({100 * (ns / (a + b * n) - 1):+.0f} %)")
    print(f"{a * 1e-6:.2f} ms and {b:.1f} ns a position")
    plot(points, a, b, options.out)


if __name__ == "__main__":
    main()

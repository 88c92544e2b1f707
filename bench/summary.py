# SPDX-License-Identifier: Apache-2.0
"""Medians and ratios of the rows that a benchmark wrote: summary.py FILE.csv"""

import csv
import statistics
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as stream:
        print(stream.readline().lstrip("# ").strip())
        times = {}
        for line in csv.DictReader(stream):
            key = (line["dtype"], line["what"], int(line["m"]), int(line["n"]), int(line["k"]))
            times.setdefault(key, {}).setdefault(line["who"], []).append(int(line["ns"]))
    print(f"{'dtype':6}{'what':9}{'m x n x k':>18}{'us':>11}{'GFLOP/s':>9}{'peer us':>11}{'peer/ours':>11}")
    for (dtype, what, m, n, k), who in times.items():
        ours = statistics.median(who.pop("mizan"))
        peer = [statistics.median(rows) for rows in who.values()]
        theirs = f"{peer[0] / 1e3:11.1f}{peer[0] / ours:11.2f}" if peer else f"{'-':>11}{'-':>11}"
        rate = 2.0 * m * n * k / ours
        print(f"{dtype:6}{what:9}{f'{m} x {n} x {k}':>18}{ours / 1e3:11.1f}{rate:9.1f}{theirs}")


if __name__ == "__main__":
    main()

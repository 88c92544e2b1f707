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
    peers = sorted({who for found in times.values() for who in found} - {"mizan"})
    print(f"{'dtype':6}{'what':9}{'m x n x k':>18}{'us':>11}{'GFLOP/s':>9}" + "".join(f"{who + '/ours':>15}" for who in peers))
    for (dtype, what, m, n, k), who in times.items():
        ours = statistics.median(who["mizan"])
        theirs = "".join(f"{statistics.median(who[peer]) / ours:15.2f}" if peer in who else f"{'-':>15}" for peer in peers)
        rate = 2.0 * m * n * k / ours
        print(f"{dtype:6}{what:9}{f'{m} x {n} x {k}':>18}{ours / 1e3:11.1f}{rate:9.1f}{theirs}")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What the checks under tools/ share: which files there are, and C text without comments and strings.

Only the standard library, so that the checks run wherever Python 3.9 does.
"""

import argparse
import os
import sys

C_EXTENSIONS = (".c", ".h", ".inc", ".cl", ".cu")


def repository():
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def arguments(description):
    """Every check takes --root, so that tests/tools can show it a bad tree."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", default=repository(), help="tree to check (this one)")
    return parser.parse_args()


def files(root, tops, extensions):
    """Paths below root/top for each top, relative to root, '/' between parts, sorted.

    Walks the tree instead of asking git, so that a new file is checked before it is added."""
    found = []
    for top in tops:
        for folder, names, leaves in os.walk(os.path.join(root, top)):
            names[:] = sorted(n for n in names if n != "__pycache__" and not n.startswith("."))
            for leaf in sorted(leaves):
                if leaf.endswith(tuple(extensions)):
                    path = os.path.relpath(os.path.join(folder, leaf), root)
                    found.append(path.replace(os.sep, "/"))
    return found


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as stream:
        return stream.read()


def _end_of_literal(text, start):
    """Index after the string or character literal that opens at start. An unclosed one ends with
    its line."""
    quote, i = text[start], start + 1
    while i < len(text) and text[i] != "\n":
        if text[i] == "\\":
            i += 2
        elif text[i] == quote:
            return i + 1
        else:
            i += 1
    return min(i, len(text))


def blank(text, comments=True, strings=True):
    """The same text, of the same length and lines, with comments and the insides of literals as
    spaces. comments or strings False leaves those as they are."""
    out = list(text)
    i, size = 0, len(text)

    def wipe(begin, end):
        for k in range(begin, end):
            if out[k] != "\n":
                out[k] = " "

    while i < size:
        two = text[i : i + 2]
        if two == "/*":
            end = text.find("*/", i + 2)
            end = size if end < 0 else end + 2
            if comments:
                wipe(i, end)
        elif two == "//":
            end = text.find("\n", i)
            while end > 0 and text[end - 1] == "\\":  # a continued line comment goes on
                end = text.find("\n", end + 1)
            end = size if end < 0 else end
            if comments:
                wipe(i, end)
        elif text[i] in "\"'" and not (text[i] == "'" and i and text[i - 1].isalnum()):
            end = _end_of_literal(text, i)
            if strings:
                wipe(i + 1, end - 1)
        else:
            end = i + 1
        i = end
    return "".join(out)


def line_of(text, index):
    return text.count("\n", 0, index) + 1


def finish(name, problems, checked, what="files"):
    """Prints one problem a line as path:line: text, and ends the program: 1 if there is any."""
    for problem in problems:
        print(problem)
    if problems:
        print(f"{name}: {len(problems)} problem(s)")
        sys.exit(1)
    if not checked:
        print(f"{name}: found nothing to check")  # a check that looks at nothing must not pass
        sys.exit(1)
    print(f"{name}: {checked} {what}, no problem")
    sys.exit(0)

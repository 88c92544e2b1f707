# SPDX-License-Identifier: Apache-2.0
"""Every operator that a header of ours declares is one of those whose both phases the vendor's own
client asks for (tests/abi/aclnn-names.txt, one name a line), or is listed here as confirmed by nobody.
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAMES = "tests/abi/aclnn-names.txt"
HEADERS = ("emu/ascend/aclnn.h", "src/chips/ascend/aclnn.h")
ENTRY = re.compile(r"^\s*(?:X|MZ_ACLNN)\((\w+),", re.M)
# Documented, but no client that we read calls them.
UNCONFIRMED = set()


def declared(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        text = file.read()
    if "EMU_ACLNN_LIST(X)" in text:
        text = text[text.index("EMU_ACLNN_LIST(X)") :]
    return {"aclnn" + name for name in ENTRY.findall(text) if name != "name"}


def main():
    with open(os.path.join(ROOT, NAMES), encoding="utf-8") as file:
        known = set(file.read().split())
    bad, count = [], 0
    for path in HEADERS:
        if not os.path.exists(os.path.join(ROOT, path)):
            continue
        names = declared(path)
        if not names:
            bad.append(f"{path}: no operator found in it")
        count += len(names)
        bad += [f"{path}: {name} is in no list" for name in sorted(names - known - UNCONFIRMED)]
    print("\n".join(bad) or f"{count} operators, all known")
    sys.exit(1 if bad or not known else 0)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What confirms our declarations of the vendor's interface (tests/abi/confirmed.tsv) is listed for what the sources declare: each
name, signature, number and struct. A tree in which one of them was changed is refused by name, on both sides."""

import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECK = os.path.join(ROOT, "tools/check_abi")

# file, what stands there, what is put in its place, what the check says
SEEDS = [
    ("emu/ascend/aclnn.h", "X(Softmax, T, I, O)", "X(Softmax, T, C, O)", "aclnnSoftmax: aclnnStatus (const aclTensor*, int8_t, aclTensor*) (emu,backend) is declared"),
    ("emu/ascend/aclnn.h", "X(Cat, L, I, O)", "X(Cats, L, I, O)", "aclnnCat is listed and not declared"),
    ("emu/ascend/acl.h", "(void **at, size_t bytes, aclrtMemMallocPolicy policy)", "(void **at, uint32_t bytes, int policy)", "aclrtMalloc"),
    ("emu/ascend/acl.h", "EMU_RT_STREAM_SYNC_TIMEOUT = 507046", "EMU_RT_STREAM_SYNC_TIMEOUT = 507047", "EMU_RT_STREAM_SYNC_TIMEOUT"),
    ("emu/ascend/acl.h", "char minorVersion[64];", "char minorVersion[32];", "aclCANNPackageVersion"),
    ("src/chips/ascend/aclnn.h", "MZ_ACLNN(RmsNorm, MZ_CT x, MZ_CT gamma, double eps", "MZ_ACLNN(RmsNorm, MZ_CT x, MZ_CT gamma, float eps",
     "aclnnRmsNorm"),
    ("src/chips/ascend/acl.h", "aclError aclrtFree(void *at);", "aclError aclrtFree(void **at);", "aclrtFree"),
    ("src/chips/ascend/hccl.h", "uint64_t count, HcclDataType type, HcclReduceOp op", "uint64_t count, HcclReduceOp op, HcclDataType type",
     "HcclAllReduce"),
]  # fmt: skip


def check(root):
    return subprocess.run([sys.executable, "-B", CHECK, "--list", "--root", root], capture_output=True, text=True)


def copy_to(folder):
    for part in ("emu", "src/chips/ascend", "tests/abi"):
        shutil.copytree(os.path.join(ROOT, part), os.path.join(folder, part))


def main():
    done = check(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout, end="")
    for path, before, after, said in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            copy_to(folder)
            with open(os.path.join(folder, path), encoding="utf-8") as file:
                text = file.read()
            assert before in text, (path, before)
            with open(os.path.join(folder, path), "w", encoding="utf-8") as file:
                file.write(text.replace(before, after, 1))
            done = check(folder)
            assert done.returncode == 1 and said in done.stdout, (path, after, done.stdout, done.stderr)


if __name__ == "__main__":
    main()

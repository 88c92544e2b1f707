#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`mizan emu`: other programs with an emulated driver in front, and faults through the real backend.

Usage: test_emu_tool.py PROGRAM PART, PART one of run, step, faults, socs.
run     what it says, what it hands on, what it sums up and traces; mistakes on its command line
step    what a training step does, counted by the driver from the shapes of its calls: where the FLOP are, how
        often the host waits, and that it asks for no memory
faults  each kind of fault under `mizan train` and `mizan chips check`: message, exit code, no hang, and
        a checkpoint from which the run goes on to the bits of one that nothing happened to
socs    the chips of the family: what each lacks, as docs/ascend.md says, and what each trains
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from emu_tool import CONFIG, EXPERTS, Tool, host_calls, losses, write

PROGRAM = sys.argv[1]
FOLDER = os.path.join(os.path.dirname(PROGRAM), "emu", "ascend")
PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "ascend.md")
TOOL = Tool(PROGRAM)
emu, mizan, make_run, train = TOOL.emu, TOOL.mizan, TOOL.make_run, TOOL.train


# ---- run ----

CLIENT = """
import ctypes, sys
acl = ctypes.CDLL("libascendcl.so")
nn = ctypes.CDLL("libopapi.so")
count = ctypes.c_uint32()
assert acl.aclInit(None) == 0
assert acl.aclrtGetDeviceCount(ctypes.byref(count)) == 0
acl.aclrtGetSocName.restype = ctypes.c_char_p
for device in range(count.value):
    assert acl.aclrtSetDevice(device) == 0
    at = ctypes.c_void_p()
    assert acl.aclrtMalloc(ctypes.byref(at), ctypes.c_size_t(1 << 20), 0) == 0
    assert acl.aclrtMemset(at, ctypes.c_size_t(1 << 20), 0, ctypes.c_size_t(1 << 20)) == 0
print(count.value, acl.aclrtGetSocName().decode(), *sys.argv[1:])
"""


def test_python():
    """A client that knows nothing of Mizan, on three devices; options after -- are its own."""
    client = [sys.executable, write("client.py", CLIENT), "--json", "--", "x y"]
    done = emu("--devices", "3", "--soc", "Ascend910B3", command=client)
    assert done.stdout == "3 Ascend910B3 --json -- x y\n", done.stdout
    first, *_, last = [line for line in done.stderr.splitlines() if line.startswith("emulated ")]
    assert "Ascend910B3, 3 devices: no NPU is used" in first and "not measured" in first, first
    assert "modelled, not measured" in last and "3.0 MiB in use" not in last, last
    done = emu("--devices", "3", "--json", command=client)
    assert "3 Ascend910B2 --json" in done.stderr, done.stderr
    said = json.loads(done.stdout)
    assert said["emulated"] is True and said["schema"] == 1 and said["exit"] == 0, said
    assert said["command"] == client and said["signal"] is None and said["soc"] == "Ascend910B2"
    assert [d["device"] for d in said["processes"][0]["devices"]] == [0, 1, 2], said
    assert said["total"]["allocations"] == 3 and said["total"]["bytes_within"] == 3 << 20, said


def test_ends():
    assert emu(command=["sh", "-c", "echo out; echo err >&2; exit 42"], code=42).stdout == "out\n"
    emu(command=["sh", "-c", "kill -TERM $$"], code=128 + signal.SIGTERM)
    said = json.loads(emu("--json", command=["sh", "-c", "kill -KILL $$"], code=137).stdout)
    assert said["signal"] == 9 and said["exit"] is None and said["processes"] == [], said
    assert "cannot be started" in emu(command=["./nothing-here"], code=2).stderr
    # what we are sent, it is sent
    running = subprocess.Popen([PROGRAM, "emu", "ascend", "--", "sh", "-c",
                                "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGUSR1)
    assert running.wait(timeout=60) == 7
    running.stdout.close()


def test_environment():
    other = os.path.join(os.getcwd(), "vendor")
    os.makedirs(other)
    write(os.path.join(other, "libascendcl.so"), "not this one")
    show = ["sh", "-c", 'echo "$LD_LIBRARY_PATH:$ASCEND_HOME_PATH:$MIZAN_DRIVER_PATH"']
    done = emu(command=show, LD_LIBRARY_PATH=f"/a:{other}:/b", ASCEND_HOME_PATH=other,
               MIZAN_DRIVER_PATH=other)
    assert done.stdout == f"{FOLDER}:/a:/b::\n", done.stdout
    assert f"LD_LIBRARY_PATH without {other}" in done.stderr, done.stderr
    assert not [name for name in os.listdir(os.environ["TMPDIR"]) if "mizan-emu" in name]


VERSION = """
import ctypes
acl = ctypes.CDLL("libascendcl.so")
count, text = ctypes.c_uint32(), ctypes.create_string_buffer(128)
assert acl.aclInit(None) == 0 and acl.aclrtGetDeviceCount(ctypes.byref(count)) == 0
assert acl.aclsysGetVersionStr(b"runtime", text) == 0
print(count.value, text.value.decode())
"""


def test_versions():
    """Which CANN it says that it is; and a mask of devices goes through."""
    client = [sys.executable, write("version.py", VERSION)]
    assert emu("--devices", "3", command=client).stdout == "3 8.5.0\n"
    done = emu("--devices", "3", "--cann", "8.2.RC1", command=client, ASCEND_RT_VISIBLE_DEVICES="0,2,5")
    assert done.stdout == "2 8.2.RC1\n", done.stdout


def test_mistakes():
    cases = [
        (["--soc", "Ascend910C"], 2, ["no chip Ascend910C", "Ascend910B2", "Ascend310P3"]),
        (["--devices", "9"], 2, ["expected 1 to 8"]),
        (["--cann", "new"], 2, ["--cann new", "8.2.RC1"]),
        (["--cann", "8.2 RC1"], 2, ["not a version"]),
        (["--fault-plan", "nowhere.yaml"], 74, ["nowhere.yaml", "--fault-plan names a file"]),
        (["--fault-plan", write("a.yaml", "- {kind: lost}\n")], 78, ["a.yaml:1:10", "no kind", "device_lost"]),
        (["--fault-plan", write("b.yaml", "- kind: late\n- kind: late\n  at: none\n")], 78,
         ["b.yaml:3:7", "whole number"]),
        (["--fault-plan", write("c.json", '{"faults": [{"kind": "flip", "code": 3}]}')], 78,
         ["c.json:1:38", 'no key "code"']),
        (["--fault-plan", write("d.yaml", "- {at: 3}\n")], 78, ["d.yaml:1:4", "without a kind"]),
        (["--fault-plan", write("e.yaml", "late: 3\n")], 78, ["e.yaml:1:1", "a plan is a list"]),
        (["--fault-plan", write("f.yaml", "- {kind: late\n")], 78, ["f.yaml", "not YAML"]),
        (["--fault-plan", write("g.yaml", "- {kind: missing_symbol, symbol: aclFly}\n")], 78,
         ["no function aclFly"]),
        (["--fault-plan", write("h.yaml", "- {kind: missing_library, library: libfly.so}\n")], 78,
         ["no libfly.so"]),
        (["--trace", "nowhere/t.json"], 74, ["nowhere/t.json"]),
    ]
    for words, code, said in cases:
        text = emu(*words, command=["true"], code=code).stderr
        for word in said:
            assert word in text, (words, word, text)
    done = subprocess.run([PROGRAM, "emu", "kunlun", "--", "true"], capture_output=True, text=True)
    assert done.returncode == 2 and "only of ascend" in done.stderr, done.stderr
    # a program that was taken out of its folder
    alone = os.path.join(os.getcwd(), "alone")
    os.makedirs(alone)
    os.link(PROGRAM, os.path.join(alone, "mizan")) if os.stat(PROGRAM).st_dev == os.stat(alone).st_dev \
        else subprocess.run(["cp", PROGRAM, alone], check=True)
    done = subprocess.run([os.path.join(alone, "mizan"), "emu", "ascend", "--", "true"],
                          capture_output=True, text=True)
    assert done.returncode == 69 and f"{alone}/emu/ascend and " in done.stderr, done.stderr


def test_trace():
    """Two processes in one file, one of which kills itself; a rank, a stream and a host's thread each."""
    dies = CLIENT + "import os; os.kill(os.getpid(), 9)\n"
    both = f"{sys.executable} {write('ok.py', CLIENT)}; {sys.executable} {write('dies.py', dies)}"
    emu("--trace", "t.json", command=["sh", "-c", both], code=137)
    with open("t.json", encoding="utf-8") as file:
        trace = json.load(file)
    assert "none was measured" in trace["otherData"]["emulated"], trace["otherData"]
    names = [e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"]
    assert len(names) == 2 and all("modelled time" in name for name in names), names
    emu("--trace", "t.json",
        command=[PROGRAM, "chips", "check", "ascend", "--op", "matmul", "--cases", "5", "--seed", "1"])
    with open("t.json", encoding="utf-8") as file:  # begun anew
        events = json.load(file)["traceEvents"]
    assert sum(e["name"] == "process_name" for e in events) == 2, "what another command left"
    tasks = [e for e in events if e.get("cat") == "device" and e["name"] == "aclnnMm"]
    assert tasks and all(e["args"]["cube_flop"] >= 0 and "FLOAT" in e["args"]["tensors"]
                         or "BF16" in e["args"]["tensors"] for e in tasks), tasks
    by_row = {}
    for e in events:
        if e["ph"] == "X" and e["cat"] == "device":
            assert e["ts"] >= by_row.get((e["pid"], e["tid"]), 0) - 1e-3, e  # one after another
            by_row[e["pid"], e["tid"]] = e["ts"] + e["dur"]


# ---- faults ----

# plan, exit code of the training, words of its message. A step norms three times, and three times back;
# the measurement of GEMM at the start, as long as it takes, does not: so each strikes in step 3.
TRAININGS = [
    ("{kind: out_of_memory, at: 2}", 69, ["207001", "out of device memory"]),
    ("{kind: error, call: aclnnRmsNorm, at: 8}", 75,
     ["chip hosted:ascend", "aclnnRmsNorm", "361001", "last rmsnorm forward"]),
    ("{kind: error, call: aclrtMemcpyAsync, code: 507899, at: 40}", 75, ["aclrtMemcpyAsync", "507899"]),
    ("{kind: late, call: aclnnRmsNormGrad, at: 8}", 75,
     ["chip hosted:ascend", "507015", "aclnnRmsNormGrad", "operators since the last good sync"]),
    ("{kind: late, call: aclnnRmsNormGrad, at: 8, code: 507018}", 75, ["507018", "an exception in an AI CPU"]),
    # the last of step 4, behind which a checkpoint is due and nobody has waited: it is not written
    ("{kind: late, call: aclnnApplyAdamWV2, at: 44}", 75,
     ["507015", "aclnnApplyAdamWV2", "last adamw forward"]),
    ("{kind: endless, call: aclnnRmsNormGrad, at: 8}", 75,
     ["507046", "did not finish in time", "after 2000 ms", "operators since"]),
    ("{kind: silent, call: aclnnRmsNorm, at: 8}", 0, []),
    ("{kind: flip, call: aclnnRmsNorm, at: 8, argument: 4, bit: 20}", 0, []),
    ("{kind: ecc, call: aclnnRmsNormGrad, at: 8}", 75,
     ["507054", "the NPU is lost", "multi-bit ECC", "operators since"]),
    ("{kind: device_lost, call: aclnnRmsNormGrad, at: 8}", 75,
     ["507010", "the NPU is lost", "heartbeat", "operators since"]),
    ("{kind: missing_library, library: libascendcl.so}", 69, ["no CANN", "libascendcl.so"]),
    ("{kind: missing_library, library: libnnopbase.so}", 69, ["no CANN", "libnnopbase.so"]),
    ("{kind: missing_symbol, symbol: aclrtCreateStream}", 69, ["no function aclrtCreateStream", "8.1"]),
    ("{kind: missing_symbol, symbol: aclnnApplyAdamWV2}", 0, ["the rest on the host", "adamw"]),
    ("{kind: version, version: 1.12.0}", 69, ["older than 8.1", "1.12.0"]),
]


WAITS = ("aclrtSynchronizeStream", "aclrtSynchronizeDevice", "aclrtSynchronizeEvent", "aclrtMemcpy")
MEMORY = ("aclrtMalloc", "aclrtFree", "aclrtMallocHost", "aclrtFreeHost")


def between(calls, mark):
    """What is called from one group of `mark` to the next, without what comes before the first and behind the last."""
    parts, here, seen = [], [], False
    for name in calls:
        if name == mark and here:
            parts, here, seen = parts + ([here] if seen else []), [], True
        elif name in WAITS + MEMORY or name == "aclnnIndexAdd":
            here.append(name)
        seen = seen or name == mark
    return parts


def test_step():
    """The driver counts what the trainer says: all FLOP are on the device. A step waits once, for the loss of its
    micro-batches and the norm of its gradients together, and asks for no memory."""
    make_run()
    config, steps, micros = CONFIG.replace("RUN", "t").replace("checkpoint_every: 2", "checkpoint_every: 99"), 6, 3
    config = write("t.yaml", config.replace("global: 2", f"global: {2 * micros}"))
    done = emu("--trace", "t.json", command=[PROGRAM, "train", config, "--chip", "ascend", "--json"])
    work = json.loads(done.stdout)["work"]
    said = {one["op"]: one["device_flop"] for one in work["operators"]}
    assert work["host_flop"] == 0 and work["device_share"] >= 0.99, work
    with open("t.json", encoding="utf-8") as file:
        events = [e for e in json.load(file)["traceEvents"] if e["ph"] == "X"]
    tasks = [e for e in events if e["cat"] == "device"]
    first = next(i for i, e in enumerate(tasks) if e["name"] == "aclnnIndexSelect")  # behind the measurement
    cube = {}
    for e in tasks[first:]:
        cube[e["name"]] = cube.get(e["name"], 0) + e["args"].get("cube_flop", 0)
    products = cube["aclnnMm"] + cube["aclnnInplaceAddmm"]
    attention = cube["aclnnFlashAttentionScore"] + cube["aclnnFlashAttentionScoreGrad"]
    assert products == said["matmul"], (cube, said)
    assert attention >= said["attention"], (cube, said)  # every key, where the trainer counts those seen
    whole = between(host_calls("t.json"), "aclnnApplyAdamWV2")  # from update to update
    assert len(whole) == steps - 1, whole
    for calls in whole:  # the embedding's gradient is backward's last
        assert calls == micros * ["aclnnIndexAdd"] + ["aclrtSynchronizeStream"], calls
    share = 100 * work["device_flop"] / (work["device_flop"] + work["host_flop"])
    print(f"{share:.2f} % of a step's FLOP on the emulated device; 1 wait and 0 allocations a step")


def test_tokens():
    """Nor does a token, the first and its prompt included."""  # the run is test_step's
    for name, network in (("llama", None), ("experts", EXPERTS)):
        if network:
            write("config.json", json.dumps(network))
        train(name)
        command = [PROGRAM, "generate", os.path.join(name, "checkpoints", "step-00000006"), "--prompt", "The scales",
                   "--max-tokens", "6", "--chip", "hosted:ascend"]
        emu("--trace", "t.json", command=command)
        calls = host_calls("t.json")
        last = max(i for i, call in enumerate(calls) if call.startswith("aclnn"))
        asked = [call for call in calls[calls.index("aclnnIndexSelect"):last] if call in MEMORY]
        assert not asked, (name, asked)


def test_trainings():
    make_run()
    train("whole")
    want = mizan("runs", "hash", "whole")
    for i, (fault, code, said) in enumerate(TRAININGS):
        run, start = f"run{i}", time.monotonic()
        done = train(run, "--fault-plan", write("plan.yaml", f"- {fault}\n"), code=code)
        assert time.monotonic() - start < 60, (fault, "hangs")
        for word in said:
            assert word in done.stderr, (fault, word, done.stderr)
        place = os.path.join(run, "checkpoints")
        for step in os.listdir(place) if os.path.isdir(place) else []:
            mizan("verify", os.path.join(place, step))
        if "ApplyAdamWV2, at: 44" in fault:
            assert os.listdir(place) == ["step-00000002"], os.listdir(place)
        if code != 0:  # goes on from there, to the same bits
            train(run)
            assert mizan("runs", "hash", run) == want, fault
        elif not said:  # nobody was told: only a check of the chip finds such
            assert mizan("runs", "hash", run) != want, fault
    print(f"{len(TRAININGS)} kinds of fault in trainings on the emulated chip")


def test_first_error_stays():
    """What comes up while a failed command puts its things away is not what it failed of."""
    train("whole")  # what there is of it
    command = [PROGRAM, "generate", os.path.join("whole", "checkpoints", "step-00000006"), "--prompt", "The",
               "--max-tokens", "2", "--chip", "hosted:ascend"]
    emu("--trace", "t.json", command=command)
    calls = host_calls("t.json")
    queued, seen = None, {}
    for name in calls:  # a copy with an operator before it that nobody has waited for
        seen[name] = seen.get(name, 0) + 1
        if name == "aclrtSynchronizeStream":
            queued = None
        elif name == "aclrtMemcpyAsync" and queued:
            break
        elif name.startswith("aclnn") and not name.endswith("GetWorkspaceSize"):
            queued = (name, seen[name])
    plan = (f"- {{kind: late, call: {queued[0]}, at: {queued[1]}}}\n"
            f"- {{kind: error, call: aclrtMemcpyAsync, at: {seen['aclrtMemcpyAsync']}}}\n")
    done = emu("--fault-plan", write("plan.yaml", plan), command=command, code=75)
    assert "361001" in done.stderr.splitlines()[-2], (plan, done.stderr)


def test_asked_twice():
    """A chip that says another thing each time it is asked what an operator wants: an error, and no harm."""
    train("whole")  # what there is of it
    command = [PROGRAM, "generate", os.path.join("whole", "checkpoints", "step-00000006"), "--prompt", "The",
               "--max-tokens", "2", "--chip", "hosted:ascend"]
    for code in (361001, 561003):
        for at in range(1, 9):
            plan = write("plan.yaml", "- {kind: error, call: aclnnFlashAttentionScoreGetWorkspaceSize, "
                                      f"at: {at}, code: {code}}}\n")
            done = subprocess.run([PROGRAM, "emu", "ascend", "--fault-plan", plan, "--", *command],
                                  capture_output=True, text=True, timeout=120)
            assert done.returncode in (0, 69, 75), (code, at, done.returncode, done.stderr)


def test_no_number():
    """Logits that are no numbers are an error of numbers, not a token."""
    train("whole")  # what there is of it
    plan = write("plan.yaml", "- {kind: flip, call: aclnnRmsNorm, argument: 4, times: 1000}\n")
    done = emu("--fault-plan", plan, code=77,
               command=[PROGRAM, "generate", os.path.join("whole", "checkpoints", "step-00000006"), "--prompt",
                        "The", "--max-tokens", "2", "--chip", "hosted:ascend"])
    assert "hosted:ascend gives logits of which none is a number" in done.stderr, done.stderr


def test_checks():
    """What a training does not see, `mizan chips check` does."""
    for fault in ("{kind: silent, call: aclnnMm, at: 2}", "{kind: flip, call: aclnnMm, at: 2}"):
        done = emu("--fault-plan", write("plan.yaml", f"- {fault}\n"), code=77,
                   command=[PROGRAM, "chips", "check", "ascend", "--op", "matmul", "--cases", "5", "--seed", "1"])
        assert "FAILED matmul" in done.stdout, done.stdout
    # a library of the newer release less: the older one has the same
    plan = write("plan.yaml", "- {kind: missing_library, library: libopapi_nn.so}\n")
    emu("--fault-plan", plan, command=[PROGRAM, "chips", "check", "ascend", "--op", "matmul", "--cases", "3"])


# ---- chips of the family ----

def left_to_host(soc):
    """By the device: the first call that each operator in f32 wants and the chip lacks."""
    done = emu("--soc", soc, command=[PROGRAM, "chips", "coverage", "--json", "--chip", "hosted:ascend"])
    out = {}
    for row in json.loads(done.stdout):
        if row["dtype"] == "F32" and row["state"] == "host":
            named = re.search(r"aclnn(\w+):", row["reason"])
            out[row["op"], row["direction"]] = named.group(1) if named else ""
    return out


def written_of(column):
    """By docs/ascend.md."""
    out = {("sample", "forward"): ""}
    with open(PAGE, encoding="utf-8") as file:
        rows = file.read().split("| operator | 910A | 310P |\n|---|---|---|\n")[1].split("\n\n")[0].splitlines()
    for row in rows:
        op, *cells = [cell.strip() for cell in row.strip("|").split("|")]
        forward, _, backward = cells[column].partition("backward: ")
        forward = forward.rstrip(", ")
        if forward:
            out[op, "forward"] = forward
        if backward or forward:
            out[op, "backward"] = backward or forward
    return out


def test_socs():
    """What each chip of the family lacks is what the page says, what it has trains, and bf16 is refused with the reason."""
    make_run()
    train("cpu", steps=3, chip="cpu")
    want = losses("cpu")
    for soc, column, overflow in (("Ascend910A", 0, "the largest number"), ("Ascend310P3", 1, "the largest number"),
                                  ("Ascend950PR_9589", None, "Inf and NaN"), ("Ascend910B2", None, "Inf and NaN")):
        found = left_to_host(soc)
        written = written_of(column) if column is not None else {("sample", "forward"): ""}
        has_backward = {op for op, direction in found if direction == "backward"}
        written = {key: call for key, call in written.items() if key[1] == "forward" or key[0] in has_backward}
        assert found == written, (soc, {k: (found.get(k), written.get(k)) for k in found.keys() | written.keys()
                                        if found.get(k) != written.get(k)})
        chips = json.loads(emu("--soc", soc, command=[PROGRAM, "chips", "--json"]).stdout)
        device = next(chip for chip in chips["chips"] if chip["name"].startswith("ascend"))
        assert f"overflow gives {overflow}" in device["driver"] and device["emulated"], device
        train(soc, "--soc", soc, steps=3)
        got = losses(soc)
        assert len(got) == 3 and all(abs(a - b) < 1e-4 for a, b in zip(got, want)), (soc, got, want)
        done = train(soc + "-bf16", "--soc", soc, steps=1, chip="ascend", keys=["dtype=bf16"],
                     code=0 if column is None else 69)
        assert column is None or "multiplies no bf16" in done.stderr, done.stderr


def main():
    parts = {"run": [test_python, test_ends, test_environment, test_versions, test_mistakes, test_trace],
             "step": [test_step, test_tokens], "socs": [test_socs],
             "faults": [test_trainings, test_checks, test_first_error_stays, test_asked_twice, test_no_number]}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["TMPDIR"] = os.path.join(folder, "tmp")
        os.makedirs(os.environ["TMPDIR"])
        for test in parts[sys.argv[2]]:
            test()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the table of commands makes besides a parser: help, man pages, completion in three shells.

Usage: test_manual.py PART PROGRAM, PART one of help, man, bash, zsh, fish. Ends with 77 where what
reads the result is not installed.
"""

import glob
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[2]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def mizan(*words, code=0):
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True)
    assert done.returncode == code, (words, done.returncode, done.stderr)
    return done.stdout if code == 0 else done.stderr


def commands():
    """Names of the list, by the two blanks before and after each."""
    part = mizan("--help").split("Topics")[0]
    return re.findall(r"^  ([a-z]+(?: [a-z]+)?)  ", part, re.M)


def options(command):
    return re.findall(r"^  (--[a-z-]+)", mizan(*command.split(), "--help"), re.M)


def need(tool):
    if not shutil.which(tool):
        print(f"{tool} is not installed")
        sys.exit(77)


def narrow(text, where):
    for line in text.splitlines():
        assert len(line) <= 80, (where, line)


def test_help():
    known = set(commands())
    groups = {command.split()[0] for command in known}
    assert len(commands()) > 25, commands()
    narrow(mizan("help"), "help")
    for command in commands():
        narrow(mizan(*command.split(), "--help"), command)
        if command != "chips":  # also a topic
            assert mizan("help", *command.split()) == mizan(*command.split(), "--help")
        assert "examples:" in mizan(*command.split(), "--help"), command
    for topic in ("chips", "placement", "files", "runs", "numbers"):
        text = mizan("help", topic)
        narrow(text, topic)
        assert 8 < len(text.splitlines()) <= 26, topic
        for named in re.findall(r"`mizan ([^`]*)`", text):  # what it names exists
            words = [w for w in named.split() if w.islower() and not w.startswith("-")]
            mizan(*words, "--help")
    pages = [f"{ROOT}/README.md"] + sorted(glob.glob(f"{ROOT}/docs/*.md"))
    assert len(pages) > 6, pages
    for page in pages:  # what the documents name exists, commands and files
        text = open(page).read()
        for named in re.findall(r"`mizan ([a-z][^`]*)`", text):
            words = [word.split("|")[0] for word in named.split()]
            command = next(n for n in (2, 1, 0) if " ".join(words[:n]) in known or n == 0)
            assert command or len(words) == 1 and words[0] in groups, (page, named)
            own = words[:words.index("--")] if "--" in words else words
            for option in [word for word in own if word.startswith("--")]:
                assert option == "--help" or option in options(" ".join(words[:command])), (page, named)
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert os.path.exists(os.path.join(os.path.dirname(page), link)), (page, link)
    assert "did you mean `mizan help chips`" in mizan("help", "chops", code=2)
    assert "did you mean `mizan verify`" in mizan("verfy", code=2)
    assert "did you mean --tensors" in mizan("inspect", "x", "--tensor", code=2)
    assert mizan("version") == mizan("--version")


def test_man():
    need("man")
    with tempfile.TemporaryDirectory() as folder:
        mizan("help", "--man", "--out", folder)
        want = {"mizan.1", "mizan-completion.1"}
        want |= {"mizan-" + c.replace(" ", "-") + ".1" for c in commands() + ["runs names"]}
        assert set(os.listdir(folder)) == want, set(os.listdir(folder)) ^ want
        assert mizan("help", "--man", "data", "build") == open(f"{folder}/mizan-data-build.1").read()
        heads = [re.search(r'^\.TH "\S+" 1 (\S+) "(.*)" "Mizan"$', open(f"{folder}/{page}").read(),
                           re.M) for page in want]
        assert len({head.groups() for head in heads}) == 1, "one day and one version"
        cmake = open(f"{ROOT}/CMakeLists.txt").read()
        day = re.search(r"^set\(MIZAN_DATE ([0-9-]+)\)", cmake, re.M)[1]
        epoch = os.environ.get("SOURCE_DATE_EPOCH")  # a package's build has another
        assert heads[0][1] == day or epoch, (heads[0][1], day)
        assert f"Mizan {re.search('VERSION ([0-9.]+) ', cmake)[1]}" == heads[0][2]
        environment = dict(os.environ, LC_ALL="C.UTF-8", MANWIDTH="80", MANROFFOPT="", TERM="dumb")
        for page in sorted(want):
            done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", f"{folder}/{page}"],
                                  capture_output=True, text=True, env=environment,
                                  stdin=subprocess.DEVNULL)
            assert done.returncode == 0 and done.stderr == "", (page, done.stderr)
            shown = re.sub(".\b", "", done.stdout)
            for part in ("NAME", "SYNOPSIS", "EXAMPLES", "EXIT STATUS"):
                assert part in shown, (page, part)
            narrow(shown, page)
            source = re.sub(r"(?m)^\.\\\".*", "", open(f"{folder}/{page}").read())
            assert not re.search(r"(?<!\\)--", source), f"{page}: a dash that is not escaped"
        for command in commands():
            shown = re.sub(".\b", "", subprocess.run(
                ["man", "-l", f"{folder}/mizan-{command.replace(' ', '-')}.1"],
                capture_output=True, text=True, env=environment).stdout)
            for option in options(command):
                assert option in shown, (command, option)
        if shutil.which("mandoc"):
            for page in want:
                done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", f"{folder}/{page}"],
                                      capture_output=True, text=True)
                assert done.stdout == "", done.stdout


# (what stands on the line, candidates that must be there, candidates that must not)
CASES = (
    ("mizan de", {"demo"}, {"data"}),
    ("mizan to", {"tokenizer"}, {"template"}),
    ("mizan tokenizer e", {"encode"}, {"decode"}),
    ("mizan runs ", {"list", "show", "compare", "rm"}, {"demo", "list.yaml"}),
    ("mizan convert a b --t", {"--to", "--type", "--threads", "--tokenizer"}, {"--chip"}),
    ("mizan convert a b --type ", {"f32", "q8_0"}, {"hf", "a.yaml"}),
    ("mizan generate m --isa av", {"avx512", "avx2"}, {"amx"}),
    ("mizan chips check ", {"cpu", "ref"}, {"a.yaml"}),
    ("mizan generate m --chip c", {"cpu"}, {"ref"}),
    ("mizan train a", {"a.yaml"}, {"list"}),
    ("mizan runs show fol", {"folder"}, {"a.yaml"}),
    ("mizan runs show ", {"folder", "first", "00000000000b", "00000000000c", "wild$(>hit)"},
     {"a.yaml", "twice"}),
    ("mizan runs compare first fi", {"first"}, {"folder"}),
    ("mizan completion z", {"zsh"}, {"fish"}),
    ("mizan help pl", {"placement"}, {"verify"}),
    ("mizan chips check far:", {"far:f16", "far:matmul"}, {"far", "far:slow=SEED"}),
    ("mizan generate m --chip far:m", {"far:matmul"}, {"far:f16"}),
    ("mizan chips check hosted:far:f", {"hosted:far:f16"}, {"hosted:far:matmul"}),
    ("mizan train ", {"a.yaml", "folder"}, {"optim.lr="}),
    ("mizan train a.yaml op", {"optim.lr=", "optim.clip="}, {"run.dir=", "a.yaml"}),
    ("mizan train --json a.yaml schedule.k", {"schedule.kind="}, {"schedule.warmup="}),
    ("mizan train a.yaml schedule.kind=co", {"schedule.kind=cosine", "schedule.kind=constant"},
     {"schedule.kind=wsd"}),
    ("mizan config show a.yaml recompute=", {"recompute=true", "recompute=false"}, {"dtype="}),
    ("mizan train a.yaml optim.lr=1 data.path=f", {"data.path=folder"}, {"data.path=a.yaml"}),
    ("mizan train a.yaml --chip cp", {"cpu"}, {"ref"}),
)


def registry(folder):
    """Of a run called first, two called alike, and one whose name a shell must not run."""
    os.makedirs(f"{folder}/made")
    for name in ("train.yaml", "lock"):
        open(f"{folder}/made/{name}", "w").close()
    subprocess.run([PROGRAM, "runs", "add", f"{folder}/made"], check=True, capture_output=True,
                   env=dict(os.environ, XDG_STATE_HOME=f"{folder}/xdg"))
    shutil.rmtree(f"{folder}/made")
    rows = sqlite3.connect(f"{folder}/xdg/mizan/runs.db")
    rows.execute("DELETE FROM runs")
    for i, name in enumerate(("first", "twice", "twice", "wild$(>hit)")):
        rows.execute("INSERT INTO runs (id, name, path, state) VALUES (?, ?, ?, 'finished')",
                     (f"00000000000{'abcd'[i]}", name, f"/nowhere/{i}"))
    rows.commit()
    rows.close()


def in_folder(candidates, shell):
    with tempfile.TemporaryDirectory() as folder:
        open(f"{folder}/a.yaml", "w").close()
        os.mkdir(f"{folder}/folder")
        home = tempfile.mkdtemp(dir=folder)
        registry(folder)
        environment = dict(os.environ, HOME=home, XDG_CONFIG_HOME=home, XDG_DATA_HOME=home,
                           XDG_STATE_HOME=f"{folder}/xdg",
                           PATH=os.path.dirname(PROGRAM) + ":" + os.environ["PATH"], TERM="dumb")
        for line, want, never in CASES:
            got = candidates(line, folder, environment)
            before = line.split(" ")[-1].rpartition("=")
            got = {word.rstrip("/") for word in got}
            if shell == "zsh":  # gives what follows the equals sign
                got = {"".join(before[:2]) + word if before[1] else word + "=" * (
                    word + "=" in want | never) for word in got}
            assert want <= got and not never & got, (line, sorted(got))
            assert not os.path.exists(f"{folder}/hit"), (line, "ran what stands in a run's name")


def test_bash():
    need("bash")
    script = mizan("completion", "bash")

    def candidates(line, folder, environment):
        # bash cuts the line at ':' and '=' too, and puts candidates in place of what follows there
        words = [part for word in line.split(" ") for part in re.findall("[:=]+|[^:=]+", word) or [""]]
        last = line.split(" ")[-1]
        kept = last[: len(last) - len(re.split("[:=]", last)[-1])]
        quoted = " ".join(f"'{w}'" for w in words)
        ask = (f"{script}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _mizan\n"
               'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "--norc", "-c", ask], cwd=folder, env=environment,
                              capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return [kept + word for word in done.stdout.split()]

    in_folder(candidates, "bash")
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-s", "bash", "-"], input=script, text=True, check=True)


def test_zsh():
    need("zsh")
    # compadd is replaced by one that says what it was given and matched: the listing of a terminal
    # would have to be read apart. A line that comes before the line editor has the terminal is lost,
    # so that it is sent again until the editor says that it has completed it.
    script = mizan("completion", "zsh")

    def candidates(line, folder, environment):
        with open(f"{folder}/_mizan", "w") as file:
            file.write(script)
        inner = r"""
PS1= ; unsetopt prompt_cr prompt_sp; autoload -Uz compinit; compinit -u -D; source ./_mizan
compadd() {
    case " $* " in *' -O '*|*' -A '*|*' -D '*) builtin compadd "$@"; return ;; esac
    local -a hits; builtin compadd -O hits "$@"
    print -rl -- $hits >>found; builtin compadd "$@"
}
probe() { zle complete-word; print done >state }
bindkey -e; zle -N probe; bindkey '^I' probe; setopt no_list_beep
"""
        with open(f"{folder}/inner", "w") as file:
            file.write(inner)
        outer = r"""
zmodload zsh/zpty; : >found
zpty -b shell zsh -f -i
zpty -w shell 'source ./inner'
for i in {1..1200}; do
    [[ -s state ]] && break
    (( i % 5 == 4 )) && zpty -w -n shell $'\x15'"$1"$'\t'
    sleep 0.05; zpty -r -t shell x '*'
done
zpty -d shell
"""
        subprocess.run(["zsh", "-f", "-c", outer, "zsh", line], cwd=folder, env=environment,
                       capture_output=True, timeout=100)
        with open(f"{folder}/found") as file:
            found = file.read().split()
        for name in ("state", "found", "inner", "_mizan"):
            os.path.exists(f"{folder}/{name}") and os.remove(f"{folder}/{name}")
        return found

    in_folder(candidates, "zsh")


def test_fish():
    need("fish")
    script = mizan("completion", "fish")

    def candidates(line, folder, environment):
        done = subprocess.run(["fish", "--no-config", "-c", f"{script}\ncomplete -C '{line}'"],
                              cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        found = [row.split("\t")[0] for row in done.stdout.splitlines()]
        begins = [word for word in found if word.startswith(line.split(" ")[-1])]
        return begins or found  # before 3.4 it also names what only contains the word

    in_folder(candidates, "fish")


if __name__ == "__main__":
    globals()["test_" + sys.argv[1]]()

"""Where the bytes of the program that ships come from, crate by crate: the tables of deploy/SIZE.md.

usage: deploy/size.py        builds the x86_64 program once more, with its symbols, in target/size (some minutes)
       deploy/size.py FILE   of a program that has its symbols

It needs nm (binutils).
"""

import collections
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-musl"
# What a name may begin with before the crate is named.
FRONT = re.compile(r"^(?:[<&\[(*]|mut |const |dyn |impl |unsafe |extern \"C\" )*")
STANDARD = {"core", "alloc", "std"}
# Crates that the standard library brings.
OF_STANDARD = {"addr2line", "gimli", "object", "rustc_demangle", "miniz_oxide", "backtrace_rs", "libunwind", "compiler_builtins"}


def build():
    environment = os.environ | {"CARGO_PROFILE_DIST_STRIP": "none", "CC": "/bin/false", "CXX": "/bin/false"}
    command = ["cargo", "build", "--locked", "--package", "forebay", "--bin", "forebay", "--profile", "dist", "--no-default-features",
               "--features", "static", "--target", TARGET, "--target-dir", "target/size"]
    subprocess.check_call(command, cwd=ROOT, env=environment)
    return ROOT / "target/size" / TARGET / "dist/forebay"


def crates():
    """The names of the crates that are linked, as symbols spell them."""
    tree = ["cargo", "tree", "--locked", "--package", "forebay", "--edges", "normal", "--prefix", "none", "--target", TARGET,
            "--no-default-features", "--features", "static", "--format", "{p}"]
    lines = subprocess.check_output(tree, cwd=ROOT, text=True).splitlines()
    return {line.split()[0].replace("-", "_") for line in lines if line.strip()}


def owner(symbol, known):
    """The crate that a symbol is of. A generic of the standard library counts for the first other crate that it is made for."""
    name = FRONT.sub("", symbol)
    first = re.match(r"\w+", name)
    first = first.group() if first else ""
    if first in known:
        return first
    for word in re.findall(r"\b(\w+)(?:::|\[)", symbol):
        if word in known:
            return word
    if first in STANDARD or first in OF_STANDARD or "libunwind" in symbol:
        return "std"
    # Plain names are those of the C library, and of assembly.
    return "std" if first in {"", "F", "I", "T", "A", "P"} or "::" in symbol else "musl"


def main():
    file = sys.argv[1] if len(sys.argv) > 1 else build()
    known = crates()
    code, data, parts = collections.Counter(), collections.Counter(), collections.Counter()
    for line in subprocess.check_output(["nm", "-S", "-C", file], text=True, errors="replace").splitlines():
        fields = line.split(" ", 3)
        if len(fields) < 4 or not fields[1] or fields[2] not in "tTwWrRdD":
            continue
        size, symbol = int(fields[1], 16), fields[3]
        crate = owner(symbol, known)
        (code if fields[2] in "tTwW" else data)[crate] += size
        if crate == "forebay" and fields[2] in "tTwW":
            module = re.search(r"\bforebay::(\w+)(?:::([a-z_]\w*))?", symbol)
            parts["::".join(filter(None, module.groups())) if module else "generics"] += size
    for heading, counts, least in (("Crate", code + data, 20_000), ("Module of forebay (code)", parts, 20_000)):
        print(f"| {heading} | kB |" + (" code | data |" if heading == "Crate" else ""))
        print("|---|---:|" + ("---:|---:|" if heading == "Crate" else ""))
        rest = collections.Counter()
        for name, size in counts.most_common():
            if size < least:
                rest["n"] += 1
                rest["size"] += size
            elif heading == "Crate":
                print(f"| {name} | {size / 1000:.0f} | {code[name] / 1000:.0f} | {data[name] / 1000:.0f} |")
            else:
                print(f"| {name} | {size / 1000:.0f} |")
        print(f"| {rest['n']} smaller ones | {rest['size'] / 1000:.0f} |\n")


main()

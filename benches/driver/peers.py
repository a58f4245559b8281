"""The clients that are compared: how each is built, and the command that reads a topic with it."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "proto-tests" / ".cache"
PEERS = ROOT / "benches" / "peers"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BUILT = CACHE / "peers"
KAFKA_JARS = CACHE / "kafka-4.4.0" / "lib"

# Name: how it is described in a table. The versions are pinned in the manifests under peers/.
NAMES = {
    "forebay": "forebay",
    "kacrab": "kacrab 0.4.0 (C zstd)",
    "rskafka": "rskafka 0.6.0 (C lz4, zstd)",
    "librdkafka": "librdkafka 2.12.1 (C)",
    "rdkafka": "rust-rdkafka 0.39.0 (the same)",
    "krafka": "krafka 0.28.1, tuned",
    "confluent-kafka": "confluent-kafka 1.0.0",
    "franz-go": "franz-go 1.22.2",
    "java": "Java 4.4.0",
}
RUST = {"kacrab", "rskafka", "librdkafka", "rdkafka", "krafka", "confluent-kafka"}


def forebay_program(name):
    return TARGET / "release" / name


def build(names, log):
    """Builds forebay and these peers, each once. A peer that cannot be built is a failure."""
    cargo = ["cargo", "build", "--locked", "--release"]
    log("building forebay")
    check([*cargo, "-p", "forebay", "-p", "forebay-benches", "--bins"], ROOT, {})
    for name in names:
        if name in RUST:
            log(f"building {NAMES[name]}")
            package = "rdkafka" if name == "librdkafka" else name
            check([*cargo, "-p", f"peer-{package}"], PEERS / "rust", {"CARGO_TARGET_DIR": str(BUILT / "rust")})
        elif name == "franz-go":
            log(f"building {NAMES[name]}")
            check([go(), "build", "-o", str(BUILT / "franz-go"), "."], PEERS / "go", {})
        elif name == "java":
            log(f"building {NAMES[name]}")
            javac("CountRecords", [KAFKA_JARS])


def javac(name, jars):
    """Compiles one of peers/java and returns the class path to run it with."""
    classes = BUILT / "java"
    path = ":".join(f"{folder}/*" for folder in jars)
    classes.mkdir(parents=True, exist_ok=True)
    check(["javac", "-proc:none", "-cp", path, "-d", str(classes), str(PEERS / "java" / f"{name}.java")], ROOT, {})
    return f"{path}:{classes}"


def go():
    """The Go that the tests' setup found or installed."""
    own = CACHE / "venv" / "bin" / "go"
    return str(own) if own.exists() else shutil.which("go") or str(own)


def check(command, folder, environment):
    BUILT.mkdir(parents=True, exist_ok=True)
    subprocess.run(command, cwd=folder, env={**os.environ, **environment}, check=True)


def read(name, server, topic, partitions, records):
    """The command with which `name` reads `records` records, all that a topic has."""
    where = ["--bootstrap-server", server, "--topic", topic]
    if name == "forebay":
        return [forebay_program("fetch_count"), *where, "--crc", "on"]
    return [*program(name), *where, "--partitions", partitions, "--records", records]


def idle(name, server, topic, partitions, seconds):
    """The command with which `name` waits at the end of a topic for so long."""
    where = ["--bootstrap-server", server, "--topic", topic]
    if name == "forebay":
        return [forebay_program("fetch_idle"), *where, "--idle", seconds]
    return [*program(name), *where, "--partitions", partitions, "--idle", seconds]


def is_built(name):
    """Whether there is a program of this client, from an earlier run."""
    wanted = BUILT / "java" / "CountRecords.class" if name == "java" else (read(name, "", "", 1, 0)[0])
    return Path(wanted).exists()


def program(name):
    if name in RUST:
        return [BUILT / "rust" / "release" / ("librdkafka" if name == "librdkafka" else f"peer-{name}")]
    if name == "franz-go":
        return [BUILT / "franz-go"]
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ["java", quiet, "-cp", f"{KAFKA_JARS}/*:{BUILT / 'java'}", "CountRecords"]

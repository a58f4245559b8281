"""A topic into a table: `forebay run`, and the same by programs over the official SDKs."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from . import measure, peers
from .sink import Sink

PROGRAMS = ["forebay", "java", "python"]
RECORDS, QUICK_RECORDS, PARTITIONS = 2_000_000, 200_000, 6
TABLE = ("CREATE TABLE events (event_id string, amount bigint, tag string, partition1 string, `offset` string, "
         "timestamp1 string, value string)")
ODPS_JARS = peers.CACHE / "odps-sdk-0.53.2" / "lib"
# Of Kafka's archives only what its consumer needs: the SDK brings others of the same names.
KAFKA_JARS = ["kafka-clients-*.jar", "lz4-java-*.jar", "snappy-java-*.jar", "zstd-jni-*.jar"]


def job(server, topic, group, columns, table_columns, concurrent):
    return {
        "type": "job", "version": "2.0",
        "steps": [
            {"stepType": "kafka", "name": "Reader", "category": "reader", "parameter": {
                "server": server, "topic": topic, "kafkaConfig": {"group.id": group}, "keyType": "ByteArray", "valueType": "ByteArray",
                "column": columns, "beginOffset": "0", "endOffset": "100000000", "waitTime": "10"}},
            {"stepType": "odps", "name": "Writer", "category": "writer", "parameter": {
                "datasource": "odps_first", "table": "events", "partition": "", "truncate": True, "column": table_columns}},
        ],
        "setting": {"errorLimit": {"record": "0"}, "speed": {"throttle": False, "concurrent": concurrent}},
    }


class Bench:
    """A folder with data sources, a sink, and the table in it."""

    def __init__(self, table):
        self.program = forebay()
        self.folder = tempfile.TemporaryDirectory(prefix="forebay-compare-")
        self.path = Path(self.folder.name)
        # What ships has no local MaxCompute in it.
        self.sink = Sink(peers.forebay_program("forebay"), self.path)
        self.sources = self.path / "sources.toml"
        self.sources.write_text(
            f'[odps_first]\ntype = "odps"\nproject = "sandbox"\nendpoint = "http://{self.sink.address}/api"\n'
            f'tunnel_endpoint = "http://{self.sink.address}"\naccess_id = "sandbox"\naccess_key = "sandbox"\n')
        self.own = {name: text for name, text in os.environ.items() if not name.startswith(("FOREBAY_", "ODPS_", "ALIBABA_"))}
        subprocess.run([self.program, "sql", "--datasources", self.sources, "-e", table], cwd=self.path, env=self.own, check=True,
                       stdout=subprocess.DEVNULL)

    def run_job(self, text):
        file = self.path / "job.json"
        file.write_text(json.dumps(text))
        return self.judged([self.program, "run", file, "--datasources", self.sources])

    def judged(self, command):
        """A run, and the rows that arrived."""
        self.sink.taken()
        result = measure.run(command, 600, self.own, self.path)
        rows, size = self.sink.taken()
        return result, rows, size

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sink.__exit__()
        self.folder.cleanup()


def forebay():
    """The static program that ships if it was built, else the release build."""
    static = peers.ROOT / "target" / "x86_64-unknown-linux-musl" / "dist" / "forebay"
    return static if static.exists() else peers.forebay_program("forebay")


def class_path():
    return ":".join([*(str(jar) for name in KAFKA_JARS for jar in peers.KAFKA_JARS.glob(name)), f"{ODPS_JARS}/*"])


def build(static, log):
    """Builds the program of the Java pipeline, and with `static` forebay as it ships."""
    if static:
        log("building the static program")
        peers.check([peers.ROOT / "deploy" / "build", "x86_64"], peers.ROOT, {})
    log("building the Java pipeline")
    classes = peers.BUILT / "java"
    classes.mkdir(parents=True, exist_ok=True)
    source = peers.PEERS / "java" / "Pipeline.java"
    peers.check(["javac", "-proc:none", "-cp", class_path(), "-d", str(classes), str(source)], peers.ROOT, {})


def measure_pipeline(kafka, results, records, rounds, deadline, log):
    kafka.topic("pipeline", PARTITIONS)
    records, size = kafka.fill("pipeline", "lz4", records, 8)
    log(f"filled a topic of {records:,} records, {size / 1e6:.0f} MB")
    columns = ["event_id", "amount", "tag.desc", "__partition__", "__offset__", "__timestamp__", "__value__"]
    table_columns = ["event_id", "amount", "tag", "partition1", "offset", "timestamp1", "value"]
    options = ["--bootstrap-server", kafka.server, "--topic", "pipeline", "--partitions", PARTITIONS, "--records", records]
    with Bench(TABLE) as bench:
        where = [*options, "--endpoint", f"http://{bench.sink.address}/api", "--tunnel-endpoint", f"http://{bench.sink.address}"]
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        for number in range(rounds):
            for name in PROGRAMS[number % 3 :] + PROGRAMS[: number % 3]:
                if number > 0 and time.monotonic() > deadline:
                    results.save()
                    return
                if name == "forebay":
                    text = job(kafka.server, "pipeline", f"round-{number}", columns, table_columns, 2)
                    run, rows, body = bench.run_job(text)
                elif name == "java":
                    path = f"{class_path()}:{peers.BUILT / 'java'}"
                    run, rows, body = bench.judged(["java", quiet, "-cp", path, "Pipeline", *where])
                else:
                    python = peers.CACHE / "venv" / "bin" / "python"
                    run, rows, body = bench.judged([python, peers.PEERS / "python" / "pipeline.py", *where])
                if rows != records:
                    raise RuntimeError(f"{name} wrote {rows} rows, not {records}")
                cell = results.cell("pipeline", peer=name)
                program = " (the static program)" if "musl" in str(bench.program) else " (release build)"
                cell.update(rows=records, body=body, about=f"{size // records} bytes, lz4, {PARTITIONS} partitions; forebay{program}, "
                            f"2 lanes")
                cell.setdefault("runs", []).append([run["cpu"], run["wall"], run["mb"]])
                log(f"pipeline {number + 1}, {name}: {run['cpu']:.2f} CPU s, {run['wall']:.2f} s, {run['mb']} MB, {body / 1e6:.1f} MB sent")
            results.save()

"""How forebay's cost grows with records, partitions, brokers and columns."""

import subprocess
import time

from . import measure, peers, pipeline
from .kafka import Kafka

RECORDS, QUICK_RECORDS = [100_000, 1_000_000, 10_000_000], [10_000, 100_000, 1_000_000]
PARTITIONS, QUICK_PARTITIONS = [1, 10, 100, 1000, 5000], [1, 10, 100, 1000]
COLUMNS, QUICK_COLUMNS = [8, 50, 100, 200], [8, 50, 200]
BROKERS = [1, 2, 3]
RECORDS_EACH = 200


def python_fill(kafka, *words):
    command = [peers.CACHE / "venv" / "bin" / "python", peers.PEERS / "python" / "fill.py", kafka.server, *words]
    told = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout.split()
    return int(told[0]), int(told[1])


def reading(kafka, results, topic, expected, keys, rounds):
    """Some readings of a topic by forebay."""
    cell = results.cell("growth", **keys)
    cell["records"] = expected[0]
    for _ in range(rounds):
        run = measure.count(peers.read("forebay", kafka.server, topic, 1, expected[0]), expected)
        cell.setdefault("runs", []).append([run["cpu"], run["wall"], run["mb"]])
    results.save()


def records_and_partitions(program, results, counts, partitions, rounds, deadline, log):
    with Kafka(program) as kafka:
        kafka.topic("nothing")
        for kind in ("records", "partitions"):
            reading(kafka, results, "nothing", (0, 0), {"kind": kind, "n": 0}, rounds)
        for count in partitions:
            if time.monotonic() > deadline:
                return
            topic = f"partitions-{count}"
            kafka.topic(topic, count)
            expected = python_fill(kafka, "partitions", topic, count, RECORDS_EACH)
            reading(kafka, results, topic, expected, {"kind": "partitions", "n": count}, rounds)
            log(f"grown to {count:,} partitions")
        for count in counts:
            if time.monotonic() > deadline:
                return
            topic = f"records-{count}"
            kafka.topic(topic)
            expected = kafka.fill(topic, "lz4", count, 0)
            reading(kafka, results, topic, expected, {"kind": "records", "n": count}, rounds if count < 5_000_000 else 3)
            log(f"grown to {count:,} records")


def brokers(program, results, records, rounds, deadline, log):
    for count in BROKERS:
        if time.monotonic() > deadline:
            return
        with Kafka(program, count) as kafka:
            kafka.topic("spread", 6)
            expected = kafka.fill("spread", "lz4", records, 0)
            reading(kafka, results, "spread", expected, {"kind": "brokers", "n": count}, rounds)
        log(f"grown to {count} brokers")


def columns(program, results, counts, records, rounds, deadline, log):
    with Kafka(program) as kafka:
        for count in counts:
            if time.monotonic() > deadline:
                return
            topic = f"columns-{count}"
            kafka.topic(topic)
            expected = python_fill(kafka, "columns", topic, records, count)
            names = [f"c{column}" for column in range(count)]
            table = f"CREATE TABLE events ({', '.join(name + ' string' for name in names)})"
            with pipeline.Bench(table) as bench:
                cell = results.cell("growth", kind="columns", n=count)
                for number in range(rounds):
                    text = pipeline.job(kafka.server, topic, f"c{count}-{number}", names, names, 1)
                    run, rows, _ = bench.run_job(text)
                    if rows != expected[0]:
                        raise RuntimeError(f"{rows} rows arrived, not {expected[0]}")
                    cell.setdefault("runs", []).append([run["cpu"], run["wall"], run["mb"]])
            results.save()
            log(f"grown to {count} columns")


def measure_growth(results, quick, rounds, deadline, log):
    program = peers.forebay_program("real_kafka")
    rounds = min(rounds, 5)
    counts = (QUICK_RECORDS, QUICK_PARTITIONS, QUICK_COLUMNS) if quick else (RECORDS, PARTITIONS, COLUMNS)
    columns(program, results, counts[2], 10_000 if quick else 50_000, rounds, deadline, log)
    brokers(program, results, 200_000 if quick else 1_000_000, rounds, deadline, log)
    records_and_partitions(program, results, counts[0], counts[1], rounds, deadline, log)

"""Reading a topic from its start to its end: CPU, time, memory, time to the first record, bytes on the wire."""

import time

from . import measure, peers
from .kafka import Relay

CODECS = ["none", "lz4", "snappy", "gzip", "zstd"]
# Size: words of filler that make it, and records of a full run (some 250 MB each).
SIZES = {"100 B": (0, 2_000_000), "1 KiB": (58, 250_000), "10 KiB": (634, 25_000)}
QUICK_SIZES = {"226 B": (8, 200_000)}


def fill(kafka, sizes, scale, log):
    """Topics of every codec and size, one partition each. Their name, to records and bytes."""
    topics = {}
    for size, (words, records) in sizes.items():
        for codec in CODECS:
            name = f"{codec}-{size.replace(' ', '')}"
            kafka.topic(name)
            topics[name] = (codec, size, *kafka.fill(name, codec, max(1000, int(records * scale)), words))
            log(f"filled {name}: {topics[name][2]:,} records, {topics[name][3] / 1e6:.0f} MB")
    return topics


def rounds(kafka, names, topics, results, most, deadline, log):
    """Every client reads every topic once a round, the order turned by one each time. Rounds go on until `most` or `deadline`."""
    # Nobody is to be the first on a broker that has just been started and filled.
    for topic, (_, _, records, size_bytes) in topics.items():
        measure.count(peers.read("forebay", kafka.server, topic, 1, records), (records, size_bytes))
    for number in range(most):
        for topic, (codec, size, records, size_bytes) in topics.items():
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                if number > 0 and time.monotonic() > deadline:
                    return
                cell = results.cell("fetch", codec=codec, size=size, peer=name)
                if cell.get("failed"):
                    continue
                command = peers.read(name, kafka.server, topic, 1, records)
                try:
                    run = measure.count(command, (records, size_bytes))
                except RuntimeError as error:
                    # A client that cannot read this is out of this cell; forebay has to.
                    log(f"{name} on {topic}: {error}")
                    cell["failed"] = (str(error).strip().splitlines() or ["?"])[-1][:300]
                    if name == "forebay":
                        raise
                    continue
                cell.update(records=records, bytes=size_bytes)
                cell.setdefault("runs", []).append([run["cpu"], run["wall"], run["mb"], run["first"]])
        results.save()
        log(f"round {number + 1} of at most {most}")


def wire(kafka, names, topics, results, size, log):
    """One more reading through a relay that counts: a run of its own, whose time is of no interest."""
    for topic, (codec, of, records, size_bytes) in topics.items():
        if of != size:
            continue
        for name in names:
            cell = results.cell("fetch", codec=codec, size=of, peer=name)
            if cell.get("failed"):
                continue
            with Relay(kafka) as relay:
                try:
                    measure.count(peers.read(name, kafka.relayed, topic, 1, records), (records, size_bytes))
                except RuntimeError as error:
                    log(f"{name} on {topic} through the relay: {error}")
                    continue
                taken = relay.taken().values()
            cell["wire"] = [sum(count[index] for count in taken) for index in (0, 1, 2)]
        log(f"counted the wire of {topic}")
    results.save()

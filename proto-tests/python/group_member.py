"""A member of a group with librdkafka, which prints the lines of examples/group.rs.

Arguments: servers, group, topics with commas, properties as name=value.
"""

import signal
import sys
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

COMMIT_S = 0.5
work = {}
stopping = False


def say(line):
    print(int(time.time() * 1000), line, flush=True)


def names(partitions):
    return ",".join(sorted(f"{p.topic}-{p.partition}" for p in partitions)) or "-"


def commit(consumer, of=None):
    due = {key: offset for key, offset in work.items() if of is None or key in of}
    if not due:
        return
    try:
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in due.items()]
        for stored in consumer.commit(offsets=offsets, asynchronous=False):
            if stored.error is not None:
                raise KafkaException(stored.error)
        for (topic, partition), offset in due.items():
            say(f"committed {topic} {partition} {offset}")
            del work[(topic, partition)]
    except KafkaException as e:
        say(f"fenced {e}")


def on_assign(consumer, partitions):
    say(f"assigned ? {names(partitions)} librdkafka librdkafka")


def on_revoke(consumer, partitions):
    keys = {(p.topic, p.partition) for p in partitions}
    commit(consumer, keys)
    for key in keys:
        work.pop(key, None)
    say(f"revoked ? {names(partitions)}")


def on_lost(consumer, partitions):
    for p in partitions:
        work.pop((p.topic, p.partition), None)
    say(f"lost - {names(partitions)}")


def stop(*_):
    global stopping
    stopping = True


def main():
    servers, group, topics = sys.argv[1:4]
    config = {
        "bootstrap.servers": servers,
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
    }
    pause = 0.0
    for argument in sys.argv[4:]:
        name, value = argument.split("=", 1)
        if name == "pause.ms":
            pause = float(value) / 1000
        else:
            config[name] = value
    signal.signal(signal.SIGTERM, stop)
    consumer = Consumer(config)
    consumer.subscribe(topics.split(","), on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)
    committed = time.monotonic()
    while not stopping:
        messages = consumer.consume(2000, 0.2)
        # A rebalance within the call may have taken away what it returns.
        owned = {(p.topic, p.partition) for p in consumer.assignment()} if messages else set()
        ranges = {}
        for message in messages:
            if message.error() is not None:
                say(f"error {message.error()}")
                continue
            key = (message.topic(), message.partition())
            if key not in owned:
                continue
            first, _, count = ranges.get(key, (message.offset(), 0, 0))
            ranges[key] = (first, message.offset() + 1, count + 1)
        for (topic, partition), (first, end, count) in ranges.items():
            say(f"read {topic} {partition} {first} {end} {count}")
            if pause:
                time.sleep(pause)
            work[(topic, partition)] = end
        if time.monotonic() - committed >= COMMIT_S:
            commit(consumer)
            committed = time.monotonic()
    commit(consumer)
    consumer.close()
    say("left")


main()

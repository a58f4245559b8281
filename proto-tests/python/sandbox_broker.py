"""Drives a broker with librdkafka and checks what comes back.

Arguments: the bootstrap address, and `old` for a broker of before Kafka 1.1. The broker has three nodes and creates no topics
by itself. Ends with 0 and prints one line of JSON about what it saw.
"""

import json
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
PARTITIONS = 10
PER_RUN = 500
FIRST_MS = 1_500_000_000_000
HEADERS = [("h", b"1"), ("h", b"2"), ("empty", b""), ("null", None)]


def expect(what, actual, expected):
    if actual != expected:
        sys.exit(f"{what}: got {actual!r}, expected {expected!r}")


def code_of(future):
    try:
        future.result()
    except KafkaException as error:
        return error.args[0].code()
    return None


def create(admin):
    topics = [
        NewTopic("spread", PARTITIONS, 3),
        NewTopic("append", 1, 1, config={"message.timestamp.type": "LogAppendTime"}),
        NewTopic("small", 1, 1, config={"max.message.bytes": "1000"}),
    ]
    for future in admin.create_topics(topics).values():
        future.result()
    again = admin.create_topics([NewTopic("spread", 1, 1)])["spread"]
    expect("a topic twice", code_of(again), KafkaError.TOPIC_ALREADY_EXISTS)
    wide = admin.create_topics([NewTopic("wide", 1, 9)])["wide"]
    expect("nine replicas", code_of(wide), KafkaError.INVALID_REPLICATION_FACTOR)


def produce(server):
    """The same keys and values by every codec, with and without idempotence; gives partition, offset and timestamp by key."""
    written = {}

    def delivered(error, message):
        if error is not None:
            sys.exit(f"not delivered: {error}")
        written[message.key()] = (message.partition(), message.offset(), message.timestamp()[1])

    for idempotent in (False, True):
        for codec in CODECS:
            settings = {"bootstrap.servers": server, "compression.type": codec, "enable.idempotence": idempotent}
            producer = Producer({**settings, "linger.ms": 20})
            for number in range(PER_RUN):
                key = f"{codec}-{idempotent}-{number}".encode()
                value = None if number % 50 == 0 else key * 10
                stamp = FIRST_MS + number
                producer.produce("spread", value, key, timestamp=stamp, headers=HEADERS, on_delivery=delivered)
            expect("left in the queue", producer.flush(60), 0)
    expect("delivered", len(written), 2 * len(CODECS) * PER_RUN)
    return written


def refused(server):
    """A batch beyond the topic's limit, and a topic that does not exist."""
    codes = []
    producer = Producer({"bootstrap.servers": server, "message.timeout.ms": 20_000, "topic.metadata.propagation.max.ms": 500})
    for topic, value in (("small", b"x" * 2_000), ("nowhere", b"x")):
        producer.produce(topic, value, on_delivery=lambda error, _: codes.append(error and error.code()))
        producer.flush(30)
    expect("refusals", codes, [KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.UNKNOWN_TOPIC_OR_PART])


def consume_in_group(server, written):
    settings = {"bootstrap.servers": server, "group.id": "judge", "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "enable.auto.commit": False, "check.crcs": True, "session.timeout.ms": 10_000})
    consumer.subscribe(["spread"])
    seen = {}
    deadline = time.time() + 60
    while len(seen) < len(written) and time.time() < deadline:
        for message in consumer.consume(500, timeout=1.0):
            if message.error():
                sys.exit(f"consuming: {message.error()}")
            expect("headers", message.headers(), HEADERS)
            null = message.key().endswith(b"-0") or int(message.key().rsplit(b"-", 1)[1]) % 50 == 0
            expect("value", message.value(), None if null else message.key() * 10)
            seen[message.key()] = (message.partition(), message.offset(), message.timestamp()[1])
    expect("records read back", seen, written)
    consumer.commit(asynchronous=False)
    return consumer


def look_up(consumer, written):
    ends = {}
    for partition in range(PARTITIONS):
        mine = [record for record in written.values() if record[0] == partition]
        low, high = consumer.get_watermark_offsets(TopicPartition("spread", partition), timeout=10)
        expect("watermarks", (low, high), (0, len(mine)))
        ends[partition] = high
        at = FIRST_MS + 400
        first = min((offset for _, offset, stamp in mine if stamp >= at), default=-1)
        found = consumer.offsets_for_times([TopicPartition("spread", partition, at)], timeout=10)[0].offset
        expect(f"offset by time in partition {partition}", found, first)
        beyond = consumer.offsets_for_times([TopicPartition("spread", partition, FIRST_MS + PER_RUN)], timeout=10)
        expect("beyond the last time", beyond[0].offset, -1)
    return ends


def commits(consumer, ends):
    partitions = [TopicPartition("spread", partition) for partition in range(PARTITIONS)]
    committed = consumer.committed(partitions, timeout=10)
    expect("committed", {one.partition: one.offset for one in committed}, ends)
    consumer.commit(offsets=[TopicPartition("spread", 0, 7, metadata="seven")], asynchronous=False)
    one = consumer.committed([TopicPartition("spread", 0)], timeout=10)[0]
    expect("metadata", (one.offset, one.metadata), (7, "seven"))


def append_time(server):
    producer = Producer({"bootstrap.servers": server, "compression.type": "lz4"})
    for value in (b"a", b"b"):
        producer.produce("append", value, timestamp=5)
    producer.flush(30)
    consumer = Consumer({"bootstrap.servers": server, "group.id": "append", "check.crcs": True})
    consumer.assign([TopicPartition("append", 0, OFFSET_BEGINNING)])
    for _ in range(2):
        message = consumer.poll(20)
        kind, stamp = message.timestamp()
        expect("kind of time", kind, 2)
        if abs(stamp - time.time() * 1000) > 60_000:
            sys.exit(f"append time {stamp}")
    consumer.close()


def describe(admin, old):
    group = admin.describe_consumer_groups(["judge"])["judge"].result()
    expect("members", [len(member.assignment.topic_partitions) for member in group.members], [PARTITIONS])
    names = sorted(group.group_id for group in admin.list_consumer_groups().result().valid)
    expect("groups", "judge" in names, True)
    topic = admin.describe_topics(TopicCollection(["spread"]))["spread"].result()
    expect("replicas", {len(partition.replicas) for partition in topic.partitions}, {3})
    leaders = {partition.leader.id for partition in topic.partitions}
    expect("leaders", leaders, {1, 2, 3})
    if not old:
        describe_new(admin)
    return len(admin.describe_cluster().result().nodes)


def describe_new(admin):
    """What brokers of before 1.1 cannot be asked."""
    resource = ConfigResource("topic", "append")
    configs = admin.describe_configs([resource])[resource].result()
    expect("timestamp type", configs["message.timestamp.type"].value, "LogAppendTime")
    newest = admin.list_offsets({TopicPartition("spread", 0): OffsetSpec.max_timestamp()})
    stamp = next(iter(newest.values())).result().timestamp
    expect("newest is in range", FIRST_MS <= stamp < FIRST_MS + PER_RUN, True)


def delete(admin):
    partition = TopicPartition("spread", 1, 5)
    low = admin.delete_records([partition])[partition].result().low_watermark
    expect("low watermark", low, 5)
    admin.delete_topics(["append"])["append"].result()
    gone = admin.delete_topics(["append"])["append"]
    expect("deleted twice", code_of(gone), KafkaError.UNKNOWN_TOPIC_OR_PART)


def main():
    server, old = sys.argv[1], "old" in sys.argv[2:]
    admin = AdminClient({"bootstrap.servers": server})
    create(admin)
    written = produce(server)
    refused(server)
    consumer = consume_in_group(server, written)
    ends = look_up(consumer, written)
    commits(consumer, ends)
    append_time(server)
    nodes = describe(admin, old)
    consumer.close()
    delete(admin)
    print(json.dumps({"records": len(written), "nodes": nodes}))


main()

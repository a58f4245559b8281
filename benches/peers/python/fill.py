"""Fills topics in ways that Kafka's own producer programs do not.

`fill.py SERVER partitions TOPIC PARTITIONS RECORDS_EACH`: as many records in every partition; prints records and bytes.
`fill.py SERVER columns TOPIC RECORDS COLUMNS`: JSON objects of so many members, c0 and so on; prints the same.
"""

import sys

from confluent_kafka import Producer


def main():
    server, what, topic, first, second = sys.argv[1:]
    first, second = int(first), int(second)
    producer = Producer({"bootstrap.servers": server, "compression.type": "lz4", "linger.ms": 50, "batch.num.messages": 10_000,
                         "queue.buffering.max.messages": 1_000_000, "acks": "all"})
    failed, records, size = [], 0, 0

    def told(error, _message):
        if error is not None:
            failed.append(error)

    def send(value, partition):
        nonlocal records, size
        while True:
            try:
                producer.produce(topic, value, partition=partition, on_delivery=told)
                break
            except BufferError:
                producer.poll(0.1)
        records, size = records + 1, size + len(value)
        if records % 1000 == 0:
            producer.poll(0)

    if what == "partitions":
        for partition in range(first):
            for number in range(second):
                send(b'{"event_id":"p%04d-%06d","amount":%d,"tag":{"desc":"device-%04d","kind":"read"},"payload":""}'
                     % (partition, number, number * 7919 % 1_000_000, number * 31 % 10_000), partition)
    else:
        for number in range(first):
            members = b",".join(b'"c%d":"v%09d"' % (column, number * 7919 + column) for column in range(second))
            send(b"{" + members + b"}", 0)
    producer.flush()
    if failed:
        raise SystemExit(str(failed[0]))
    print(records, size)


main()

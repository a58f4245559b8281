"""Sends records with the keys key-0, key-1 and so on through librdkafka, and prints the partition of each.

Arguments: bootstrap servers, topic, partitioner, number of records.
"""

import sys

from confluent_kafka import Producer

servers, topic, partitioner, count = sys.argv[1:]
partitions = {}
producer = Producer({"bootstrap.servers": servers, "partitioner": partitioner, "sticky.partitioning.linger.ms": 0})


def delivered(number):
    def told(error, message):
        if error is not None:
            raise SystemExit(str(error))
        partitions[number] = message.partition()

    return told


for number in range(int(count)):
    producer.produce(topic, key=f"key-{number}", on_delivery=delivered(number))
    producer.poll(0)
producer.flush()
for number in range(int(count)):
    print(partitions[number])

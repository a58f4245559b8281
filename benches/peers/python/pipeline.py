"""A topic into a table, as one would write it with confluent-kafka and PyODPS.

Options: --bootstrap-server, --topic, --partitions, --records, --endpoint, --tunnel-endpoint.
"""

import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from odps import ODPS, options
from odps.tunnel import TableTunnel


def main():
    given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    options.tunnel.string_as_binary = True
    odps = ODPS("sandbox", "sandbox", project="sandbox", endpoint=given["--endpoint"], tunnel_endpoint=given["--tunnel-endpoint"])
    session = TableTunnel(odps, endpoint=given["--tunnel-endpoint"]).create_upload_session("events")
    consumer = Consumer({
        "bootstrap.servers": given["--bootstrap-server"],
        "group.id": "none",
        "enable.auto.commit": False,
        "check.crcs": True,
    })
    topic = given["--topic"]
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(int(given["--partitions"]))])
    wanted, records = int(given["--records"]), 0
    with session.open_record_writer(0) as writer:
        row = session.new_record()
        while records < wanted:
            for message in consumer.consume(10_000, 0.5):
                if message.error():
                    raise SystemExit(str(message.error()))
                value = message.value()
                members = json.loads(value)
                row[0] = members["event_id"]
                row[1] = members["amount"]
                row[2] = members["tag"]["desc"]
                row[3] = str(message.partition())
                row[4] = str(message.offset())
                row[5] = str(message.timestamp()[1])
                row[6] = value
                writer.write(row)
                records += 1
    session.commit([0])
    print(records)


main()

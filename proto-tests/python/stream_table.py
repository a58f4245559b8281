"""Writes JSON lines from standard input into a table with PyODPS through a stream session, rows as dump_table.py prints them.

Prints {"session", "schema_version", "rows", "packs"} at the end. Rows are visible as soon as their pack is flushed.
"""

import json
import sys

from odps.tunnel import TableTunnel

from maxcompute import arguments, compression, connect, emit, from_json


def main():
    args = arguments(
        __doc__,
        ("--table", {"required": True}),
        ("--partition", {"help": "pt=1,type=2"}),
        ("--create-partition", {"action": "store_true"}),
        ("--latest-schema", {"action": "store_true", "help": "insist on the table's present schema"}),
        ("--slots", {"type": int, "default": 0}),
        ("--pack-rows", {"type": int, "default": 1}),
        ("--compress", {"choices": ["zlib", "snappy", "lz4", "zstd"]}),
    )
    odps = connect(args)
    session = TableTunnel(odps, endpoint=args.tunnel_endpoint).create_stream_upload_session(
        odps.get_table(args.table),
        partition_spec=args.partition,
        create_partition=args.create_partition,
        allow_schema_mismatch=not args.latest_schema,
        slot_num=args.slots,
        **compression(args),
    )
    columns = session.schema.simple_columns
    rows = packs = 0
    writer = None
    for line in sys.stdin:
        row = json.loads(line)
        if not isinstance(row, list):
            continue
        if writer is None:
            writer = session.open_record_writer(compress=bool(args.compress))
        writer.write(session.new_record([from_json(column.type, value) for column, value in zip(columns, row)]))
        rows += 1
        if rows % args.pack_rows == 0:
            writer.close()
            packs += 1
            writer = None
    if writer is not None:
        writer.close()
        packs += 1
    emit({"session": session.id, "schema_version": session.schema_version, "rows": rows, "packs": packs})


main()

"""Writes JSON lines from standard input into a table with PyODPS: one batch upload session, rows as dump_table.py prints them.

Prints {"upload_id", "blocks": [ids], "rows": n} after the commit.
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
        ("--overwrite", {"action": "store_true"}),
        ("--compress", {"choices": ["zlib", "snappy", "lz4", "zstd"]}),
        ("--blocks", {"type": int, "default": 1, "help": "rows go round robin into so many blocks"}),
    )
    odps = connect(args)
    compress = compression(args)
    session = TableTunnel(odps, endpoint=args.tunnel_endpoint).create_upload_session(
        args.table,
        partition_spec=args.partition,
        create_partition=args.create_partition,
        overwrite=args.overwrite,
        **compress,
    )
    columns = session.schema.simple_columns
    writers = [session.open_record_writer(block, compress=bool(args.compress)) for block in range(args.blocks)]
    rows = 0
    for line in sys.stdin:
        row = json.loads(line)
        if not isinstance(row, list):
            continue
        values = [from_json(column.type, value) for column, value in zip(columns, row)]
        writers[rows % len(writers)].write(session.new_record(values))
        rows += 1
    for writer in writers:
        writer.close()
    blocks = list(range(args.blocks))
    session.commit(blocks)
    emit({"upload_id": session.id, "blocks": blocks, "rows": rows})


main()

"""Reads a table, or the result of a query, with PyODPS through the Tunnel, and prints it as JSON lines.

The first line is {"columns": [names], "types": [types], "count": n}, every other one is the list of a row's values in the
order of the columns, see maxcompute.py.
"""

import sys

from odps.tunnel import TableTunnel

from maxcompute import arguments, compression, connect, emit, head, to_json


def rows_of_table(odps, args):
    compress = compression(args)
    tunnel = TableTunnel(odps, endpoint=args.tunnel_endpoint)
    session = tunnel.create_download_session(
        args.table, partition_spec=args.partition, schema=args.schema, **compress
    )
    columns = session.schema.simple_columns
    if args.columns:
        columns = [session.schema[name] for name in args.columns.split(",")]
    head(columns, session.count)
    count = 0
    if session.count > 0:
        names = [column.name for column in columns]
        with session.open_record_reader(0, session.count, compress=bool(args.compress), columns=names) as reader:
            for record in reader:
                emit([to_json(column.type, record[column.name]) for column in columns])
                count += 1
    return count, session.count


def rows_of_query(odps, args):
    with odps.execute_sql(args.sql).open_reader(tunnel=True) as reader:
        columns = reader.schema.columns
        head(columns, reader.count)
        count = 0
        for record in reader:
            emit([to_json(column.type, value) for column, value in zip(columns, record.values)])
            count += 1
        return count, reader.count


def main():
    args = arguments(
        __doc__,
        ("--table", {}),
        ("--partition", {"help": "pt=1,type=2"}),
        ("--columns", {"help": "only these, in this order"}),
        ("--compress", {"choices": ["zlib", "snappy", "lz4", "zstd"]}),
        ("--sql", {"help": "a SELECT instead of a table"}),
    )
    odps = connect(args)
    count, announced = rows_of_query(odps, args) if args.sql else rows_of_table(odps, args)
    if count != announced:
        sys.exit(f"{announced} rows were announced, {count} came")


main()

"""Runs SQL with PyODPS and prints what it gives.

The rows of a SELECT as dump_table.py prints them, through the instance tunnel, or with --no-tunnel as the lists of texts in
the result's CSV. The text of anything else as {"text": …}. A failed statement prints {"error": …} and ends with status 1.
"""

import sys

from odps import errors, options

from maxcompute import arguments, connect, emit, head, to_json


def main():
    args = arguments(__doc__, ("sql", {}), ("--no-tunnel", {"action": "store_true"}))
    odps = connect(args)
    try:
        instance = odps.execute_sql(args.sql)
    except errors.ODPSError as error:
        emit({"error": str(error), "code": error.code})
        sys.exit(1)
    if not args.sql.strip().lower().startswith(("select", "with", "values")):
        with instance.open_reader(tunnel=False) as reader:
            emit({"text": reader.raw})
    elif args.no_tunnel:
        # The CSV is text; as bytes, PyODPS would not tell its NULL from the two characters.
        options.tunnel.string_as_binary = False
        with instance.open_reader(tunnel=False) as reader:
            for record in reader:
                emit(list(record.values))
    else:
        with instance.open_reader(tunnel=True) as reader:
            columns = reader.schema.columns
            head(columns, reader.count)
            for record in reader:
                emit([to_json(column.type, value) for column, value in zip(columns, record.values)])



main()

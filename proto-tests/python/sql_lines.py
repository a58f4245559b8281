"""Runs one statement a line with PyODPS: execute_sql, and open_reader for what gives rows.

Prints a line for each: {"rows": [[texts or null]]} for a query, through the instance tunnel; {"rows": …} with --no-tunnel from
the result's own text; {"rows": []} for anything else; {"error": text} when it failed.
"""

import decimal
import json
import sys

from odps import errors, options

from maxcompute import arguments, connect, emit


def text(value):
    """A value as SQL would print it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    return str(value)


def main():
    args = arguments(__doc__, ("--no-tunnel", {"action": "store_true"}))
    odps = connect(args)
    if args.no_tunnel:
        # As bytes, PyODPS would not tell the CSV's NULL from the two characters.
        options.tunnel.string_as_binary = False
    for line in sys.stdin:
        sql = json.loads(line)
        try:
            instance = odps.execute_sql(sql)
            rows = []
            if sql.lower().startswith("select"):
                with instance.open_reader(tunnel=not args.no_tunnel) as reader:
                    rows = [[text(value) for value in record.values] for record in reader]
            emit({"rows": rows})
        except errors.ODPSError as error:
            emit({"error": str(error)})


main()

"""Reads a table with PyODPS's TableTunnel and prints it: one JSON array a line, first the column names, then the rows.

A cell is null, or the bytes of a STRING in hexadecimal, so that nothing is lost on the way to the reader of this output.
"""

import json
import sys

from odps import ODPS, options
from odps.tunnel import TableTunnel


def main():
    endpoint, tunnel_endpoint, project, access_id, access_key, table = sys.argv[1:]
    options.tunnel.string_as_binary = True
    odps = ODPS(access_id, access_key, project, endpoint=endpoint, tunnel_endpoint=tunnel_endpoint)
    session = TableTunnel(odps).create_download_session(table)
    print(json.dumps([column.name for column in session.schema.simple_columns]))
    if session.count == 0:
        return
    count = 0
    with session.open_record_reader(0, session.count) as reader:
        for record in reader:
            print(json.dumps([None if cell is None else bytes(cell).hex() for cell in record.values]))
            count += 1
    if count != session.count:
        sys.exit(f"the session announced {session.count} rows, {count} came")


main()

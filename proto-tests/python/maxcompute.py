"""What the PyODPS programs of this folder share: options, a connection, and values as JSON.

A value is written as in the test vectors of the Tunnel format, with bits instead of decimal text where text would lose
something: null, text, number, true and false; {"bits": hex} for FLOAT (8 digits) and DOUBLE (16); {"decimal": text};
{"bytes_hex": hex} for BINARY and for texts that are not UTF-8; {"epoch_millis": n}; {"epoch_days": n};
{"seconds": n, "nanos": n}; {"json_text": text}; lists; {"map": [[k, v], ...]}; {"struct": [[name, v], ...]}.
"""

import argparse
import datetime
import decimal
import json
import struct

from odps import ODPS, options, types

EPOCH = datetime.datetime(1970, 1, 1)


def arguments(description, *more):
    """The options every program takes, and `more` of its own as (name, settings)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--endpoint", required=True, help="the ODPS endpoint, such as http://127.0.0.1:8080/api")
    parser.add_argument("--tunnel-endpoint", help="the tunnel endpoint; asked from the ODPS endpoint when left out")
    parser.add_argument("--project", default="sandbox")
    parser.add_argument("--access-id", default="sandbox")
    parser.add_argument("--access-key", default="sandbox")
    parser.add_argument("--region", help="signs with V4 where the client can")
    parser.add_argument("--schema", help="of a project with schemas")
    parser.add_argument("--quota", help="the tunnel quota")
    for name, settings in more:
        parser.add_argument(name, **settings)
    return parser.parse_args()


def connect(args):
    """A PyODPS entry that keeps texts as bytes, takes moments for UTC and lets days before 1928 through."""
    options.allow_antique_date = True
    options.tunnel.string_as_binary = True
    options.local_timezone = False
    if args.schema:
        options.sql.settings = {"odps.namespace.schema": "true"}
    return ODPS(
        args.access_id,
        args.access_key,
        project=args.project,
        endpoint=args.endpoint,
        tunnel_endpoint=args.tunnel_endpoint,
        region_name=args.region,
        schema=args.schema,
        quota_name=args.quota,
    )


def compression(args):
    """What --compress names, as the arguments of a session; nothing without it."""
    return {"compress_algo": args.compress} if args.compress else {}


def emit(value):
    """One JSON line."""
    print(json.dumps(value, ensure_ascii=False, separators=(",", ":")), flush=True)


def head(columns, count):
    """The first line of a dump: names, types and the number of rows to come."""
    emit({"columns": [c.name for c in columns], "types": [str(c.type).lower().replace("`", "") for c in columns], "count": count})


def to_json(kind, value):
    """A value of a record as JSON."""
    if value is None:
        return None
    if isinstance(kind, types.Array):
        return [to_json(kind.value_type, each) for each in value]
    if isinstance(kind, types.Map):
        return {"map": [[to_json(kind.key_type, k), to_json(kind.value_type, v)] for k, v in value.items()]}
    if isinstance(kind, types.Struct):
        pairs = value.items() if hasattr(value, "items") else zip(kind.field_types, value)
        return {"struct": [[name, to_json(kind.field_types[name], each)] for name, each in pairs]}
    name = kind.name.lower()
    if name in ("tinyint", "smallint", "int", "bigint", "boolean"):
        return value
    if name == "double":
        return {"bits": struct.pack(">d", value).hex()}
    if name == "float":
        return {"bits": struct.pack(">f", value).hex()}
    if name.startswith("decimal"):
        return {"decimal": format(value, "f")}
    if name == "binary":
        return {"bytes_hex": bytes(value).hex()}
    if name == "json":
        # PyODPS gives what the text means; a str is a JSON string.
        return {"json_text": json.dumps(value, ensure_ascii=False, separators=(",", ":"))}
    if name == "date":
        return {"epoch_days": (value - EPOCH.date()).days}
    if name == "datetime":
        return {"epoch_millis": (value.replace(tzinfo=None) - EPOCH) // datetime.timedelta(milliseconds=1)}
    if name in ("timestamp", "timestamp_ntz"):
        stamp = value.tz_localize(None).value if value.tzinfo else value.value
        return {"seconds": stamp // 10**9, "nanos": stamp % 10**9}
    if name == "interval_day_time":
        return {"seconds": value.value // 10**9, "nanos": value.value % 10**9}
    if name == "interval_year_month":
        return {"months": value.total_months()}
    raw = value if isinstance(value, bytes) else str(value).encode()
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"bytes_hex": raw.hex()}


def from_json(kind, value):
    """JSON as a value that a record takes."""
    if value is None:
        return None
    if isinstance(kind, types.Array):
        return [from_json(kind.value_type, each) for each in value]
    if isinstance(kind, types.Map):
        return {from_json(kind.key_type, k): from_json(kind.value_type, v) for k, v in value["map"]}
    if isinstance(kind, types.Struct):
        return {name: from_json(kind.field_types[name], each) for name, each in value["struct"]}
    name = kind.name.lower()
    if name == "double":
        return struct.unpack(">d", bytes.fromhex(value["bits"]))[0]
    if name == "float":
        return struct.unpack(">f", bytes.fromhex(value["bits"]))[0]
    if name.startswith("decimal"):
        return decimal.Decimal(value["decimal"])
    if name == "date":
        return EPOCH.date() + datetime.timedelta(days=value["epoch_days"])
    if name == "datetime":
        return EPOCH + datetime.timedelta(milliseconds=value["epoch_millis"])
    if name in ("timestamp", "timestamp_ntz"):
        import pandas

        return pandas.Timestamp(value["seconds"] * 10**9 + value["nanos"], unit="ns")
    if name == "interval_day_time":
        import pandas

        return pandas.Timedelta(value["seconds"] * 10**9 + value["nanos"], unit="ns")
    if name == "interval_year_month":
        from odps.compat import Monthdelta

        return Monthdelta(value["months"])
    if isinstance(value, dict) and "bytes_hex" in value:
        return bytes.fromhex(value["bytes_hex"])
    if isinstance(value, dict) and "json_text" in value:
        return json.loads(value["json_text"])
    return value

"""Makes the seeds of the fuzz targets from the recorded vectors: `seeds.py FOLDER`, one folder a target below it."""

import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = HERE.parent / "vectors"
OUT = pathlib.Path(sys.argv[1])


def write(target: str, name: str, data: bytes) -> None:
    folder = OUT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def unhex(path: pathlib.Path) -> bytes:
    return bytes.fromhex("".join(line for line in path.read_text().splitlines() if not line.startswith("#")))


# The APIs in the order of `ApiKey::ALL`, with their lowest version.
source = (HERE.parent.parent / "src/kafka/msg/api_key.rs").read_text()
apis = re.findall(r"^    (\w+) = -?\d+, versions (\d+)\.\.=(\d+)", source, re.M)
numbers = {re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower(): (n, int(low)) for n, (name, low, _) in enumerate(apis)}

for path in sorted(VECTORS.glob("answers/*/*.hex")):
    api, frame = path.parent.name, unhex(path)
    write("frames", f"{api}-{path.stem}", b"\xff" + frame)
    number, low = numbers[api]
    version = int(path.stem[1:].split("-")[0])
    if version >= low:
        write("answers", f"{api}-{path.stem}", bytes([number, version - low]) + frame[4:])

for path in sorted(VECTORS.glob("records/*.hex")):
    data = unhex(path)
    if len(data) > 20_000:
        continue
    write("batches", path.stem, data)
    write("message_sets", path.stem, bytes([1 if path.stem.startswith("v1") else 0]) + data)
    if data[16:17] == b"\x02" and data[22] & 7:
        end = 12 + int.from_bytes(data[8:12], "big")
        write("codecs", path.stem, bytes([(data[22] & 7) - 1]) + data[61:end])
        if data[22] & 7 == 4:
            write("zstd", path.stem, bytes([0]) + data[61:end])

# Plain bytes for C to pack: at several levels, as they are and to be changed.
for n, level in enumerate((0, 6, 8, 10, 14, 20, 29)):
    plain = b"".join(b"record %d of %d, key=%x;" % (i, level, i * i * 2654435761 % 65521) for i in range(120))
    write("zstd", f"plain-{level}", bytes([1, level, n]) + plain)
    write("zstd", f"changed-{level}", bytes([2, level, n, 1, n * 40, 0, 4]) + plain)

# What a fuzzer once found, one folder a target.
for path in sorted(VECTORS.glob("found/*/*.hex")):
    write(path.parent.name, f"found-{path.stem}", unhex(path))

for name in ("tunnel_records.json", "tunnel_records_pyodps.json"):
    text = (VECTORS / "tunnel" / name).read_text()
    for n, stream in enumerate(sorted(set(re.findall(r'"([0-9a-f]{8,})"', text)))):
        if len(stream) % 2 == 0:
            for schema in range(5):
                write("tunnel_rows", f"{name}-{n}-{schema}", bytes([0, schema, 9]) + bytes.fromhex(stream))
write("tunnel_rows", "deflate", bytes([1]) + bytes.fromhex("789c4b4c4a4e494d4b0700080b025b"))

job = (VECTORS / "jobs/seed.json").read_bytes()
write("job_files", "seed", b"\x00" + job)
for n, path in enumerate(sorted((HERE.parent.parent / "deploy").rglob("*.json"))):
    write("job_files", f"example-{n}", b"\x00" + path.read_bytes())
TABLES = b"""[emr]\ntype = "kafka"\naddress = ["a:9093"]\nkafkaConfig = { "ssl.ca.location" = "/ca.pem" }
[odps]\nendpoint = "http://a/api"\nproject = "p"\naccessId = "${ID}"\naccessKey = "${file:/k}"\n"""
write("job_files", "datasources", b"\x01" + TABLES)
write("job_files", "configuration", b"\x02[datasources.odps]\nendpoint = \"http://a/api\"\n")
write("job_files", "odps-config", b"\x03project_name=p\nend_point=http://a/api\naccess_id=i\naccess_key=k\n")
write("job_files", "params", b"\x04-p\"-Dbizdate=20240101 -Dx='a b'\"")

for n, text in enumerate([
    "bigint", "decimal(38,18)", "varchar(255)", "array<map<string,struct<a:int,b:decimal(10,2)>>>",
    "pt=20240101/region=cn", "pt='a,b',x=\"c\"", "map<bigint,array<array<timestamp_ntz>>>",
    '{"columns":[{"name":"a","type":"BIGINT","isNullable":false}],"partitionKeys":[{"name":"pt","type":"STRING"}]}',
]):
    write("types", f"{n}", b"\x00" + text.encode())

write("properties", "all", b"""security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="alice" password='p\\'w';
sasl.oauthbearer.method=oidc
sasl.oauthbearer.client.id=a
sasl.oauthbearer.token.endpoint.url=https://idp:443/token
sasl.oauthbearer.extensions=a=b,c=d
sasl.oauthbearer.scope=x
ssl.ca.location=/ca.pem
ssl.enabled.protocols=TLSv1.2,TLSv1.3
isolation.level=read_committed
fetch.max.bytes=1000
request.timeout.ms=5000
""")

FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
LAST = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
for mechanism in range(4):
    write("sasl", f"scram-{mechanism}", bytes([mechanism]) + FIRST + b"\xff" + LAST)
write("sasl", "token-refused", b"\x03" + b'{"status":"invalid_token","scope":"a"}' + b"\xff")
write("sasl", "empty", b"\x00")

write("group_blobs", "assignment", bytes.fromhex("000000000001000174000000020000000000000003ffffffff"))
write("group_blobs", "subscription", bytes.fromhex("000100000001000174ffffffff00000000"))
for n, text in enumerate(['{"a":1,"a.b":[1,"x\\u00e4"]}', '{"a":{"b":{"c":null}},"long name":-1.5e300}', "[{}]"]):
    write("json_members", f"{n}", text.encode())
ANSWERS = [
    (0, '{"UploadID":"u","Status":"NORMAL","Schema":{"columns":[{"name":"a","type":"bigint"}],"partitionKeys":[]},'
        '"MaxFieldSize":8388608,"UploadedBlockList":[{"BlockID":0,"CreateTime":1,"FileName":"f"}]}'),
    (1, '{"DownloadID":"d","Status":"NORMAL","RecordCount":3,"Schema":{"columns":[],"partitionKeys":[]}}'),
    (2, '<?xml version="1.0"?><Table><Name>t</Name><Schema format="Json"><![CDATA[{"columns":[{"name":"a",'
        '"type":"BIGINT"}],"partitionKeys":[],"isVirtualView":true}]]></Schema></Table>'),
    (3, '<Instance><Tasks><Task Type="SQL"><Name>q</Name><Result Transform="Base64" Format="csv">'
        '<![CDATA[ImEiCjE=]]></Result><ResultDescriptor>{"SelectResultStatus":"Truncated"}</ResultDescriptor>'
        "</Task></Tasks></Instance>"),
    (4, '"a","b"\r\n1,"x ""y"""\n\\N,\n'),
    (5, '{"Code":"FlowExceeded","Message":"m","RequestId":"r","HoldClientMillis":"500"}'),
    (5, "<Error><Code>NoSuchObject</Code><Message><![CDATA[m]]></Message><RequestId>1</RequestId></Error>"),
    (5, "<html><body>502 Bad &amp; Gateway</body></html>"),
]
for n, (kind, text) in enumerate(ANSWERS):
    write("tunnel_answers", f"{n}", bytes([kind]) + text.encode())

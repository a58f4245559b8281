"""The MaxCompute of the pipelines: everything goes to the local MaxCompute, but what blocks hold is counted and thrown away.

The local MaxCompute decodes, checks and stores every row, on the cores that the measured program needs. So a block's body stops
here: its size and the count of rows at its end are noted, the local MaxCompute gets a block without rows in its place, and its list of
blocks is told with the rows that were sent. Sessions, signatures and commits are the real thing.
"""

import http.client
import json
import re
import socket
import subprocess
import threading

from .listening import listen

# The two trailing fields of a block: count of rows and checksum of checksums, as varints; zero rows here.
COUNT, EMPTY = b"\xf0\xff\xff\x7f", b"\xf0\xff\xff\x7f\x00\xf8\xff\xff\x7f\x00"
PIECE = 1 << 20


class Sink:
    def __init__(self, forebay, folder):
        self.process = subprocess.Popen(
            [forebay, "sandbox", "up", "--maxcompute", "--maxcompute-port", "0"], stdout=subprocess.PIPE, text=True, cwd=folder)
        told = ""
        while "Ctrl-C" not in told:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("the local MaxCompute has ended")
            told += line
        self.behind = re.search(r"tunnel endpoint +http://(\S+)", told)[1]
        self.rows = self.bytes = 0
        self.blocks = {}
        self.lock = threading.Lock()
        self.listener = listen(0, self.serve)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]

    def serve(self, client):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        upstream = http.client.HTTPConnection(self.behind)
        reader = client.makefile("rb", buffering=PIECE)
        try:
            while line := reader.readline():
                method, path, _ = line.decode("latin-1").split(" ", 2)
                headers = {}
                while (line := reader.readline()) not in (b"\r\n", b""):
                    name, _, text = line.decode("latin-1").partition(":")
                    headers[name.strip()] = text.strip()
                low = {name.lower(): text for name, text in headers.items()}
                if "100-continue" in low.get("expect", ""):
                    client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                is_block = method == "PUT" and "blockid=" in path
                size, kept = read_body(reader, low, is_block)
                if is_block:
                    self.note(path, size, kept)
                    kept = EMPTY
                drop = {"transfer-encoding", "content-length", "expect", "connection"}
                passed = {name: text for name, text in headers.items() if name.lower() not in drop}
                upstream.request(method, path, body=kept or None, headers={**passed, "Content-Length": str(len(kept))})
                answer = upstream.getresponse()
                body = self.with_rows(path, answer.read())
                head = [f"HTTP/1.1 {answer.status} {answer.reason}"]
                head += [f"{name}: {text}" for name, text in answer.getheaders() if name.lower() not in drop]
                head += [f"Content-Length: {len(body)}", "", ""]
                client.sendall("\r\n".join(head).encode("latin-1") + (b"" if method == "HEAD" else body))
        except OSError:
            pass
        client.close()

    def note(self, path, size, tail):
        """The rows that a block says it has."""
        at = tail.rfind(COUNT)
        rows = shift = 0
        for byte in tail[at + len(COUNT) :]:
            rows |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        # Signed integers are written zigzag.
        rows >>= 1
        with self.lock:
            self.blocks[query(path, "uploadid"), int(query(path, "blockid"))] = rows
            self.rows += rows
            self.bytes += size

    def with_rows(self, path, body):
        """A list of blocks as if they held what was sent."""
        upload = query(path, "uploadid")
        if upload is None or b"UploadedBlockList" not in body:
            return body
        told = json.loads(body)
        for block in told["UploadedBlockList"]:
            with self.lock:
                rows = self.blocks.get((upload, block["BlockID"]), 0)
            block["RecordCount"] = rows
        return json.dumps(told).encode()

    def taken(self):
        """Rows and bytes of blocks since the last time."""
        with self.lock:
            taken, self.rows, self.bytes = (self.rows, self.bytes), 0, 0
            return taken

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.process.terminate()
        self.process.wait()


def query(path, name):
    """A value of a request's query."""
    found = re.search(rf"[?&]{name}=([^& ]*)", path)
    return found and found[1]


def read_body(reader, headers, tail_only):
    """Size and bytes of a body; of a block only the last bytes are kept."""
    size, kept, room = 0, b"", bytearray(PIECE)

    def take(length):
        nonlocal size, kept
        while length > 0:
            got = reader.readinto(memoryview(room)[: min(length, PIECE)])
            if not got:
                raise OSError("cut off")
            length, size = length - got, size + got
            kept = (kept + room[max(0, got - 64) : got])[-64:] if tail_only else kept + room[:got]

    if "chunked" in headers.get("transfer-encoding", "").lower():
        while length := int(reader.readline().split(b";")[0], 16):
            take(length)
            reader.readline()
        while reader.readline() not in (b"\r\n", b""):
            pass
    else:
        take(int(headers.get("content-length", 0)))
    return size, bytes(kept)

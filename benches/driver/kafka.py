"""A real Kafka for the length of a part, and the relay that counts what goes through it."""

import json
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

from . import measure
from .listening import listen

# All topics of a full run have some 3 GB.
MEMORY_LEAST = 6 << 30


class Kafka:
    """Kafka 4.4.0, started by the tests' own launcher."""

    def __init__(self, program, brokers=1):
        words = [*measure.cores_for("broker"), program, str(brokers)]
        self.folder = None
        # In memory where there is room: what others do to the disk is not to be measured, and a broker syncs each new partition.
        memory = Path("/dev/shm")
        if memory.is_dir() and shutil.disk_usage(memory).free > MEMORY_LEAST:
            self.folder = tempfile.TemporaryDirectory(prefix="forebay-compare-", dir=memory)
            words.append(self.folder.name)
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        places = self.answer()
        self.server, self.behind, self.relayed = places["server"], places["behind"], f"127.0.0.1:{places['relay']}"

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the launcher of Kafka has ended")
        return json.loads(line)

    def tell(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def topic(self, name, partitions=1):
        self.tell("topic", name, partitions)

    def fill(self, name, codec, records, filler_words):
        """JSON records through Kafka's own producer; how many and how many bytes they have."""
        return records, self.tell("fill", name, codec, records, filler_words)["bytes"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        if self.folder:
            self.folder.cleanup()


class Relay:
    """Passes everything on to the listener that advertises this relay, and counts by the client id of the requests."""

    def __init__(self, kafka):
        self.target = ("127.0.0.1", kafka.behind)
        self.counts, self.lock = {}, threading.Lock()
        self.listener = listen(int(kafka.relayed.rpartition(":")[2]), self.relay)

    def relay(self, client):
        broker = socket.create_connection(self.target)
        for end in (client, broker):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = []
        threading.Thread(target=self.down, args=(broker, client, name), daemon=True).start()
        self.up(client, broker, name)

    def up(self, client, broker, name):
        """Requests: a length, then API key, version, correlation id and client id."""
        rest = b""
        for data in pieces(client, broker):
            requests, rest = 0, rest + data
            while len(rest) >= 4:
                (length,) = struct.unpack_from(">i", rest)
                if len(rest) < 4 + length:
                    break
                if not name:
                    (size,) = struct.unpack_from(">h", rest, 12)
                    name.append(rest[14 : 14 + max(size, 0)].decode())
                requests, rest = requests + 1, rest[4 + length :]
            self.add(name, requests, len(data), 0)

    def down(self, broker, client, name):
        for data in pieces(broker, client):
            self.add(name, 0, 0, len(data))

    def add(self, name, requests, up, down):
        with self.lock:
            count = self.counts.setdefault(name[0] if name else "", [0, 0, 0])
            for index, more in enumerate((requests, up, down)):
                count[index] += more

    def taken(self):
        """Client id to requests, bytes up and bytes down, so far."""
        with self.lock:
            return {name: list(count) for name, count in self.counts.items()}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # An accept that waits would keep the port.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def pieces(source, target):
    """What comes from `source`, passed on to `target`, until one of them closes."""
    try:
        while data := source.recv(1 << 18):
            target.sendall(data)
            yield data
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

"""What a consumer at the end of a topic sends and gets while nothing happens."""

import subprocess
import time

from . import measure, peers
from .kafka import Relay

PARTITIONS = [1, 100, 5000]
# rskafka asks for every partition by itself: with 5,000 that is 5,000 requests at a time.
LEFT_OUT = {("rskafka", 5000)}

# How long clients may take until what they send is the same from one interval to the next.
SETTLE_MAX, INTERVAL = 60, 3


def settle(relay, names):
    """Waits until everybody has come, and the bytes of two intervals that follow each other are about the same."""
    last, rates = relay.taken(), {}
    for _ in range(SETTLE_MAX // INTERVAL):
        time.sleep(INTERVAL)
        now = relay.taken()
        before, rates = rates, {name: sum(now[name][1:]) - sum(last.get(name, [0, 0, 0])[1:]) for name in now}
        last = now
        if before and len(now) >= len(names) and all(abs(rate - before.get(name, 0)) <= 0.2 * rate + 500 for name, rate in rates.items()):
            return


def wait_for_leaders(kafka, topic):
    """A broker needs its time for thousands of partitions: waits until all of them tell their end."""
    for attempt in range(5):
        try:
            measure.count(peers.read("forebay", kafka.server, topic, 1, 0), (0, 0))
            return
        except RuntimeError:
            if attempt == 4:
                raise


def measure_idle(kafka, names, results, seconds, partitions, log):
    """All clients wait at once, each on connections of its own, told apart by the client id of their requests."""
    for count in partitions:
        topic = f"idle-{count}"
        kafka.topic(topic, count)
        wait_for_leaders(kafka, topic)
        # Nobody ends before the window does.
        whole = SETTLE_MAX + seconds + 30
        waiting = [name for name in names if (name, count) not in LEFT_OUT]
        with Relay(kafka) as relay:
            running = {
                name: subprocess.Popen(list(map(str, peers.idle(name, kafka.relayed, topic, count, whole))),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                for name in waiting
            }
            settle(relay, waiting)
            before, begin = relay.taken(), time.monotonic()
            time.sleep(seconds)
            after, took = relay.taken(), time.monotonic() - begin
            for name, process in running.items():
                if process.poll() is not None:
                    log(f"{name} ended while it should wait: {process.stderr.read().decode()[-500:]}")
                    after.pop(name, None)
            for process in running.values():
                process.kill()
                process.wait()
        for name in waiting:
            if name not in after:
                results.cell("idle", partitions=count, peer=name)["failed"] = "it ended, or sent no request"
                continue
            rates = [(now - then) / took for now, then in zip(after[name], before.get(name, [0, 0, 0]))]
            results.cell("idle", partitions=count, peer=name)["rates"] = [round(rate, 2) for rate in rates]
        results.save()
        log(f"idle with {count} partitions")

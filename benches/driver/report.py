"""The tables, the targets and the chart, all made from the JSON file alone."""

import math
from statistics import median

from . import chart
from .fetch import CODECS
from .peers import NAMES

# Issue's word for it: forebay's CPU per record against the best other client's of the column.
CPU_TARGETS = {"none": 0.75, "lz4": 0.75, "snappy": 0.7, "gzip": 0.6, "zstd": 1.0}
PIPELINES = {"forebay": "forebay run", "java": "Java: Kafka 4.4.0 + odps-sdk 0.53.2",
             "python": "Python: confluent-kafka 2.16.1 + PyODPS 0.13.2"}
BEGIN, END = "<!-- compare: begin -->", "<!-- compare: end -->"


def value(entry, index):
    """The median of one figure of an entry's runs: CPU, wall, MB, first record."""
    runs = entry.get("runs")
    return median(run[index] for run in runs) if runs else None


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def figure(number, digits):
    return "-" if number is None else f"{number:,.{digits}f}"


class Fetch:
    """Cells by size, codec and client."""

    def __init__(self, results):
        self.cells = {(cell["size"], cell["codec"], cell["peer"]): cell for cell in results.part("fetch")}
        self.sizes = list(dict.fromkeys(size for size, _, _ in self.cells))
        self.peers = [name for name in NAMES if any(peer == name for _, _, peer in self.cells)]
        self.codecs = [codec for codec in CODECS if any(known == codec for _, known, _ in self.cells)]

    def figure(self, size, codec, peer, what):
        cell = self.cells.get((size, codec, peer), {})
        cpu, wall, memory, first = (value(cell, index) for index in range(4))
        if cpu is None:
            return None
        wire = cell.get("wire")
        return {
            "cpu": cpu / cell["records"] * 1e6,
            "rate": cell["bytes"] / 1e6 / wall,
            "wall": wall,
            "memory": memory,
            "first": first * 1000,
            "wire": (wire[1] + wire[2]) / cell["bytes"] if wire else None,
        }[what]

    def ratio(self, size, codec, what):
        """forebay's figure divided by the best other client's, and who that is."""
        own = self.figure(size, codec, "forebay", what)
        others = {peer: self.figure(size, codec, peer, what) for peer in self.peers if peer != "forebay"}
        others = {peer: other for peer, other in others.items() if other}
        if own is None or not others:
            return None, None
        best = min(others, key=others.get)
        return own / others[best], best

    def spread(self):
        """How far runs lie apart, in per cent of their median: the middle one of all cells and the largest."""
        spreads = []
        for cell in self.cells.values():
            cpu = sorted(run[0] for run in cell.get("runs", []))
            if len(cpu) > 2:
                spreads.append((cpu[(3 * len(cpu)) // 4] - cpu[len(cpu) // 4]) / median(cpu) * 100)
        return (median(spreads), max(spreads)) if spreads else None

    def tables(self):
        for size in self.sizes:
            for what, title, digits in [
                ("cpu", "CPU seconds per million records", 3),
                ("rate", "MB/s", 0),
                ("memory", "peak memory, MB", 1),
                ("first", "milliseconds to the first record", 1),
                ("wire", "bytes on the wire per byte of payload", 3),
            ]:
                if not any(self.figure(size, codec, "forebay", what) for codec in self.codecs):
                    continue
                rows = [
                    [NAMES[peer], *(figure(self.figure(size, codec, peer, what), digits) for codec in self.codecs)]
                    for peer in self.peers
                ]
                if what in ("cpu", "memory", "first", "wire"):
                    rows.append(["**forebay / best other**", *map(self.told(size, what), self.codecs)])
                if what == "rate":
                    rows.append(["**wall: forebay / best other**", *map(self.told(size, "wall"), self.codecs)])
                yield f"#### Records of {size}: {title}\n\n" + table(["", *self.codecs], rows)
        failed = [cell for cell in self.cells.values() if cell.get("failed")]
        if failed:
            yield "\n".join(f"- {NAMES[c['peer']]} failed on {c['codec']}, {c['size']}: `{c['failed'][:140]}`" for c in failed)
        runs = [len(cell.get("runs", [])) for cell in self.cells.values() if not cell.get("failed")]
        if runs and (spread := self.spread()):
            yield (f"Medians of {min(runs)} to {max(runs)} runs. The middle half of a cell's runs lies within {spread[0]:.0f} % of its "
                   f"median CPU (median over the cells; {spread[1]:.0f} % in the worst).")

    def told(self, size, what):
        def one(codec):
            ratio, best = self.ratio(size, codec, what)
            return "-" if ratio is None else f"**{ratio:.2f}** ({best})"

        return one


def idle_tables(results):
    cells = {(cell["partitions"], cell["peer"]): cell["rates"] for cell in results.part("idle") if "rates" in cell}
    counts = sorted({count for count, _ in cells})
    rows = []
    for name in [name for name in NAMES if any(peer == name for _, peer in cells)]:
        row = [NAMES[name]]
        for count in counts:
            rates = cells.get((count, name))
            row.append("-" if rates is None else f"{rates[0]:.1f} · {rates[1] + rates[2]:,.0f}")
        rows.append(row)
    if rows:
        yield ("#### Idle: requests per second · bytes per second, both ways\n\n"
               + table(["", *(f"{count:,} partitions" for count in counts)], rows))


def pipeline_tables(results):
    cells = {cell["peer"]: cell for cell in results.part("pipeline") if cell.get("runs")}
    if "forebay" not in cells:
        return
    own = cells["forebay"]
    rows = []
    for name, title in PIPELINES.items():
        if name not in cells:
            continue
        cell = cells[name]
        cpu, wall, memory = (value(cell, index) for index in range(3))
        rows.append([
            title, figure(cell["rows"] / wall, 0), figure(cpu / cell["rows"] * 1e6, 2), figure(memory, 1),
            figure(cpu / value(own, 0), 1), figure(memory / value(own, 2), 1), figure(value(own, 1) and wall / value(own, 1), 1),
        ])
    head = ["", "rows/s", "CPU s per million rows", "peak MB", "CPU / forebay's", "memory / forebay's", "wall / forebay's"]
    yield f"#### {own['rows']:,} records of {own['about']}\n\n" + table(head, rows)


GROWTH = {
    "records": ("records, one partition, lz4", "per million records"),
    "partitions": ("partitions of 200 records each", "per 1,000 partitions"),
    "brokers": ("brokers, 6 partitions, the same records", "per million records"),
    "columns": ("columns, through `forebay run`", "per column"),
}
PER = {"records": 1e6, "partitions": 1e3, "columns": 1}


def growth_lines(results, kind):
    """Size, CPU without that of an empty topic, of each step."""
    cells = [cell for cell in results.part("growth") if cell["kind"] == kind and cell.get("runs")]
    base = next((value(cell, 0) for cell in cells if cell["n"] == 0), 0)
    sizes = sorted((cell for cell in cells if cell["n"] > 0), key=lambda cell: cell["n"])
    return base, [(cell["n"], *(value(cell, index) for index in range(3)), cell.get("records") or 1) for cell in sizes]


def exponent(points):
    """The slope of CPU over size, both as logarithms: 1 is proportional."""
    points = [(math.log(n), math.log(cpu)) for n, cpu in points if cpu > 0]
    if len(points) < 2:
        return None
    mean_x, mean_y = (sum(axis) / len(points) for axis in zip(*points))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def growth_tables(results):
    for kind, (title, per) in GROWTH.items():
        base, lines = growth_lines(results, kind)
        if not lines:
            continue
        rows = [
            [f"{n:,}", figure(cpu, 3), figure((cpu - base) / (n if kind in PER else records) * PER.get(kind, 1e6), 4), figure(wall, 2),
             figure(memory, 1)]
            for n, cpu, wall, memory, records in lines
        ]
        slope = exponent([(n, cpu - base) for n, cpu, *_ in lines])
        note = f"Exponent {slope:.2f}" if slope is not None else "No exponent"
        note += f"; {base:.3f} CPU s of an empty topic taken off." if base else "."
        yield f"#### Growth with {title}\n\n" + table(["", "CPU s", f"CPU s {per}", "wall s", "peak MB"], rows) + f"\n\n{note}"


def targets(results):
    """Each target with what was measured: title, measured, met or missed."""
    fetch = Fetch(results)
    for codec in fetch.codecs:
        ratios = [fetch.ratio(size, codec, "cpu") for size in fetch.sizes]
        ratios = [ratio for ratio, _ in ratios if ratio is not None]
        if ratios:
            limit = CPU_TARGETS[codec]
            yield f"CPU of reading {codec}: at most {limit}x the best", told(ratios, "x"), max(ratios) <= limit
    walls = {codec: [fetch.ratio(size, codec, "wall")[0] for size in fetch.sizes] for codec in fetch.codecs}
    for codec, ratios in walls.items():
        ratios = [ratio for ratio in ratios if ratio is not None]
        if ratios:
            yield f"time of reading {codec}: at most the best's", told(ratios, "x"), max(ratios) <= 1
    memory = [fetch.figure(size, codec, "forebay", "memory") for size in fetch.sizes for codec in fetch.codecs]
    memory = [figure for figure in memory if figure]
    if memory:
        yield "peak memory of reading: at most 10 MB", f"{min(memory):.1f} to {max(memory):.1f} MB", max(memory) <= 10
    idle = {cell["peer"]: cell["rates"] for cell in results.part("idle") if cell["partitions"] == 5000 and "rates" in cell}
    if "forebay" in idle and (other := idle.get("librdkafka") or idle.get("rdkafka")):
        ratio = sum(idle["forebay"][1:]) / sum(other[1:])
        yield "idle with 5,000 partitions: at most 0.1x librdkafka's bytes", f"{ratio:.4f}x", ratio <= 0.1
    yield from pipeline_targets(results)
    for kind, least, title in [("records", 1e5, "CPU per record"), ("partitions", 100, "CPU per partition")]:
        base, lines = growth_lines(results, kind)
        each = [(cpu - base) / n for n, cpu, *_ in lines if n >= least]
        if len(each) > 1:
            spread = (max(each) / min(each) - 1) * 100 if min(each) > 0 else math.inf
            first, last = (f"{n:,}" for n in (min(n for n, *_ in lines if n >= least), max(n for n, *_ in lines)))
            yield f"{title} flat within 10 % from {first} to {last}", f"{spread:.0f} %", spread <= 10


def pipeline_targets(results):
    cells = {cell["peer"]: cell for cell in results.part("pipeline") if cell.get("runs")}
    if "forebay" not in cells:
        return
    cpu, wall, memory = (value(cells["forebay"], index) for index in range(3))
    if java := cells.get("java"):
        yield "pipeline: at most 1/8 of Java's CPU", f"1/{value(java, 0) / cpu:.1f}", value(java, 0) / cpu >= 8
        yield "pipeline: at most 1/15 of Java's memory", f"1/{value(java, 2) / memory:.1f}", value(java, 2) / memory >= 15
        yield "pipeline: at least 4x Java's rows per second", f"{value(java, 1) / wall:.1f}x", value(java, 1) / wall >= 4
    if python := cells.get("python"):
        yield "pipeline: at most 1/15 of PyODPS's CPU", f"1/{value(python, 0) / cpu:.1f}", value(python, 0) / cpu >= 15


def told(numbers, unit):
    return ", ".join(f"{number:.2f}{unit}" for number in numbers)


def about(results):
    for part, made in results.data["about"].items():
        yield (f"- {part}: `{made['command']}` on {made['date']}, commit {made['commit']}: {made['cores']} cores ({made['cpu']}), "
               f"{made['memory_gib']} GiB, Linux {made['kernel']}, {made.get('tools', '')}; load {made['load']:.1f} at its end; {made['minutes']} minutes")


def sections(results):
    yield "### Targets\n\n" + table(
        ["target", "measured", ""], [[title, measured, "met" if met else "**missed**"] for title, measured, met in targets(results)]
    )
    for title, tables in [
        ("Reading a topic", Fetch(results).tables()),
        ("Idle consumers", idle_tables(results)),
        ("The pipeline", pipeline_tables(results)),
        ("How cost grows", growth_tables(results)),
    ]:
        tables = list(tables)
        if tables:
            yield f"### {title}\n\n" + "\n\n".join(tables)
    yield "### Where these come from\n\n" + "\n".join(about(results))


def text(results):
    """Everything, as Markdown."""
    return "\n\n".join(sections(results)) + "\n"


def publish(results, folder):
    """Puts tables and chart between the marks of README.md; the figures themselves go beside it."""
    (folder / "compare.svg").write_text(chart.draw(results))
    (folder / "results.json").write_text(results.path.read_text())
    readme = folder / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    _, after = rest.split(END)
    picture = "![CPU of reading and of the whole pipeline, forebay and the others](compare.svg)"
    readme.write_text(f"{before}{BEGIN}\n\n{picture}\n\n{text(results)}\n{END}{after}")

"""The chart: an SVG that a README shows, light and dark."""

from html import escape

WIDTH, LABEL, BAR, ROW = 900, 270, 12, 16


def draw(results):
    """Bars of CPU: of reading, a group per codec at one size of record; of the pipeline."""
    from .report import PIPELINES, Fetch, value

    fetch = Fetch(results)
    groups = []
    size = "1 KiB" if "1 KiB" in fetch.sizes else (fetch.sizes or [""])[0]
    for codec in fetch.codecs:
        bars = [(peer, fetch.figure(size, codec, peer, "cpu")) for peer in fetch.peers]
        groups.append((f"reading, {codec}, records of {size}", sorted((b for b in bars if b[1]), key=lambda bar: bar[1])))
    cells = [cell for cell in results.part("pipeline") if cell.get("runs")]
    pipeline = [(PIPELINES[cell["peer"]], value(cell, 0) / cell["rows"] * 1e6) for cell in cells]
    if pipeline:
        groups.append(("pipeline into MaxCompute", sorted(pipeline, key=lambda bar: bar[1])))
    parts, y = [], 40
    for title, bars in groups:
        longest = max(seconds for _, seconds in bars)
        parts.append(f'<text class="title" x="0" y="{y}">{escape(title)}</text>')
        y += 8
        for name, seconds in bars:
            own = name.startswith("forebay")
            length = max(2, seconds / longest * (WIDTH - LABEL - 80))
            parts.append(f'<text class="name" x="{LABEL - 8}" y="{y + 10}">{escape(name)}</text>')
            parts.append(f'<rect class="{"own" if own else "other"}" x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>')
            parts.append(f'<text class="figure" x="{LABEL + length + 6:.1f}" y="{y + 10}">{seconds:.2f} s</text>')
            y += ROW
        y += 26
    body = "\n".join(parts)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="-16 -4 {WIDTH + 32} {y}" role="img" font-family="system-ui, sans-serif">
<title>CPU seconds per million records: forebay and other Kafka clients</title>
<style>
text {{ fill: #24292f; font-size: 11px }}
.title {{ font-size: 13px; font-weight: 600 }}
.name {{ text-anchor: end }}
.own {{ fill: #0a7c4a }}
.other {{ fill: #a9b4c0 }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #d5dbe1 }} .own {{ fill: #3fbf82 }} .other {{ fill: #5b6672 }} }}
</style>
<text class="title" x="0" y="14">CPU seconds per million records (less is better)</text>
{body}
</svg>
"""

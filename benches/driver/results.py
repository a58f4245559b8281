"""Everything that was measured, in one JSON file that is written after every step."""

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Results:
    def __init__(self, path):
        self.path = Path(path)
        self.data = json.loads(self.path.read_text()) if self.path.exists() else {"about": {}, "parts": {}}

    def cell(self, part, **keys):
        """The entry of a part with these keys; a new one if there is none."""
        entries = self.data["parts"].setdefault(part, [])
        for entry in entries:
            if all(entry.get(key) == value for key, value in keys.items()):
                return entry
        entries.append(dict(keys))
        return entries[-1]

    def part(self, name):
        return self.data["parts"].get(name, [])

    def begin(self, part):
        """Forgets what an earlier run measured of this part."""
        self.data["parts"][part] = []

    def describe(self, part, command, seconds):
        """Which machine, source and command a part's figures come from."""
        self.data["about"][part] = {**machine(), "command": command, "minutes": round(seconds / 60, 1)}
        self.save()

    def save(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.data, indent=None, separators=(",", ":")) + "\n")
        new.replace(self.path)


def machine():
    cpu = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = int(next(line for line in open("/proc/meminfo") if line.startswith("MemTotal")).split()[1])
    return {
        "cores": os.cpu_count(),
        "cpu": cpu,
        "memory_gib": round(memory / (1 << 20)),
        "kernel": platform.release(),
        "tools": ", ".join(filter(None, map(first_line, [["rustc", "--version"], ["java", "--version"], ["go", "version"]]))),
        "commit": first_line(["git", "rev-parse", "--short", "HEAD"]),
        "load": os.getloadavg()[0],
        "date": datetime.date.today().isoformat(),
    }


def first_line(command):
    """What a program says first; nothing without the program."""
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.partition("\n")[0]
    except OSError:
        return ""

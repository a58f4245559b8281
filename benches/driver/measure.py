"""One run of a program: what it printed, and what it cost by the kernel's account."""

import json
import os
import subprocess
import tempfile
import time


def cores_for(role):
    """With four cores or more the brokers have one half and what is measured the other; with fewer they share all."""
    count = os.cpu_count() or 1
    if count < 4:
        return []
    half = count // 2
    return ["taskset", "-c", f"0-{half - 1}" if role == "broker" else f"{half}-{count - 1}"]


def run(command, limit=300, environment=None, cwd=None):
    """Runs `command` to its end. Wall and CPU seconds, peak memory in MB, and the last line that it printed.

    CPU is user + system of the process and all that it waited for, from wait4. The kernel counts what a process had before it
    became this program into its peak memory, so it is started by GNU time, which is small, and not by this interpreter.
    """
    with tempfile.NamedTemporaryFile("r") as memory, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        words = ["/usr/bin/time", "-q", "-f", "%M", "-o", memory.name, *cores_for("peer"), *map(str, command)]
        begin = time.perf_counter()
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=environment, cwd=cwd,
                                   start_new_session=True)
        status = usage = None
        while usage is None:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid == 0:
                usage = None
                if time.perf_counter() - begin > limit:
                    os.killpg(process.pid, 9)
                    os.wait4(process.pid, 0)
                    process.returncode = -9
                    raise RuntimeError(f"still running after {limit} s: {' '.join(words)}")
                time.sleep(0.001)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        printed, said = out.read().decode(errors="replace"), errors.read().decode(errors="replace")
        if process.returncode != 0:
            raise RuntimeError(f"exit {process.returncode}: {' '.join(words)}\n{printed[-2000:]}{said[-2000:]}")
        return {
            "wall": round(wall, 4),
            "cpu": round(usage.ru_utime + usage.ru_stime, 4),
            "mb": round(int(memory.read().split()[-1]) / 1024, 1),
            "printed": printed.strip().rpartition("\n")[2],
        }


def count(command, expected, limit=300):
    """A run of a program that reads a topic; it must have read exactly what was written."""
    result = run(command, limit)
    said = json.loads(result.pop("printed"))
    if (said["records"], said["bytes"]) != expected:
        raise RuntimeError(f"read {said['records']} records of {said['bytes']} bytes, not {expected}: {command}")
    result["first"] = said["first_record_seconds"]
    return result

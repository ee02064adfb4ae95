"""Runs commands as whole processes and measures them."""
import ctypes
import os
import platform
import statistics
import struct
import subprocess
import time

SYNCS = {"x86_64": (74, 75), "aarch64": (82, 83)}  # fsync, fdatasync


def without_fsync():
    """Lets fsync of this process and its children succeed at once: a seccomp
    filter answers in its place. So the program under test stays as it is."""
    def rule(code, yes, no, k):
        return struct.pack("HBBI", code, yes, no, k)

    fsync, fdatasync = SYNCS[platform.machine()]
    program = (rule(0x20, 0, 0, 0) + rule(0x15, 1, 0, fsync) + rule(0x15, 0, 1, fdatasync)
               + rule(0x06, 0, 0, 0x00050000) + rule(0x06, 0, 0, 0x7FFF0000))
    buffer = ctypes.create_string_buffer(program)

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_void_p)]

    libc = ctypes.CDLL(None)
    libc.prctl(38, 1, 0, 0, 0)
    if libc.prctl(22, 2, ctypes.byref(Filter(len(program) // 8, ctypes.addressof(buffer))), 0, 0) != 0:
        raise OSError("fsync cannot be left out here: no seccomp")


class Measured:
    """One process: seconds of wall time and of both kinds of CPU time, peak
    memory in bytes, and what it printed."""

    def __init__(self, command, durable):
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=None if durable else without_fsync)
        self.out = process.stdout.read().decode()
        errors = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        self.wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"{command}: exit {process.returncode}\n{self.out}{errors}")
        self.cpu = usage.ru_utime + usage.ru_stime
        self.peak = usage.ru_maxrss * 1024


class Series:
    """Medians over rounds."""

    def __init__(self):
        self.all = []

    def add(self, m):
        self.all.append(m)

    def median(self, name):
        return statistics.median(getattr(m, name) for m in self.all)


def settle():
    """Writes out what earlier steps left dirty, so that the next does not pay."""
    os.sync()


def setting(name, default):
    return os.environ.get("OPTSWEEP_BENCH_" + name, default)


def build(out, package):
    """Builds a program of this module, static."""
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
    subprocess.run(["go", "build", "-trimpath", "-o", out, package], cwd=root, env=dict(os.environ, CGO_ENABLED="0"), check=True)


JOB = """version: 1
job: bench
scope: euid
environment: production
operator: {{kind: embedded, optout_log: {dir}/{log}}}
workspace: {dir}/ws
limits: {{memory: 1GiB, max_new_flags: 100%, max_quarantined: 100%}}
tables:
  - name: t
    parquet: {{path: "{dir}/{path}", id_column: euid}}
    write: {{mode: column, column: opted_out_since}}
"""

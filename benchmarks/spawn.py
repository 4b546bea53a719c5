"""Run one shell script and write what it cost, as JSON, to the file named first.

A program of its own, run without site packages: a child begins with the peak memory of the process that
forked it, so that must be small. Only built-in modules are imported.
"""

import os
import sys
import time


def main() -> int:
    """Arguments: the file for the result, the shell script. Returns the script's exit status."""
    result, script = sys.argv[1:]
    begin = time.perf_counter()
    child = os.posix_spawn("/bin/sh", ["/bin/sh", "-e", "-c", script], os.environ)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - begin
    cost = f'"wall": {wall:.4f}, "cpu": {usage.ru_utime + usage.ru_stime:.4f}, "peak": {usage.ru_maxrss * 1024}'
    with open(result, "w", encoding="ascii") as file:
        file.write(f"{{{cost}}}\n")
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())

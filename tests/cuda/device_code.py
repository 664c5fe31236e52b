#!/usr/bin/env python3
"""device_code.py CUDART OBJECT...: all kernels, as nvcc compiled them, link into a plugin with a static runtime: nothing is
undefined, and no driver or vendor library is needed. (That nothing spills is an error of the build itself.)

Without arguments: nvcc is not installed, the test is skipped (77).
"""
import os
import re
import subprocess
import sys
import tempfile


def fault_of(cudart, objects):
    with tempfile.TemporaryDirectory() as folder:
        library = os.path.join(folder, "kernels.so")
        done = subprocess.run(["g++", "-shared", "-o", library, *objects, cudart, "-ldl", "-lrt", "-lpthread", "-Wl,-z,defs"],
                              capture_output=True, text=True)
        if done.returncode:
            return done.stderr
        dynamic = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
        needed = [name for name in re.findall(r"NEEDED.*\[(.*)\]", dynamic) if re.match(r"libcu|libnccl|libnv", name)]
        return f"the plugin would need {', '.join(needed)}" if needed else None


def main():
    if len(sys.argv) < 3:
        print("skipped: nvcc is not installed")
        sys.exit(77)
    fault = fault_of(sys.argv[1], sys.argv[2:])
    print(fault or f"{len(sys.argv) - 2} objects link")
    sys.exit(1 if fault else 0)


main()

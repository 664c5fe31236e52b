#!/usr/bin/env python3
"""device_code.py CUDA_TP.SO ARCHITECTURE...: the plugin asks the loader for no driver and no vendor library, which it finds itself when it
needs them, and carries an image for each architecture and PTX for those to come. (That nothing spills is an error of the build itself.)

Without arguments: nvcc is not installed, the test is skipped (77).
"""
import re
import shutil
import subprocess
import sys


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def faults_of(plugin, architectures):
    needed = re.findall(r"NEEDED.*\[(.*)\]", output_of("readelf", "-d", plugin))
    for name in needed:
        if re.match(r"libcu|libnv|libnccl", name):
            yield f"the loader would need {name}"
    cuobjdump = shutil.which("cuobjdump") or shutil.which("/usr/local/cuda/bin/cuobjdump")
    if not cuobjdump:
        return
    images = set(re.findall(r"\.sm_(\w+)\.cubin", output_of(cuobjdump, "--list-elf", plugin)))
    if images != set(architectures):
        yield f"images for {sorted(images)}, not {sorted(architectures)}"
    if ".ptx" not in output_of(cuobjdump, "--list-ptx", plugin):
        yield "no PTX"


def main():
    if len(sys.argv) < 2:
        print("skipped: nvcc is not installed")
        sys.exit(77)
    faults = list(faults_of(sys.argv[1], sys.argv[2:]))
    print("\n".join(faults) or "as it should be")
    sys.exit(bool(faults))


main()

#!/usr/bin/env python3
"""sanitizer.py TOOL PROGRAM: runs a test program that uses the GPU under compute-sanitizer. Skipped (77) where there is no GPU, which the
program itself says, or no compute-sanitizer."""
import shutil
import subprocess
import sys


def main():
    tool, program = sys.argv[1:]
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if not sanitizer:
        print("skipped: compute-sanitizer is not installed")
        sys.exit(77)
    if subprocess.run([program], capture_output=True).returncode == 77:
        print("skipped: no GPU")
        sys.exit(77)
    sys.exit(subprocess.run([sanitizer, "--tool", tool, "--error-exitcode", "1", program]).returncode)


main()

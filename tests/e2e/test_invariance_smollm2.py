#!/usr/bin/env python3
"""invariance.c over the real model, on the instruction set that this machine chooses. argv: program, plugin directory."""
import subprocess
import sys

from server import model

sys.exit(subprocess.run([sys.argv[1], model(), sys.argv[2], "auto", "200", "8MiB"]).returncode)

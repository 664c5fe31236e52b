#!/usr/bin/env python3
"""The `openai` package against a real server and the real model: openai_client.py, every check. Skipped without the package."""
import os
import subprocess
import sys

from server import Server, model

model()
with Server() as server:
    here = os.path.dirname(os.path.abspath(__file__))
    code = subprocess.run([sys.executable, os.path.join(here, "openai_client.py"), server.base]).returncode
    server.stop()
sys.exit(code)

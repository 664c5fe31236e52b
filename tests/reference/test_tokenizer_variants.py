#!/usr/bin/env python3
"""Every kind of tokenizer component against the packages that define it, live: runs tokenizer_variants.py or spm_variants.py (argv)
with 200 strings for each. Skipped where a package is missing."""
import os
import subprocess
import sys

from tenon_process import HERE

try:
    import google.protobuf  # noqa: F401
    import sentencepiece  # noqa: F401
    import tokenizers  # noqa: F401
except ImportError as missing:
    print(f"{missing}: skipped")
    sys.exit(77)

script, program = sys.argv[1:]
sys.exit(subprocess.run([sys.executable, os.path.join(HERE, script), "-n", "200", program]).returncode)

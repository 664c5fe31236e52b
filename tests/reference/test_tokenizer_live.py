#!/usr/bin/env python3
"""100,000 random strings: Tenon's ids equal those of Hugging Face tokenizers on the model's vocabulary. argv: the
tokenizer_bpe_differential program. Skipped where the packages tokenizers and gguf are missing."""
import os
import subprocess
import sys

from tenon_process import HERE, model

try:
    import gguf  # noqa: F401
    import tokenizers  # noqa: F401
except ImportError as missing:
    print(f"{missing}: skipped")
    sys.exit(77)

script = os.path.join(HERE, "tokenizer_reference.py")
samples = subprocess.Popen([sys.executable, script, "samples", model(), "-n", "100000"], stdout=subprocess.PIPE)
done = subprocess.run([sys.argv[1], model()], stdin=samples.stdout)
sys.exit(done.returncode or samples.wait())

#!/usr/bin/env python3
"""headers.py COMPILER LANGUAGE STANDARD INCLUDE_DIR...: every SDK header compiles on its own, with every warning an error,
-Wpadded among them: a struct with hidden padding would let two compilers disagree."""
import glob
import os
import subprocess
import sys

WARNINGS = ['-Wall', '-Wextra', '-Wpedantic', '-Wpadded', '-Wundef', '-Wshadow', '-Werror']


def main(compiler, language, standard, folders):
    headers = sorted(path for folder in folders for path in glob.glob(os.path.join(folder, 'tenon', '*.h')))
    if not headers:
        sys.exit('headers: none found; wrong include folder?')
    failed = 0
    for header in headers:
        # Included rather than compiled directly: some compilers warn about "static inline unused" in a main file.
        source = f'#include "tenon/{os.path.basename(header)}"\nint tenon_header_test;\n'
        command = compiler.split() + ['-x', language, '-std=' + standard, '-fsyntax-only', *WARNINGS,
                                      *['-I' + folder for folder in folders], '-']
        result = subprocess.run(command, input=source, text=True, capture_output=True)
        if result.returncode:
            failed += 1
            print(f'{header}:\n{result.stderr}')
    print(f'{len(headers) - failed} of {len(headers)} headers compile alone as {standard}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))

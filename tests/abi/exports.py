#!/usr/bin/env python3
"""exports.py ALLOWED LIBRARY...: fails unless each library defines exactly the dynamic symbols that ALLOWED, a regular
expression, matches, and at least one. So plugins cannot clash with each other or with the program that loads them."""
import re
import subprocess
import sys


def exported(library):
    lines = subprocess.run(['nm', '-D', '--defined-only', library], check=True, capture_output=True, text=True).stdout
    return [line.split()[-1].split('@')[0] for line in lines.splitlines() if line.split()[-2] != 'A']


def main(allowed, libraries):
    faults = []
    for library in libraries:
        symbols = exported(library)
        strangers = [symbol for symbol in symbols if not re.fullmatch(allowed, symbol)]
        if strangers:
            faults.append(f'{library}: exports {", ".join(strangers)}')
        if not symbols:
            faults.append(f'{library}: exports nothing')
    print('\n'.join(faults) or f'{len(libraries)} libraries export nothing but {allowed}')
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1], sys.argv[2:]))

#!/usr/bin/env python3
"""The layout of every struct and enumeration of the SDK headers, as text, and the rule for how it may change.

  layout.py dump CC INCLUDE_DIR...             prints the listing of what CC makes of the headers, drafts left out
  layout.py compare GOLDEN LISTING             fails unless LISTING is GOLDEN or GOLDEN grown
  layout.py check GOLDEN CC INCLUDE_DIR...     both at once (what the test runs)

Members are read from the header text; sizes and offsets come from the compiler. That no member was missed is proven by
tiling: the SDK has no padding, so members must cover each struct without a gap.

Growth that passes: new structs, new enumerators, members appended to a struct that begins with struct_size. All else
fails: a removed, moved, resized or retyped member, an enumerator with another value, any change to a frozen struct (one
that carries no struct_size, being an element of arrays). Headers of drafts (TN_DRAFT_ID) are left out: the hash in their
ids guards them.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

# Not part of the ABI: generated, or built with its user (the text of an entry, a static library).
NOT_TABLES = {'draft.h', 'entry.h', 'interp.h'}


# ---- reading headers ----

def strip_comments(text):
    return re.sub(r'//[^\n]*', ' ', re.sub(r'/\*.*?\*/', ' ', text, flags=re.S))


def members_of(body):
    """[(name, declaration)] of a struct body without nested structs."""
    found = []
    for declaration in body.split(';'):
        declaration = ' '.join(declaration.split())
        if not declaration:
            continue
        function = re.search(r'\(\*(\w+)\)', declaration)
        if function:
            found.append((function.group(1), declaration))
            continue
        first, *rest = declaration.split(',')
        base = re.match(r'(.*?)(\**\s*\w+\s*(?:\[\w+\])*)$', first).group(1).strip()
        for declarator in [first[len(base):]] + rest:
            declarator = declarator.strip()
            name = re.match(r'\**\s*(\w+)', declarator).group(1)
            found.append((name, f'{base} {declarator}'))
    return found


def enumerators_of(body, path):
    if '#' in body:
        return []  # expands a list macro, which read_headers reads itself
    names = []
    for enumerator in body.split(','):
        match = re.match(r'\s*(TN_\w+)\s*=', enumerator)
        if match:
            names.append(match.group(1))
        elif enumerator.strip():
            sys.exit(f'layout: {path}: give "{enumerator.strip()}" an explicit value, so that it can never shift')
    return names


def read_headers(folders):
    structs, enumerators = {}, []
    for folder in folders:
        for path in sorted(glob.glob(os.path.join(folder, 'tenon', '*.h'))):
            if os.path.basename(path) in NOT_TABLES:
                continue
            text = strip_comments(open(path, encoding='utf-8').read())
            if re.search(r'^#define TN_\w+_ID TN_DRAFT_ID', text, re.M):
                continue
            for match in re.finditer(r'struct (\w+) \{([^{}]*)\}', text):
                structs[match.group(1)] = members_of(match.group(2))
            for match in re.finditer(r'enum \{([^{}]*)\}', text):
                enumerators += enumerators_of(match.group(1), path)
            enumerators += ['TN_' + name for name in re.findall(r'\bX\((\w+),\s*-?\d', text)]
    if not structs or not enumerators:
        sys.exit('layout: no structs found; wrong include folder?')
    return structs, enumerators


# ---- asking the compiler ----

def probe_source(structs, enumerators):
    lines = ['#include "tenon/tenon.h"', '#include "tenon/embed.h"', '#include "tenon/ops.h"', '#include <stdio.h>',
             'int main(void) {']
    for name in sorted(structs):
        lines.append(f'printf("struct {name} %zu\\n", sizeof({name}));')
        for member, declaration in structs[name]:
            lines.append(f'printf("  {member} %zu %zu | {declaration}\\n", offsetof({name}, {member}), '
                         f'sizeof((({name} *)0)->{member}));')
    lines += [f'printf("enum {name} %lld\\n", (long long){name});' for name in sorted(enumerators)]
    return '\n'.join(lines + ['return 0; }', ''])


def dump(compiler, folders):
    structs, enumerators = read_headers(folders)
    with tempfile.TemporaryDirectory() as scratch:
        source, program = os.path.join(scratch, 'probe.c'), os.path.join(scratch, 'probe')
        with open(source, 'w', encoding='utf-8') as file:
            file.write(probe_source(structs, enumerators))
        subprocess.run(compiler.split() + ['-std=c11', source, '-o', program] + ['-I' + f for f in folders], check=True)
        listing = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    faults = untiled(parse(listing)[0])
    if faults:
        sys.exit('layout: ' + '\n'.join(faults))
    return listing


# ---- listings ----

def parse(listing):
    """({struct: (size, [(member, offset, size, declaration)])}, {enumerator: value})"""
    structs, enumerators, current = {}, {}, None
    for line in listing.splitlines():
        if line.startswith('struct '):
            _, name, size = line.split()
            current = []
            structs[name] = (int(size), current)
        elif line.startswith('enum '):
            _, name, value = line.split()
            enumerators[name] = int(value)
        elif line.strip():
            place, declaration = line.split(' | ', 1)
            member, offset, size = place.split()
            current.append((member, int(offset), int(size), declaration))
    return structs, enumerators


def untiled(structs):
    faults = []
    for name, (size, members) in structs.items():
        at = 0
        for member, offset, bytes_, _ in members:
            if offset != at:
                faults.append(f'{name}: {offset - at} bytes before {member} are no member that this script can see')
            at = offset + bytes_
        if at != size:
            faults.append(f'{name}: {size - at} bytes at its end are no member that this script can see')
    return faults


def compare_struct(name, old, new):
    (old_size, old_members), (new_size, new_members) = old, new
    frozen = 'struct_size' not in [member[0] for member in old_members[:2]]
    if frozen:
        return [] if old == new else [f'{name}: frozen (an element of arrays), but it changed']
    faults = []
    for i, before in enumerate(old_members):
        after = new_members[i] if i < len(new_members) else None
        if after != before:
            faults.append(f'{name}: member {i} was "{before[3]}" at {before[1]}, is now '
                          + (f'"{after[3]}" at {after[1]}' if after else 'gone'))
    if not faults and new_members[len(old_members):] and new_members[len(old_members)][1] < old_size:
        faults.append(f'{name}: an appended member lies within the old size')
    return faults


def compare(golden, listing):
    """Sentences about what is not growth; empty when all is well."""
    (old_structs, old_enums), (new_structs, new_enums) = parse(golden), parse(listing)
    faults = []
    for name, old in old_structs.items():
        if name in new_structs:
            faults += compare_struct(name, old, new_structs[name])
        else:
            faults.append(f'{name}: the struct is gone')
    for name, value in old_enums.items():
        if new_enums.get(name) != value:
            faults.append(f'{name}: was {value}, is now {new_enums.get(name, "gone")}')
    return faults


def report(faults, golden_path):
    if not faults:
        return 0
    print('The ABI changed in a way that breaks plugins in the field:')
    for fault in faults:
        print('  ' + fault)
    print(f'Append instead, or make a new interface version (/2) beside the old one. {golden_path} is what was frozen and '
          'stays.')
    return 1


def main(arguments):
    command, *rest = arguments or ['']
    if command == 'dump' and len(rest) >= 2:
        print(dump(rest[0], rest[1:]), end='')
        return 0
    if command == 'compare' and len(rest) == 2:
        golden, listing = (open(path, encoding='utf-8').read() for path in rest)
        return report(compare(golden, listing), rest[0])
    if command == 'check' and len(rest) >= 3:
        golden = open(rest[0], encoding='utf-8').read()
        return report(compare(golden, dump(rest[1], rest[2:])), rest[0])
    sys.exit(__doc__)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

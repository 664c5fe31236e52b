#!/usr/bin/env python3
"""include_direction.py ROOT: quoted includes flow one way.

  sdk/include   <- nothing but itself (and libc, in angle brackets)
  sdk/base      <- sdk/include
  sdk/*         <- sdk; sdk/check, a program built on the loader, also <- runtime
  runtime       <- sdk and itself
  plugins/X     <- sdk and itself
An include is resolved the way the build's include directories do: beside the file, then from the roots its folder may use.
"""
import os
import re
import sys


def roots_for(path):
    """Folders that quoted includes of `path` may be found in, besides its own folder; and the fence around that one."""
    parts = path.split('/')
    sdk = ['sdk', 'sdk/include']
    if parts[:2] == ['sdk', 'include']:
        return ['sdk/include'], 'sdk/include'
    if parts[:2] == ['sdk', 'base']:
        return sdk, 'sdk/base'
    if parts[:2] == ['sdk', 'check']:
        return sdk + ['runtime'], 'sdk/check'
    if parts[0] == 'sdk':
        return sdk, '/'.join(parts[:2])
    if parts[0] == 'runtime':
        return sdk + ['runtime'], 'runtime'
    own = '/'.join(parts[:2])
    return sdk + [own], own


GENERATED = {'tenon/draft.h', 'version.h'}


def fault_of(root, path, include):
    roots, fence = roots_for(path)
    if include in GENERATED:
        core_only = include == 'version.h' and not path.startswith(('runtime/', 'sdk/check/'))
        return 'plugins build without the core' if core_only else None
    beside = os.path.normpath(os.path.join(os.path.dirname(path), include))
    if (beside + '/').startswith(fence + '/') and os.path.exists(os.path.join(root, beside)):
        return None
    for folder in roots:
        target = os.path.normpath(os.path.join(folder, include))
        if (target + '/').startswith(folder + '/') and os.path.exists(os.path.join(root, target)):
            base_only = path.startswith('sdk/base/') and not re.match(r'sdk/(base|include)/', target)
            return 'sdk/base stands on sdk/include alone' if base_only else None
    return f'is not within {", ".join([fence] + roots)}'


def faults(root):
    found = []
    for top in ('sdk', 'runtime', 'plugins'):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if not name.endswith(('.c', '.h', '.cu', '.cuh')):
                    continue
                path = os.path.relpath(os.path.join(folder, name), root)
                text = open(os.path.join(root, path), encoding='utf-8').read()
                for include in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, flags=re.M):
                    fault = fault_of(root, path, include)
                    if fault:
                        found.append(f'{path}: "{include}" {fault}')
    return found


if __name__ == '__main__':
    wrong = faults(sys.argv[1])
    print('\n'.join(wrong) or 'all includes flow one way')
    sys.exit(1 if wrong else 0)

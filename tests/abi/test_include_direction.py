#!/usr/bin/env python3
"""include_direction.py on a small tree with each kind of wrong include."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import include_direction

TREE = {
    'sdk/include/tenon/abi.h': '',
    'sdk/base/size.h': '#include "tenon/abi.h"\n',
    'sdk/interp/interp.h': '#include "tenon/abi.h"\n#include "base/size.h"\n',
    'runtime/plugin/loader.h': '#include "tenon/abi.h"\n',
    'runtime/plugin/loader.c': '#include "plugin/loader.h"\n#include "interp/interp.h"\n#include "version.h"\n',
    'sdk/check/check.c': '#include "plugin/loader.h"\n',
    'plugins/cpu/cpu.h': '#include "base/size.h"\n',
    'plugins/cpu/kernels/avx2.c': '#include "../cpu.h"\n#include "cpu.h"\n#include "tenon/draft.h"\n',
    'plugins/http/http.c': '',
}


def faults_with(path, include):
    with tempfile.TemporaryDirectory() as root:
        for name, text in {**TREE, path: f'#include "{include}"\n'}.items():
            os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
            with open(os.path.join(root, name), 'w', encoding='utf-8') as file:
                file.write(text)
        return include_direction.faults(root)


class Direction(unittest.TestCase):
    def test_the_good_tree_passes(self):
        self.assertEqual(faults_with('plugins/http/a.c', 'tenon/abi.h'), [])

    def test_wrong_directions_fail(self):
        for path, include in [('plugins/http/a.c', 'plugin/loader.h'),
                              ('plugins/http/a.c', '../../runtime/plugin/loader.h'),
                              ('plugins/http/a.c', '../cpu/cpu.h'),
                              ('plugins/http/a.c', 'version.h'),
                              ('sdk/interp/a.c', 'plugin/loader.h'),
                              ('sdk/base/a.c', 'interp/interp.h'),
                              ('sdk/include/tenon/a.h', 'base/size.h'),
                              ('runtime/plugin/a.c', '../../plugins/cpu/cpu.h')]:
            self.assertEqual(len(faults_with(path, include)), 1, (path, include))


if __name__ == '__main__':
    unittest.main()

#!/usr/bin/env python3
"""The comparer and the header reader of layout.py, on listings and headers made up here."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import layout

GOLDEN = '''struct tn_a 16
  struct_size 0 4 | uint32_t struct_size
  flags 4 4 | uint32_t flags
  run 8 8 | int (*run)(int x)
struct tn_pair 8
  src 0 4 | uint32_t src
  dst 4 4 | uint32_t dst
enum TN_OK 0
enum TN_E_IO -10
'''


def faults(old, new):
    assert old in GOLDEN
    return layout.compare(GOLDEN, GOLDEN.replace(old, new))


class Compare(unittest.TestCase):
    def test_equal_listings_pass(self):
        self.assertEqual(layout.compare(GOLDEN, GOLDEN), [])

    def test_appended_members_pass(self):
        self.assertEqual(faults('struct tn_pair', '  stop 16 8 | void (*stop)(void)\nstruct tn_pair'), [])

    def test_new_structs_and_enumerators_pass(self):
        self.assertEqual(layout.compare(GOLDEN, GOLDEN + 'struct tn_b 4\n  struct_size 0 4 | uint32_t struct_size\n'
                                                         'enum TN_NEW 3\n'), [])

    def test_removed_members_fail(self):
        self.assertIn('is now gone', faults('  run 8 8 | int (*run)(int x)\n', '')[0])

    def test_removed_structs_fail(self):
        self.assertIn('tn_a: the struct is gone', layout.compare(GOLDEN, GOLDEN[GOLDEN.index('struct tn_pair'):])[0])

    def test_inserted_members_fail(self):
        self.assertTrue(faults('  run 8 8', '  walk 8 8 | int (*walk)(int x)\n  run 16 8'))

    def test_swapped_members_fail(self):
        self.assertTrue(faults('  flags 4 4 | uint32_t flags\n  run 8 8 | int (*run)(int x)',
                               '  run 4 8 | int (*run)(int x)\n  flags 12 4 | uint32_t flags'))

    def test_resized_members_fail(self):
        self.assertTrue(faults('flags 4 4 | uint32_t flags', 'flags 4 8 | uint64_t flags'))

    def test_another_signature_of_the_same_size_fails(self):
        self.assertTrue(faults('(int x)', '(long x)'))

    def test_frozen_structs_may_not_even_grow(self):
        self.assertIn('frozen', faults('  dst 4 4 | uint32_t dst\n',
                                       '  dst 4 4 | uint32_t dst\n  tag 8 4 | uint32_t tag\n')[0])

    def test_changed_and_removed_enumerators_fail(self):
        self.assertIn('was -10, is now -11', faults('TN_E_IO -10', 'TN_E_IO -11')[0])
        self.assertIn('is now gone', faults('enum TN_OK 0\n', '')[0])


class Tiling(unittest.TestCase):
    def test_a_member_the_reader_missed_shows_as_a_gap(self):
        self.assertEqual(layout.untiled(layout.parse(GOLDEN)[0]), [])
        self.assertTrue(layout.untiled(layout.parse(GOLDEN.replace('  flags 4 4 | uint32_t flags\n', ''))[0]))
        self.assertTrue(layout.untiled(layout.parse(GOLDEN.replace('struct tn_pair 8', 'struct tn_pair 12'))[0]))


class Members(unittest.TestCase):
    def test_all_forms_of_declarations_are_split(self):
        body = '''uint32_t a, b; char name[64], other[N]; const float *p, *q; const char *const *list; int64_t dim[2];
                  const tn_x *(*get)(tn_y *y, const tn_z **ret_z); tn_status (*go)(void *const *plane, uint32_t n);'''
        self.assertEqual([name for name, _ in layout.members_of(body)],
                         ['a', 'b', 'name', 'other', 'p', 'q', 'list', 'dim', 'get', 'go'])


if __name__ == '__main__':
    unittest.main()

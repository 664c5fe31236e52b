#!/usr/bin/env python3
"""test_tenon_check.py TENON_CHECK FAULT_FOLDER: tenon-check finds each fault of faulty_backend.c, and only that one."""
import subprocess
import sys
import unittest

CHECK, FOLDER = sys.argv[1:3]


def run(*arguments):
    result = subprocess.run([CHECK, *arguments], capture_output=True, text=True)
    fails = [line[6:] for line in result.stdout.splitlines() if line.startswith('FAIL')]
    return result, fails


class Faults(unittest.TestCase):
    def finds(self, fault, *beginnings):
        result, fails = run(f'{FOLDER}/{fault}.so')
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual([line[:len(b)] for line, b in zip(fails, beginnings)], list(beginnings), fails)
        self.assertEqual(len(fails), len(beginnings), fails)

    def test_without_a_fault_everything_passes(self):
        result, fails = run(f'{FOLDER}/fault_none.so')
        self.assertEqual((result.returncode, fails), (0, []), result.stdout)
        self.assertIn('0 failed, 0 skipped', result.stdout)

    def test_devices_without_end(self):
        self.finds('fault_endless_devices', 'devices: more than 64')

    def test_bf16_refused(self):
        self.finds('fault_refuses_bf16', 'accepts bf16: weight token_embd.weight: float32 only')

    def test_plans_that_change(self):
        self.finds('fault_moody_plan', 'plan: two calls with equal arguments differ')

    def test_wrong_numbers(self):
        self.finds('fault_positions', 'prompt against the reference: differs by')

    def test_wrong_greedy_tokens(self):
        self.finds('fault_greedy', 'greedy tokens: row 0')

    def test_results_that_depend_on_the_batch(self):
        self.finds('fault_batch_dependent', 'prompt in chunks: differs by', 'decoding in company: differs by')

    def test_tickets_without_limit(self):
        self.finds('fault_never_full', 'tickets in flight: the ticket past max_in_flight (2) got "ok"')

    def test_crashes_name_the_check(self):
        self.finds('fault_close_null', 'model_free(NULL), close(NULL): the plugin crashed here')

    def test_crashes_of_a_kernel_name_its_node(self):
        self.finds('fault_ops_crash', 'single ops, attn_norm: the plugin crashed here')

    def test_failures_without_a_word_are_told_by_their_status(self):
        self.finds('fault_ops_silent', 'single ops: input/output error', 'load a small Llama: input/output error')

    def test_a_plugin_of_which_nothing_can_be_tried(self):
        self.finds('fault_ops_misspelt', 'provides: tn.opps/1, which this core does not know')

    def test_defaults_of_the_wrong_type(self):
        self.finds('fault_option', 'options: "threads": its default "auto" is not of its type integer')

    def test_settings_are_checked_and_passed_on(self):
        _, fails = run('--set', 'fault_option.thread=1', f'{FOLDER}/fault_option.so')
        self.assertIn('did you mean "threads"?', fails[0])
        _, fails = run('--set', 'other.threads=1', f'{FOLDER}/fault_option.so')
        self.assertIn('section [other]', fails[0])


class Usage(unittest.TestCase):
    def test_wrong_usage_is_told_on_stderr(self):
        for arguments in ([], ['--nonsense'], ['a.so', 'b.so'], ['--set']):
            result, _ = run(*arguments)
            self.assertEqual(result.returncode, 2)
            self.assertIn('usage:', result.stderr)

    def test_help_and_version(self):
        self.assertIn('usage:', run('--help')[0].stdout)
        self.assertRegex(run('--version')[0].stdout, r'tenon-check \d+\.\d+\.\d+, ABI \d+\.\d+')

    def test_a_missing_file_is_one_sentence(self):
        self.assertIn('does not exist', run('/nowhere/x.so')[1][0])


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])

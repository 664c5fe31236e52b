#!/usr/bin/env python3
"""sdk/python against a scripted daemon over a unix socket: what is sent, what becomes of answers, errors and rows."""
import http.server
import json
import os
import socket
import socketserver
import sys
import tempfile
import threading
import unittest
import unittest.mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../sdk/python'))
import tenon
from tenon.services import settings_of


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def address_string(self):
        return 'unix'

    def log_message(self, *_):
        pass

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        seen = {'method': self.command, 'path': self.path, 'headers': dict(self.headers), 'body': body}
        code, headers, answer = self.server.answer(seen)
        if code is None:  # hang up
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        framed = {'Content-Length', 'Transfer-Encoding'} & headers.keys()  # by the test, which may promise too much
        if not framed and code != 204:
            self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        if code != 204:
            self.wfile.write(data)
        self.close_connection = bool(framed)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any


def completion(text, finish='stop'):
    return {'id': 'x', 'choices': [{'index': 0, 'text': text, 'finish_reason': finish}],
            'usage': {'prompt_tokens': 3, 'completion_tokens': 2}}


def refusal(code, message, **more):
    return code, {}, {'error': {'message': message, 'type': 'invalid_request_error', 'param': None}, **more}


class Scripted(unittest.TestCase):
    """answers: what a test sets; seen: what came."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, 'd.sock')
        self.seen, self.lock = [], threading.Lock()
        self.server = Server(self.path, Handler)
        self.server.answer = self.take
        threading.Thread(target=self.server.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True).start()
        self.registry = tenon.Registry('unix:' + self.path, token='secret')

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()
        self.folder.cleanup()

    def take(self, seen):
        with self.lock:
            self.seen.append(seen)
        return self.answer(seen)

    def body(self, index=-1):
        return json.loads(self.seen[index]['body'])


class Models(Scripted):
    VERSIONS = [{'version': 'v1', 'digest': 'aa', 'aliases': []}, {'version': 'v2', 'digest': 'bb', 'aliases': ['prod']}]
    damage = []

    def answer(self, seen):
        if seen['method'] == 'POST' and seen['path'] == '/admin/v1/models':
            return 201, {}, {'name': 'smol', 'version': 'v3', 'digest': 'cc'}
        if seen['path'] == '/admin/v1/models':
            return 200, {}, {'models': [{'name': 'smol', 'default': 'v1', 'versions': self.VERSIONS}]}
        if seen['path'] == '/admin/v1/models/smol':
            return 200, {}, {'name': 'smol', 'default': 'v1', 'versions': self.VERSIONS}
        if seen['path'] == '/admin/v1/models/smol/versions/v2/verify':
            return 200, {}, {'damaged': len(self.damage), 'versions': [{'version': 'v2', 'damage': self.damage}]}
        if seen['path'].startswith('/admin/v1/models/smol/versions/v2'):
            return 200, {}, {'version': 'v2', 'digest': 'bb', 'metrics': {'perplexity': '9.4'}, 'comment': None}
        if seen['path'] == '/admin/v1/services' and seen['method'] == 'GET':
            return 200, {}, {'services': [{'name': 'a', 'digest': 'bb'}, {'name': 'b', 'digest': 'aa'}]}
        return refusal(404, 'there is no ' + seen['path'])

    def test_log_model_sends_what_was_given_and_the_token(self):
        version = self.registry.log_model('models/x', model_name='smol', comment='c', metrics={'perplexity': 9.4})
        self.assertEqual(version.fully_qualified_name, 'smol@v3')
        self.assertEqual(self.body(), {'name': 'smol', 'path': os.path.abspath('models/x'), 'comment': 'c',
                                       'metrics': {'perplexity': 9.4}})
        self.assertEqual(self.seen[-1]['headers']['Authorization'], 'Bearer secret')
        self.assertTrue(self.seen[-1]['headers']['Idempotency-Key'])

    def test_log_model_tells_how_far_it_is(self):
        states, failure = [('running', 0.0), ('running', 0.42), ('done', 1.0)], 409

        def answer(seen):
            state, progress = states.pop(0)
            code = {'running': None, 'done': 201, 'failed': failure}[state]
            error = {'message': 'there is smol@v3 already', 'type': 'conflict', 'param': 'version'} if state == 'failed' else None
            return 202 if seen['method'] == 'POST' else 200, {}, {
                'id': '0a', 'state': state, 'progress': progress, 'code': code, 'error': error,
                'result': {'version': 'v3'} if state == 'done' else None}

        self.answer, told = answer, []
        version = self.registry.log_model('/x', model_name='smol', on_progress=told.append)
        self.assertEqual((version.version_name, told), ('v3', [0.0, 0.42, 1.0]))
        self.assertEqual([seen['path'] for seen in self.seen],
                         ['/admin/v1/models?wait=0'] + ['/admin/v1/operations/0a?wait=1'] * 2)
        states[:] = [('running', 0.0), ('failed', 0.5)]
        with self.assertRaisesRegex(tenon.Exists, 'smol@v3 already'):
            self.registry.log_model('/x', model_name='smol', on_progress=told.append)
        states[:], failure = [('failed', 0.0)], 404
        with self.assertRaises(tenon.NotFound):
            self.registry.log_model('/x', model_name='smol', on_progress=told.append)

    def test_versions_are_found_by_name_and_alias(self):
        model = self.registry.get_model('smol')
        self.assertEqual([v.version_name for v in model.versions()], ['v1', 'v2'])
        self.assertEqual(model.version('prod').version_name, 'v2')
        self.assertEqual((model.first().version_name, model.last().version_name, model.default.version_name),
                         ('v1', 'v2', 'v1'))
        with self.assertRaisesRegex(tenon.NotFound, "no version or alias 'v9'; it has v1, v2"):
            model.version('v9')
        self.assertEqual(model.version('v2').show_metrics(), {'perplexity': '9.4'})

    def test_services_of_a_version_are_those_of_its_digest(self):
        version = self.registry.get_model('smol').version('v2')
        self.assertEqual([service['name'] for service in version.list_services()], ['a'])

    def test_damage_raises(self):
        version = self.registry.get_model('smol').version('v2')
        self.assertEqual(version.verify(deep=True)['damaged'], 0)
        self.assertEqual(self.body(), {'deep': True})
        self.damage = ['model.safetensors: its contents have changed']
        with self.assertRaisesRegex(tenon.Damaged, 'smol@v2 is damaged: model.safetensors: its contents') as caught:
            version.verify()
        self.assertEqual(caught.exception.report['damaged'], 1)

    def test_an_absent_model_is_not_found(self):
        with self.assertRaises(tenon.NotFound):
            self.registry.get_model('else')


class Services(Scripted):
    """states: what the daemon says one after the other, the last one for ever: a state that is there or not yet, or
    (code, state) where 200 means that there is nothing to wait for, 202 that there is, 204 that it is gone."""

    def setUp(self):
        super().setUp()
        self.states = ['LOADING', 'READY']
        self.version = tenon.ModelVersion(self.registry._transport, 'smol', 'v1')

    def answer(self, seen):
        if seen['method'] == 'POST' and seen['path'] == '/admin/v1/services':
            if self.body().get('pool') == 'small':
                return refusal(422, 'it does not fit', plan={'needed_bytes': 9})
            return 201, {}, {'name': 'chat', 'state': 'PENDING'}
        if seen['method'] == 'GET' and seen['path'].startswith('/admin/v1/services/chat?wait='):
            said = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            asked = seen['path'].partition('&state=')[2]
            code, state = said if isinstance(said, tuple) else (200 if said == asked else 202, said)
            return code, {}, {'name': 'chat', 'state': state, 'message': 'because'}
        if seen['path'].startswith('/admin/v1/services/chat/logs'):
            return 200, {}, b'one\ntwo\n'
        return 200, {}, {}

    def create(self, **more):
        return self.version.create_service(service_name='chat', service_compute_pool=more.pop('pool', 'cpu'), **more)

    def test_create_waits_until_it_is_ready(self):
        service = self.create(gpu_requests=1, inference_engine_options={'max_model_len': 8192})
        self.assertEqual(self.states, ['READY'])
        self.assertEqual(json.loads(self.seen[0]['body']),
                         {'name': 'chat', 'model': 'smol@v1', 'pool': 'cpu', 'gpus': 1, 'min': 0, 'max': 1,
                          'settings': {'max_model_len': 8192}})
        self.assertEqual(list(service.logs(follow=True, instance='i1', since=1700000000.5)), ['one', 'two'])
        self.assertEqual(self.seen[-1]['path'], '/admin/v1/services/chat/logs?follow=1&instance=i1&since=1700000000.5')

    def test_a_misfit_carries_its_plan(self):
        with self.assertRaises(tenon.DoesNotFit) as caught:
            self.create(pool='small')
        self.assertEqual(caught.exception.plan, {'needed_bytes': 9})

    def test_a_failure_on_the_way_raises_with_its_reason(self):
        self.states = ['LOADING', 'FAILED']
        with self.assertRaisesRegex(tenon.ServiceFailed, 'chat is FAILED: because'):
            self.create()

    def test_a_wait_ends(self):
        self.states = ['LOADING']
        with self.assertRaisesRegex(tenon.Timeout, 'chat is LOADING after 0 s, not READY'):
            self.create(timeout=0.2)

    def test_an_update_ends_with_its_last_instance(self):
        service = tenon.Service(self.registry._transport, 'chat')
        self.states = [(202, 'READY'), (202, 'DEGRADED'), (200, 'READY')]
        service.update(gpu_requests=2)
        self.assertEqual(self.states, [(200, 'READY')])
        self.states = [(202, 'READY'), (200, 'DEGRADED')]
        with self.assertRaisesRegex(tenon.ServiceFailed, 'chat is DEGRADED: because'):
            service.update(model='smol@v2')
        self.states = [(202, 'SUSPENDED')]
        service.update(gpu_requests=2)
        self.create(replace=True)
        with self.assertRaises(tenon.Timeout):
            self.create(timeout=0.1)

    def test_a_failed_update_does_not_fail_what_comes_after(self):
        self.states = [(200, 'SUSPENDING'), (200, 'SUSPENDED')]
        tenon.Service(self.registry._transport, 'chat').suspend()
        self.assertEqual(self.states, [(200, 'SUSPENDED')])

    def test_what_is_deleted_is_gone(self):
        service = tenon.Service(self.registry._transport, 'chat')
        self.states = [(202, 'DELETING'), (202, 'DELETING'), (204, 'gone')]
        service.delete(drain_secs=5)
        self.assertEqual((self.states, self.seen[0]['path']), ([(204, 'gone')], '/admin/v1/services/chat?drain=5'))
        self.states = [(202, 'DELETING')]
        with self.assertRaisesRegex(tenon.Timeout, 'chat is not gone after 0 s'):
            service.delete(timeout=0.1)

    def test_options_are_settings_whatever_their_form(self):
        self.assertEqual(settings_of({'max_model_len': 8192, 'enable_prefix_caching': True}),
                         {'max_model_len': 8192, 'enable_prefix_caching': True})
        self.assertEqual(settings_of({'engine_args_override': ['--max-model-len=8192', '--dtype=bfloat16', '--max_num_seqs=4']}),
                         {'max_model_len': '8192', 'dtype': 'bfloat16', 'max_num_seqs': '4'})
        for wrong in (['max-model-len=1'], ['--host x'], ['--'], ['--=1']):
            with self.assertRaises(ValueError):
                settings_of({'engine_args_override': wrong})
        with self.assertRaises(ValueError):
            settings_of({'--max-model-len': 1})


class Rows(Scripted):
    def setUp(self):
        super().setUp()
        self.service = tenon.Service(self.registry._transport, 'chat')
        self.busy = {}

    def answer(self, seen):
        body = json.loads(seen['body'])
        prompt = body.get('prompt') or body['messages'][0]['content']
        if prompt.startswith('busy') and self.busy.setdefault(prompt, 2) > 0:
            self.busy[prompt] -= 1
            return 503, {'Retry-After': '0'}, {'error': {'message': 'resuming', 'type': 'server_error'}}
        if prompt == 'long':
            return refusal(400, 'the prompt has 9000 tokens, the model takes 8192')
        if prompt == 'gone':
            return None, {}, {}
        if prompt == 'absent':
            return refusal(404, 'there is no model chat')
        if prompt.startswith('odd'):
            return 200, {}, {'odd': {'choices': []}, 'odd choice': {'choices': ['x']}, 'odd list': [],
                             'odd usage': {'choices': [{'text': 'x'}], 'usage': 3}}[prompt]
        if 'messages' in body:
            return 200, {}, {'choices': [{'message': {'role': 'assistant', 'content': prompt.upper()},
                                          'finish_reason': 'stop'}], 'usage': {}}
        return 200, {}, completion(prompt.upper())

    def test_results_stand_in_the_order_of_the_rows(self):
        prompts = [f'p{i}' for i in range(200)]
        results = self.service.run(prompts, {'max_tokens': 4}, window=16)
        self.assertEqual([r.value for r in results], [p.upper() for p in prompts])
        self.assertEqual(self.body(), {'model': 'chat', 'max_tokens': 4, 'prompt': self.body()['prompt']})

    def test_a_row_that_fails_is_one_result(self):
        results = self.service.run(['a', 'long', 'gone', 'odd', 'b'])
        self.assertEqual([r.ok for r in results], [True, False, False, False, True])
        self.assertEqual((results[1].error, results[1].error_code, results[1].attempts),
                         ('the prompt has 9000 tokens, the model takes 8192', 400, 1))
        self.assertIsNone(results[1].value)
        self.assertIn('gave no answer', results[2].error)
        self.assertEqual(results[2].attempts, 1)
        self.assertIn('no choice', results[3].error)

    def test_an_answer_of_another_form_is_one_rows_error(self):
        results = self.service.run(['a', 'odd choice', 'odd list', 'odd usage'])
        self.assertEqual([r.ok for r in results], [True, False, False, False])
        for result in results[1:]:
            self.assertIn('no choice', result.error)
            self.assertIsNone(result.value)

    def test_what_json_cannot_say_is_not_sent(self):
        for wrong in ([{'prompt': 'a'}, {'prompt': 'b', 'stop': {1, 2}}], ['a', {'prompt': b'bytes'}]):
            with self.assertRaisesRegex(TypeError, 'row 1 cannot be sent as JSON'):
                self.service.run(wrong)
        self.assertEqual(self.seen, [])

    def test_a_server_that_says_when_is_not_asked_before(self):
        for draw in (0.0, 0.999):
            with unittest.mock.patch('random.random', return_value=draw), unittest.mock.patch('time.sleep') as slept:
                self.assertTrue(tenon.rows._pause(1, 4.0, float('inf')))
                self.assertTrue(4 <= slept.call_args[0][0] <= 5, slept.call_args)

    def test_busy_servers_are_asked_again(self):
        result = self.service.run(['busy'])[0]
        self.assertEqual((result.value, result.attempts), ('BUSY', 3))

    def test_what_stays_busy_is_given_up(self):
        self.busy['busy for ever'] = 99
        result = self.service.run(['busy for ever', 'a'])[0]
        self.assertEqual((result.error, result.error_code, result.attempts), ('resuming', 503, 5))

    def test_rows_of_every_form(self):
        class Frame:
            columns = ['key', 'prompt']

            @staticmethod
            def to_dict(_):
                return [{'key': 'k1', 'prompt': 'x'}]

        self.assertEqual(self.service.run(Frame())[0].key, 'k1')
        self.assertEqual(self.service.run([[{'role': 'user', 'content': 'hi'}]])[0].value, 'HI')
        self.assertEqual(self.service.run([{'messages': [{'role': 'user', 'content': 'hi'}], 'max_tokens': 9}],
                                          {'max_tokens': 4})[0].value, 'HI')
        self.assertEqual(self.body()['max_tokens'], 9)
        self.assertEqual(self.service.chat('hi')['choices'][0]['message']['content'], 'HI')
        for wrong in ([{'text': 'x'}], [{'prompt': 'x', 'messages': []}]):
            with self.assertRaisesRegex(ValueError, "row 0 needs either 'prompt' or 'messages'"):
                self.service.run(wrong)
        with self.assertRaises(TypeError):
            self.service.run('one prompt')

    def test_what_concerns_all_rows_raises(self):
        with self.assertRaisesRegex(tenon.NotFound, 'there is no model chat'):
            self.service.run(['absent'] * 1000, window=2)
        self.assertLess(len(self.seen), 1000)

    def test_no_daemon_is_said_so(self):
        nobody = tenon.Registry('unix:' + self.path + '.not')
        with self.assertRaisesRegex(tenon.ConnectionFailed, 'is `tenon daemon` running'):
            nobody.models()
        for wrong in ('unix:', '127.0.0.1:80', 'ftp://x', 'http://x:99999', 'http://x:port', 'http://x/v1', 'http://x/?a=b',
                      'http://user:secret@x'):
            with self.assertRaisesRegex(ValueError, 'server '):
                tenon.Registry(wrong)
        for good in ('http://x', 'https://x:1/', 'http://[::1]:80'):
            tenon.Registry(good)

    def test_a_full_queue_of_connections_is_waited_for(self):
        path = self.path + '.full'
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
            listener.bind(path)
            listener.listen(0)
            first.connect(path)  # which fills it
            with self.assertRaisesRegex(tenon.ConnectionFailed, 'does not answer'):
                tenon.Registry('unix:' + path)._transport.request('GET', '/', timeout=0.05)

            def make_room(_):
                listener.accept()[0].close()

            connection = tenon.transport._UnixConnection(path, 60)
            with unittest.mock.patch('time.sleep', side_effect=make_room) as slept:
                connection.connect()
            connection.close()
            slept.assert_called_once()


class Batches(Scripted):
    def setUp(self):
        super().setUp()
        self.version = tenon.ModelVersion(self.registry._transport, 'smol', 'v1')
        self.output = os.path.join(self.folder.name, 'out.jsonl')
        self.shown, self.more, self.cut = ['validating', 'in_progress', 'completed'], {}, None

    def answer(self, seen):
        if seen['path'] == '/v1/files':
            return 200, {}, {'id': 'file-1'}
        if seen['path'] == '/v1/batches':
            return 200, {}, {'id': 'batch-1', 'status': 'validating'}
        if seen['path'] == '/v1/batches/batch-1':
            return 200, {}, {'id': 'batch-1', 'status': self.shown.pop(0) if self.shown[1:] else self.shown[0],
                             'output_file_id': 'file-2', 'error_file_id': 'file-3', **self.more}
        if seen['path'] == '/v1/files/file-2/content' and self.cut:
            return self.cut
        if seen['path'] == '/v1/files/file-2/content':
            return 200, {}, b'{"custom_id": "0", "response": {"status_code": 200}}\n'
        if seen['path'] == '/v1/files/file-3/content':
            return 200, {}, b'{"custom_id": "1", "error": {"message": "too long"}}\n'
        return 200, {}, {}

    def run_batch(self, rows, **more):
        spec = tenon.OutputSpec(self.output, **more)
        return self.version.run_batch(rows, service_name='chat', output_spec=spec, job_spec=tenon.JobSpec(block=True),
                                      input_spec=tenon.InputSpec({'max_tokens': 3}))

    def test_rows_go_up_and_results_come_down(self):
        self.run_batch(['one', 'two'])
        sent = self.seen[0]['body'].split(b'\r\n\r\n')[2].split(b'\r\n--')[0].decode().splitlines()
        self.assertEqual(json.loads(sent[1]), {'custom_id': '1', 'method': 'POST', 'url': '/v1/completions',
                                               'body': {'model': 'chat', 'max_tokens': 3, 'prompt': 'two'}})
        self.assertEqual(self.body(1), {'input_file_id': 'file-1', 'endpoint': '/v1/completions',
                                        'completion_window': '24h'})
        with open(self.output, encoding='utf-8') as file:
            self.assertEqual([json.loads(line)['custom_id'] for line in file], ['0', '1'])

    def test_results_that_break_off_are_none(self):
        """At the end of a line and of a piece, where what came looks whole."""
        line = b'{"custom_id": "0", "response": {"status_code": 200}}\n'
        pieces = b'%x\r\n%s\r\n' % (len(line), line)
        for headers, data in (({'Content-Length': '999'}, line), ({'Content-Length': '999'}, b''),
                              ({'Transfer-Encoding': 'chunked'}, pieces), ({'Transfer-Encoding': 'chunked'}, pieces[:-9])):
            self.cut = 200, headers, data
            with self.assertRaisesRegex(tenon.ConnectionLost, 'broke off'):
                self.run_batch(['one', 'two'])
            self.assertEqual([name for name in os.listdir(self.folder.name) if name != 'd.sock'], [])
        self.cut = 404, {'Content-Length': '999'}, b'{"error": '
        with self.assertRaisesRegex(tenon.ConnectionLost, 'broke off'):
            self.run_batch(['one', 'two'])
        self.cut = 404, {}, {'error': {'message': 'there is no such file'}}
        with self.assertRaisesRegex(tenon.NotFound, 'no such file'):
            self.run_batch(['one', 'two'])
        self.cut = 200, {'Transfer-Encoding': 'chunked'}, pieces + b'0\r\n\r\n'
        self.run_batch(['one', 'two'])
        with open(self.output, encoding='utf-8') as file:
            self.assertEqual([json.loads(row)['custom_id'] for row in file], ['0', '1'])

    def test_a_job_without_results_leaves_no_file(self):
        self.shown, self.more = ['failed'], {'output_file_id': None, 'error_file_id': None}
        self.assertEqual(self.run_batch(['one']).status, 'failed')
        self.assertFalse(os.path.exists(self.output))

    def test_a_folder_that_is_missing_is_missed_at_once(self):
        self.output = os.path.join(self.folder.name, 'none', 'out.jsonl')
        with self.assertRaisesRegex(FileNotFoundError, 'there is no folder .*none; make it first'):
            self.run_batch(['one'])
        self.assertEqual(self.seen, [])

    def test_what_is_there_is_not_overwritten_unasked(self):
        with open(self.output, 'w', encoding='utf-8') as file:
            file.write('mine')
        with self.assertRaises(FileExistsError):
            self.run_batch(['one'])
        self.assertEqual(self.seen, [])
        self.run_batch(['one'], mode='overwrite')

    def test_what_has_come_meanwhile_is_not_overwritten(self):
        job = self.version.run_batch(['one'], service_name='chat', output_spec=tenon.OutputSpec(self.output))
        with open(self.output, 'w', encoding='utf-8') as file:
            file.write('mine')
        with self.assertRaises(FileExistsError):
            job.wait()
        with open(self.output, encoding='utf-8') as file:
            self.assertEqual(file.read(), 'mine')
        self.assertFalse([name for name in os.listdir(self.folder.name) if name.endswith('.part')])

    def test_logs_say_what_became_of_it(self):
        job = self.version.run_batch(['one'], service_name='chat', output_spec=tenon.OutputSpec(self.output))
        self.shown = ['failed']
        self.more = {'created_at': 0, 'failed_at': 60, 'request_counts': {'total': 3, 'completed': 1, 'failed': 1},
                     'errors': {'data': [{'code': 'invalid_url', 'line': 2, 'message': 'no'}]}}
        self.assertEqual(job.get_logs().splitlines(), ['1970-01-01T00:01:00Z failed', 'failed: 1 of 3 rows answered, 1 failed',
                                                       'invalid_url: line 2: no'])
        self.assertEqual(job.get_logs(1), 'invalid_url: line 2: no')

    def test_keys_name_results_and_so_differ(self):
        with self.assertRaisesRegex(ValueError, "row 1 has the key 'a' of an earlier row"):
            self.run_batch([{'key': 'a', 'prompt': 'x'}, {'key': 'a', 'prompt': 'y'}])


if __name__ == '__main__':
    unittest.main()

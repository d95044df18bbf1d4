// Names, the format of texts, completion and commands.

import assert from 'node:assert/strict';
import test from 'node:test';

import { COMMANDS, stepsOf } from './page/commands.js';
import { completionsAt, isWhole, knownOf, withChoice } from './page/completion.js';
import { counted, lasted, partsOf } from './page/format.js';
import { nameOf } from './page/keyboard.js';
import { COLOURS, colourOf, initialOf, mentions, sorted } from './page/names.js';

const shown = (text, me) => partsOf(text, me).map(({ kind, value }) => [kind, value]);

test('markup stays text', () => {
  for (const text of [
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '&lt;b&gt;',
    '*stars* _lines_ [a](b)',
    'javascript:alert(1)',
    '{{x}}',
  ]) {
    assert.deepEqual(shown(text), [['text', text]]);
  }
});

test('code is shown as it is', () => {
  assert.deepEqual(shown('run `a <b> https://x.example` now'), [
    ['text', 'run '],
    ['code', 'a <b> https://x.example'],
    ['text', ' now'],
  ]);
  assert.deepEqual(shown('```let a = `b`;```'), [['block', 'let a = `b`;']]);
  assert.deepEqual(shown('a ` b'), [['text', 'a ` b']]);
  assert.deepEqual(shown('``'), [['text', '``']]);
});

test('only web addresses are links, without the end of the sentence', () => {
  for (const [text, link] of [
    ['see https://a.example/x.', 'https://a.example/x'],
    ['(https://a.example/x)', 'https://a.example/x'],
    ['https://a.example/x_(y)', 'https://a.example/x_(y)'],
    ['https://a.example/x_(y)), no', 'https://a.example/x_(y)'],
    ['HTTP://A.example?', 'HTTP://A.example'],
    ['"http://a.example"', 'http://a.example'],
    ['http://a.example/[x]}.).', 'http://a.example/[x]'],
    [`http://a.example/${').'.repeat(200_000)}`, 'http://a.example/'], // in one pass
    [`http://a.example/${'_'.repeat(200_000)}x`, `http://a.example/${'_'.repeat(200_000)}x`],
  ]) {
    assert.deepEqual(
      partsOf(text)
        .filter((each) => each.kind === 'link')
        .map((each) => each.value),
      [link],
      text,
    );
    assert.equal(
      partsOf(text)
        .map((each) => each.value)
        .join(''),
      text,
    );
  }
  for (const text of [
    'ftp://a.example',
    'file:///etc/passwd',
    'data:text/html,x',
    'xhttps://a.example',
    'https://',
    'https://bank.example@evil.example/',
  ]) {
    assert.deepEqual(shown(text), [['text', text]]);
  }
});

test('nothing of a text is lost', () => {
  for (const text of [
    'a`b`c https://x.example/, @ann `d',
    '``` x',
    '```a``` b ```c```',
    'https://x.example/`y`',
    '',
  ]) {
    const again = partsOf(text, 'ann')
      .map(
        ({ kind, value }) =>
          ({ code: `\`${value}\``, block: `\`\`\`${value}\`\`\`` })[kind] ?? value,
      )
      .join('');
    assert.equal(again, text);
  }
});

test('a mention is a whole word', () => {
  for (const text of ['ann', '@ann: hi', 'hi ANN!', '(ann)', 'so,ann'])
    assert.ok(mentions(text, 'ann'), text);
  for (const text of ['anna', 'joann', 'ann-2', 'ann_', 'änn', 'ann\u0301', ''])
    assert.ok(!mentions(text, 'ann'), text);
  assert.ok(mentions('guest-7?', 'guest-7') && !mentions('guest-71', 'guest-7'));
  assert.ok(!mentions('anything', ''));
  assert.ok(mentions('hallo @jürgen', 'Jürgen'));
  assert.deepEqual(shown('hi @ann, ann', 'ann'), [
    ['text', 'hi '],
    ['mention', '@ann'],
    ['text', ', '],
    ['mention', 'ann'],
  ]);
});

test('a name has one colour of twelve, and a first letter', () => {
  const found = new Set();
  for (let number = 0; number < 500; number += 1) found.add(colourOf(`guest-${number}`));
  assert.deepEqual(
    [...found].sort((a, b) => a - b),
    [...Array(COLOURS).keys()],
  );
  assert.equal(colourOf('Ann'), colourOf('ann'));
  assert.equal(initialOf('é\u0323a'), 'é\u0323');
  assert.equal(initialOf('नि'), 'नि');
  assert.deepEqual(sorted(['guest-10', 'guest-9', 'Bea', 'ann']), [
    'ann',
    'Bea',
    'guest-9',
    'guest-10',
  ]);
});

test('numbers and durations are in words', () => {
  assert.deepEqual(
    [counted(1, 'message'), counted(1200, 'message')],
    ['1 message', '1,200 messages'],
  );
  assert.deepEqual([10, 4000, 89_000, 600_000, 7_200_000].map(lasted), [
    '1 s',
    '4 s',
    '89 s',
    '10 min',
    '2 h',
  ]);
});

const known = {
  people: new Map([
    ['dora', 'here'],
    ['Dominic', 'in #ops'],
    ['bea', 'here'],
  ]),
  rooms: new Map([['ops', '2 here']]),
};
const offered = (text, asked) =>
  completionsAt(text, text.length, known, asked)?.choices.map((each) => each.label) ?? [];

test('names, rooms and commands are completed', () => {
  assert.deepEqual(offered('@do'), ['@Dominic', '@dora']);
  assert.deepEqual(offered('hi @DOR'), ['@dora']);
  assert.deepEqual(offered('#o'), ['#ops']);
  assert.deepEqual(offered('/le'), ['/leave [ROOM]']);
  assert.deepEqual(offered('/msg do'), ['Dominic', 'dora']);
  assert.deepEqual(offered('/msg @do'), ['Dominic', 'dora']);
  assert.deepEqual(offered('do'), []);
  assert.deepEqual(offered('do', true), ['@Dominic', '@dora']);
  for (const text of ['', 'x /le', 'a@do', '@nobody', 'hi '])
    assert.deepEqual(offered(text, true), []);
});

test('the rooms of commands are completed when asked, with and without a number sign', () => {
  for (const text of ['/join o', '/join #o', '/leave o', '/JOIN  #O']) {
    assert.deepEqual(offered(text, true), ['#ops'], text);
    assert.deepEqual(offered(text), [], text); // Enter joins a new room
  }
  assert.deepEqual(offered('/join ', true), []);
  assert.deepEqual(offered('/join x', true), []);
  assert.deepEqual(offered('/join ops do', true), ['@Dominic', '@dora']);
});

test('a word that is complete is told from one that is not', () => {
  for (const [text, is] of [
    ['hi @dora', true],
    ['@DORA', true],
    ['@dor', false],
    ['#ops', true],
    ['/msg dora', true],
    ['/msg do', false],
    ['/who', true],
    ['/wh', false],
  ]) {
    const found = completionsAt(text, text.length, known);
    assert.equal(isWhole(text, found, found.choices[0]), is, text);
  }
});

test('people and rooms that are known', () => {
  const room = (name, members) => ({ name, members: new Set(members), count: members.length });
  const [ops, lobby] = [room('ops', ['ann', 'bea', 'eve']), room('lobby', ['ann', 'bea'])];
  const rooms = new Map([ops, lobby].map((each) => [each.name, each]));
  const here = { ...lobby, isRoom: true };
  const found = knownOf({ here, rooms, nick: 'ann' }, [
    { room: 'ops', count: 9 },
    { room: 'zoo', count: 4, topic: 'animals' },
  ]);
  assert.deepEqual(
    [...found.people],
    [
      ['bea', 'here'],
      ['eve', 'in #ops'],
    ],
  );
  assert.deepEqual(
    [...found.rooms],
    [
      ['ops', '3 here'],
      ['lobby', '2 here'],
      ['zoo', '4 here, animals'],
    ],
  );
});

test('the word at the caret of a long text is found in one pass', () => {
  const begin = performance.now();
  assert.deepEqual(offered(`${'x'.repeat(60_000)} @do`), ['@Dominic', '@dora']);
  assert.ok(performance.now() - begin < 1000);
});

test('a choice replaces the word at the caret', () => {
  const found = completionsAt('hi @do there', 6, known);
  assert.deepEqual(withChoice('hi @do there', found, found.choices[1]), {
    text: 'hi @dora there',
    caret: 9,
  });
});

test('each line is a message', () => {
  assert.deepEqual(stepsOf('a\r\n\n  b\nc'), [
    { do: 'say', text: 'a' },
    { do: 'say', text: '  b' },
    { do: 'say', text: 'c' },
  ]);
  assert.deepEqual(stepsOf('//etc'), [{ do: 'say', text: '/etc' }]);
  assert.deepEqual(stepsOf('/usr/bin\n/etc'), [
    { do: 'say', text: '/usr/bin' },
    { do: 'say', text: '/etc' },
  ]);
  assert.deepEqual(stepsOf('```\n// a comment\n```')[1], { do: 'say', text: '// a comment' });
});

test('commands', () => {
  for (const [typed, step] of [
    ['/join #Ops', { do: 'join', room: 'Ops' }],
    ['/LEAVE', { do: 'leave', room: '' }],
    ['/msg @bea  hi you', { do: 'talk', to: 'bea', text: 'hi you' }],
    ['/me waves', { do: 'say', text: 'waves', action: true }],
    ['/topic -', { do: 'topic', topic: '' }],
    ['/ban eve', { do: 'request', message: { type: 'ban', nick: 'eve', minutes: 60 } }],
    [
      '/ban eve 5 why not',
      { do: 'request', message: { type: 'ban', nick: 'eve', minutes: 5, text: 'why not' } },
    ],
    ['/kick eve', { do: 'request', message: { type: 'kick', nick: 'eve' } }],
  ])
    assert.deepEqual(stepsOf(typed), [step]);
});

test('a wrong command is an error that says how it is used', () => {
  for (const typed of [
    '/join',
    '/me',
    '/nick',
    '/ban',
    '/ban eve soon',
    '/mute eve 1.5',
    '/dance',
  ]) {
    const [{ do: what, text }] = stepsOf(typed);
    assert.equal(what, 'error');
    assert.ok(text.includes(typed.split(' ')[0]), text);
  }
  assert.equal(new Set(COMMANDS.map((each) => each.word)).size, COMMANDS.length);
});

test('keys have names', () => {
  const key = (name, more = {}) => nameOf({ key: name, ...more });
  assert.equal(key('k', { metaKey: true }), 'Ctrl K');
  assert.equal(key('ArrowUp', { altKey: true }), 'Alt ArrowUp');
  assert.equal(key('Tab', { shiftKey: true }), 'Shift Tab');
});

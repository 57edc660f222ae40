'use strict';

const test = require('node:test');
const assert = require('node:assert');
const { parse, stringify } = require('..');

test('parses pairs', () => {
  assert.deepStrictEqual(parse('?page=2&sort=name'), { page: '2', sort: 'name' });
});

test('repeated keys become an array', () => {
  assert.deepStrictEqual(parse('tag=a&tag=b&tag=c'), { tag: ['a', 'b', 'c'] });
});

test('builds pairs', () => {
  assert.strictEqual(stringify({ q: 'a b', tag: ['x', 'y'] }), 'q=a+b&tag=x&tag=y');
});

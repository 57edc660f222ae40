'use strict';

const test = require('node:test');
const assert = require('node:assert');
const { parse, stringify } = require('/app');

const plain = (value) => ({ ...value });

test('only the first equals sign separates', () => {
  assert.deepStrictEqual(plain(parse('sig=YWJjZA==')), { sig: 'YWJjZA==' });
  assert.deepStrictEqual(plain(parse('a=b=c&d=e')), { a: 'b=c', d: 'e' });
});

test('plus is a space, in keys and values', () => {
  assert.deepStrictEqual(plain(parse('q=a+b+c')), { q: 'a b c' });
  assert.deepStrictEqual(plain(parse('first+name=x')), { 'first name': 'x' });
  assert.deepStrictEqual(plain(parse('q=1%2B1')), { q: '1+1' });
});

test('what cannot be decoded stays as it is', () => {
  assert.deepStrictEqual(plain(parse('discount=100%&page=2')), { discount: '100%', page: '2' });
  assert.deepStrictEqual(plain(parse('x=%E4&y=%C3%A4')), { x: '%E4', y: 'ä' });
});

test('empty pairs leave nothing', () => {
  assert.deepStrictEqual(plain(parse('')), {});
  assert.deepStrictEqual(plain(parse('?')), {});
  assert.deepStrictEqual(plain(parse('a=1&&b=2&')), { a: '1', b: '2' });
});

test('a key without a value is empty', () => {
  assert.deepStrictEqual(plain(parse('flag&x=')), { flag: '', x: '' });
});

test('reads back what stringify writes', () => {
  const values = { 'a key': 'b = c & d + e', list: ['1 2', '3%'], ü: 'ß' };
  assert.deepStrictEqual(plain(parse(stringify(values))), values);
});

test('repeated keys become an array', () => {
  assert.deepStrictEqual(plain(parse('?t=a&t=b&t=c')), { t: ['a', 'b', 'c'] });
});

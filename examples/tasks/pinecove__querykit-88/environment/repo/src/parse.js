'use strict';

const { decode } = require('./codec');

/**
 * Parse a query string, with or without its leading question mark.
 * A key that occurs more than once becomes an array of its values.
 */
function parse(query) {
  const result = {};
  const text = query.startsWith('?') ? query.slice(1) : query;
  for (const pair of text.split('&')) {
    const [rawKey, rawValue] = pair.split('=');
    const key = decode(rawKey);
    const value = decode(rawValue || '');
    if (key in result) {
      result[key] = [].concat(result[key], value);
    } else {
      result[key] = value;
    }
  }
  return result;
}

module.exports = { parse };

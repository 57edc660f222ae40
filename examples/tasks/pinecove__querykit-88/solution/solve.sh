#!/bin/bash
set -e
cd /app
cat > src/codec.js <<'JS'
'use strict';

/** Decode one key or value; text with a malformed escape is kept as it is. */
function decode(text) {
  try {
    return decodeURIComponent(text.replace(/\+/g, ' '));
  } catch {
    return text;
  }
}

function encode(text) {
  return encodeURIComponent(text).replace(/%20/g, '+');
}

module.exports = { decode, encode };
JS
cat > src/parse.js <<'JS'
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
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const key = decode(equals < 0 ? pair : pair.slice(0, equals));
    const value = equals < 0 ? '' : decode(pair.slice(equals + 1));
    if (Object.hasOwn(result, key)) {
      result[key] = [].concat(result[key], value);
    } else {
      result[key] = value;
    }
  }
  return result;
}

module.exports = { parse };
JS

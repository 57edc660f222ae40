'use strict';

const { encode } = require('./codec');

/** Build a query string; an array gives one pair for each of its items. */
function stringify(values) {
  const pairs = [];
  for (const [key, value] of Object.entries(values)) {
    for (const item of [].concat(value)) {
      pairs.push(`${encode(key)}=${encode(String(item))}`);
    }
  }
  return pairs.join('&');
}

module.exports = { stringify };

'use strict';

function decode(text) {
  return decodeURIComponent(text);
}

function encode(text) {
  return encodeURIComponent(text).replace(/%20/g, '+');
}

module.exports = { decode, encode };

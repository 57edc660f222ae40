#!/bin/bash
set -e
cat > /app/slugkit/core.py <<'PY'
"""Build slugs from free text."""

import re
import unicodedata

_NOT_ALLOWED = re.compile(r"[^a-z0-9]+")


def _base_letters(text):
    """Return `text` with every letter stripped of its accents."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def slugify(text, max_length=None, separator="-"):
    """Return `text` as a slug of lower-case ASCII letters and digits.

    Accented letters become their base letters. Everything else becomes
    `separator`, never twice in a row and never at either end. With
    `max_length` the slug has at most that many characters.
    """
    slug = _NOT_ALLOWED.sub(separator, _base_letters(text).lower()).strip(separator)
    if max_length is not None:
        slug = slug[:max_length].rstrip(separator)
    return slug


def unique_slug(text, taken, max_length=None, separator="-"):
    """Return a slug for `text` that is not in `taken`.

    The first free one of `slug`, `slug-2`, `slug-3`, … is used; the text
    gives way to the number where `max_length` leaves no room for both.
    """
    candidate = slugify(text, max_length, separator)
    number = 1
    while candidate in taken:
        number += 1
        suffix = f"{separator}{number}"
        room = None if max_length is None else max(max_length - len(suffix), 0)
        candidate = slugify(text, room, separator) + suffix
    return candidate
PY

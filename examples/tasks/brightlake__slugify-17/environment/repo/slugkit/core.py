"""Build slugs from free text."""

import re

_NOT_ALLOWED = re.compile(r"[^a-z0-9]+")


def slugify(text, max_length=None, separator="-"):
    """Return `text` as a slug of lower-case ASCII letters and digits.

    Everything else becomes `separator`, never twice in a row and never at
    either end. With `max_length` the slug has at most that many characters.
    """
    slug = _NOT_ALLOWED.sub(separator, text.lower()).strip(separator)
    if max_length is not None:
        slug = slug[:max_length]
    return slug


def unique_slug(text, taken, max_length=None, separator="-"):
    """Return a slug for `text` that is not in `taken`.

    The first free one of `slug`, `slug-2`, `slug-3`, … is used.
    """
    base = slugify(text, max_length, separator)
    if base not in taken:
        return base
    number = 2
    while f"{base}{separator}{number}" in taken:
        number += 1
    return f"{base}{separator}{number}"

"""Headers by the place where users of ``websockets`` look for them; they live in ``wsfast.headers``.

Nothing is defined here.
"""

from __future__ import annotations

from .http import Headers, HeadersLike, MultipleValuesError

__all__ = ["Headers", "HeadersLike", "MultipleValuesError"]

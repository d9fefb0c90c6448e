"""``wsproto.typing``, its own classes and functions."""

from wsproto.typing import *  # noqa: F403

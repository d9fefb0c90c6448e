"""``wsproto.events``, its own classes and functions."""

from wsproto.events import *  # noqa: F403

"""``wsproto.frame_protocol``, with our ``FrameProtocol``."""

from wsproto.frame_protocol import *  # noqa: F403

from .frames import FrameProtocol as FrameProtocol

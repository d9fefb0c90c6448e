"""Check what borrower.pyx gets from wsfast: RFC 6455 5.3, 8.1 and 5.6."""

import borrower

from wsfast.codec import MessageDecoder, Ping, Role, apply_mask

key, data = bytes.fromhex("37fa213d"), b"Hello, wsfast"
masked = apply_mask(data, key)
assert borrower.mask(data, key, 0) == (masked, 1)
assert borrower.mask(data[5:], key, 1) == (masked[5:], 1)
assert borrower.mask(b"", key, 3) == (b"", 3)

assert borrower.utf8_valid("하나".encode())
assert not borrower.utf8_valid("하나".encode()[:-1])

decoder = MessageDecoder(Role.SERVER)
assert borrower.feed(decoder, bytes.fromhex("818537fa213d7f9f4d515889")) == ["Hello"]
assert borrower.feed(decoder, bytes.fromhex("8037fa213d")) == [Ping(b"")]
assert borrower.feed_nothing(decoder) == []
assert decoder.failure is None

try:
    borrower.feed("no decoder", b"")
except TypeError:
    pass
else:
    raise AssertionError("fed something that is no decoder")

# ``MessageDecoder``: bytes in, messages out (RFC 6455 5.4, 5.6, 8.1; RFC 7692 6). ``FrameDecoder``: bytes in, frames out.
#
# A message is collected in one object that grows with the bytes received and becomes the message. A frame that lies whole
# in a chunk goes straight into its final object.

cdef class MessageDecoder(_Decoder):
    """MessageDecoder(role, *, max_message_size=1_048_576, max_frame_size=None, max_fragments=131_072, \
max_feed_events=None, max_feed_size=None, text="str", inflate=None)
--

Bytes in, messages out (RFC 6455 5 and 8.1). ``native.pyi`` says what each argument means."""

    cdef readonly object max_message_size
    cdef readonly object max_frame_size
    cdef readonly object max_fragments
    cdef readonly object max_feed_events
    cdef readonly object max_feed_size
    cdef bint text_as_bytes
    cdef int small_size             # payload bytes of a frame with a length of 7 bits that may go the shorter way
    cdef int whole_size             # the same, with one of 16 bits
    cdef object inflate             # of compressed messages (RFC 7692); None: there are none
    cdef wsfast_utf8 utf8           # of the text message that is being collected, unless all of it is ASCII
    cdef wsfast_measure measure     # the same
    cdef Py_ssize_t n_ascii         # bytes at its beginning that are ASCII
    cdef uint8_t expects_ascii      # the last text was; a guess for the next one
    cdef bint streaming             # the message in hand, or the next one, comes in parts
    cdef bint in_parts              # one of them was delivered
    cdef uint64_t parts_size        # bytes of those that were

    def __cinit__(
        self, role, *, max_message_size=1_048_576, max_frame_size=None, max_fragments=131_072, max_feed_events=None,
        max_feed_size=None, text="str", inflate=None
    ):
        self.set_role(role)
        self.reader.rules.max_message_size = limit_of(max_message_size, "max_message_size")
        self.reader.rules.max_frame_size = limit_of(max_frame_size, "max_frame_size")
        self.reader.rules.max_fragments = limit_of(max_fragments, "max_fragments")
        self.max_message_size = max_message_size
        self.max_frame_size = max_frame_size
        self.max_fragments = max_fragments
        self.max_events = bound_of(max_feed_events, "max_feed_events")
        self.max_size = bound_of(max_feed_size, "max_feed_size")
        self.bounded = max_feed_events is not None or max_feed_size is not None
        self.max_feed_events = max_feed_events
        self.max_feed_size = max_feed_size
        if text not in ("str", "bytes"):
            raise ValueError(mistakes.not_a_text_option(text))
        self.text_as_bytes = text == "bytes"
        self.end_stream()
        self.expects_ascii = 1
        if inflate is not None:
            if not callable(inflate):
                raise TypeError(mistakes.not_a_function("inflate", inflate))
            self.inflate = inflate
            self.reader.rules.inflates = 1
            self.reader.rules.allowed_rsv = WSFAST_RSV1
            self.reader.rules.max_deflated_size = max_deflated_size(self.reader.rules.max_message_size)

    cdef void end_stream(self) noexcept:
        self.streaming = self.in_parts = False
        self.parts_size = 0
        self.small_size = -1 if self.reader.rules.max_fragments == 0 else <int>min(
            <uint64_t>WSFAST_MAX_CONTROL_SIZE, self.reader.rules.max_message_size, self.reader.rules.max_frame_size)
        self.whole_size = -1 if self.reader.rules.max_fragments == 0 else <int>min(
            <uint64_t>0xFFFF, self.reader.rules.max_message_size, self.reader.rules.max_frame_size)

    @cython.critical_section
    def stream_message(self, wanted=True):
        """Deliver the message in hand, or if there is none the next one, in parts."""
        cdef bint is_wanted = bool(wanted)
        self.enter()
        if self.view is not None:
            self.take_back()
        part = None
        if is_wanted:
            part = self.begin_stream()
        elif not self.in_parts:
            self.end_stream()
        self.hindrance &= ~BUSY
        return part

    cdef object begin_stream(self):
        if self.streaming or self.finished:
            return None
        self.streaming = True
        self.small_size = self.whole_size = -1  # no shorter way
        if self.reader.rules.message == WSFAST_NO_MESSAGE or self.collected.size == 0:
            return None
        return self.take_part(self.reader.rules.message == WSFAST_TEXT_MESSAGE, False)

    cdef object take_part(self, bint is_text, bint fin):
        """What was collected, as a Fragment."""
        cdef bytes payload
        self.parts_size += self.collected.size
        self.in_parts = self.control_seen = True
        if self.collected.is_str and self.collected.object != NULL:
            payload = PyBytes_FromStringAndSize(
                <char*>wsfast_collected_end(&self.collected) - self.collected.size, self.collected.size)
            self.drop()
        else:
            payload = self.take_collected()
        return Fragment(payload, is_text, fin)

    @property
    def text(self):
        """``"str"`` or ``"bytes"``: the type of a text message."""
        return "bytes" if self.text_as_bytes else "str"

    @property
    def has_control(self):
        """True if the last ``feed`` met something that is no message, or bytes wait."""
        return self.control_seen or self.waiting is not None

    @property
    def has_waiting(self):
        """True while received bytes wait, as the last ``feed`` had completed as much as it may."""
        return self.waiting is not None

    @cython.critical_section
    def get_buffer(self, sizehint=-1):
        """Return a view to receive the next bytes into, in place, or None when ``feed`` has to be used."""
        index(sizehint)
        self.enter()
        view = self.offer()
        self.hindrance &= ~BUSY
        return view

    cdef object offer(self):
        cdef Py_ssize_t size
        if self.view is not None:
            self.take_back()
        if (
            self.finished or not self.reader.in_frame or self.reader.header.first & 0x08 or self.reader.rules.compressed
            or self.reader.n_missing < <uint64_t>LARGE_SIZE
        ):
            return None
        if wsfast_collected_room(&self.collected) - self.collected.size < LARGE_SIZE:
            if self.collected.object == NULL and not self.in_parts:
                self.begin_text(self.reader.rules.message == WSFAST_TEXT_MESSAGE and not self.text_as_bytes)
            # As much again as was received: memory follows that, and not what a header declares.
            size = max(LARGE_SIZE, self.collected.size)
            if <uint64_t>size > self.reader.n_missing:
                size = self.reader.n_missing
            self.resize(self.collected.size + size, self.collected.size)
        self.room = _Room()
        Py_INCREF(<object>self.collected.object)
        self.room.owner = self.collected.object
        self.room.start = <char*>wsfast_collected_end(&self.collected)
        self.n_offered = self.room.size = <Py_ssize_t>min(
            <uint64_t>(wsfast_collected_room(&self.collected) - self.collected.size), self.reader.n_missing)
        self.view = PyMemoryView_FromObject(self.room)
        self.hindrance |= VIEW
        return self.view

    @cython.critical_section
    def buffer_updated(self, nbytes):
        """Decode what was received into the buffer that ``get_buffer`` returned last."""
        return self.decode_received(index(nbytes))

    cdef list decode_received(self, nbytes):
        cdef list events = []
        if self.hindrance & BUSY == 0:
            if self.view is None:
                raise RuntimeError(mistakes.NO_BUFFER)
            if not 0 <= nbytes <= self.n_offered:
                raise ValueError(mistakes.more_than_the_buffer(nbytes, self.n_offered))
        self.enter()
        self.control_seen = False
        self.take_received(nbytes, events)
        self.hindrance &= ~BUSY
        return events

    cdef int take_received(self, Py_ssize_t size, list events) except -1:
        cdef object message, keep = None
        self.close_view(size)
        if size:
            wsfast_received_in_place(&self.reader, size)
            if self.room is None:
                # It has moved, and leave_ascii() must not free it while it is read.
                keep = <object>self.collected.object
            message = self.collect_piece(wsfast_collected_end(&self.collected), size)
            if message is not None:
                events.append(message)
        elif self.collected.size == 0:
            self.drop()
        return 0

    cdef Py_ssize_t take_whole_messages(self, const uint8_t* data, Py_ssize_t size, list events) except -1:
        # Called between messages, for a first byte with FIN.
        # Messages of one frame that is all here and breaks no rule of headers: chats and feeds send mostly these.
        # Anything else is judged by wsfast_next(). 64 of 32 bytes take 0.85 of the time (ratios.py).
        cdef Py_ssize_t pos = 0, n_header = 6 if self.reader.rules.masked else 2, n_payload
        cdef const uint8_t* payload
        cdef uint32_t masking_key
        cdef object message
        while size - pos >= n_header and (data[pos] == 0x80 | WSFAST_TEXT or data[pos] == 0x80 | WSFAST_BINARY):
            n_payload = data[pos + 1] ^ self.reader.rules.masked  # above 127 if it is not masked as it has to be (5.1)
            payload = data + pos + n_header
            if n_payload == 126 and size - pos >= 4:
                # The length has 16 bits, in network byte order. wsfast_next() judges one that could be shorter (5.2).
                n_payload = <Py_ssize_t>data[pos + 2] << 8 | data[pos + 3]
                payload += 2
                if n_payload < 126 or n_payload > self.whole_size:
                    break
            elif n_payload > self.small_size:
                break
            if n_payload > data + size - payload:
                break
            masking_key = wsfast_load32(payload - 4) if self.reader.rules.masked else 0
            message = self.whole_message(data[pos] == 0x80 | WSFAST_TEXT, payload, n_payload, masking_key)
            pos = payload - data + n_payload
            if message is None:
                self.fail(faults.TEXT_NOT_UTF8)  # 8.1
                return size
            events.append(message)
            if self.bounded:
                self.fed_size += n_payload
                if self.is_full(events):
                    break
        return pos

    cdef int take_payload(self, const uint8_t* payload, Py_ssize_t size, list events) except -1:
        cdef object message
        if self.reader.rules.compressed:
            message = self.inflate_piece(payload, size)
        elif wsfast_is_whole_message(&self.reader, size):
            message = self.whole_message(
                self.reader.rules.message == WSFAST_TEXT_MESSAGE, payload, size, self.reader.masking_key)
            self.fed_size += size
            wsfast_end_frame(&self.reader)
            if self.streaming:
                self.end_stream()
            if message is None:
                self.fail(faults.TEXT_NOT_UTF8)  # 8.1
        else:
            message = self.collect_piece(payload, size)
        if message is not None:
            events.append(message)
        return 0

    cdef int take_control(self, int opcode, bytes payload, list events) except -1:
        cdef object event
        if opcode == WSFAST_PING:
            event = Ping(payload)
        elif opcode == WSFAST_PONG:
            event = Pong(payload)
        else:
            event = self.judge_close(payload)
        if event is not None:
            events.append(event)
        return 0

    cdef inline object whole_message(
        self, bint is_text, const uint8_t* payload, Py_ssize_t size, uint32_t masking_key
    ):
        """The message of one frame that lies whole in the chunk, or None for text that is not UTF-8."""
        cdef bytes binary
        if is_text:
            if self.text_as_bytes:
                return text_bytes_of(payload, size, masking_key)
            return text_of(payload, size, masking_key, &self.expects_ascii)
        binary = PyBytes_FromStringAndSize(NULL, size)
        wsfast_mask(<uint8_t*>PyBytes_AS_STRING(binary), payload, size, masking_key)
        return binary

    cdef object collect_piece(self, const uint8_t* data, Py_ssize_t size):
        """Collect a piece of a message. Returns the message if that was the last, None if not or if it fails.

        `data` may be the place where it belongs.
        """
        if size:
            if self.reader.rules.message != WSFAST_TEXT_MESSAGE:
                self.collect(data, size, self.rest_after(size))
            elif not self.collect_text(data, size, self.reader.masking_key, self.rest_after(size)):
                self.fail(faults.TEXT_NOT_UTF8)  # 8.1, as soon as it can be known
                return None
            else:
                self.reader.masking_key = wsfast_rotate_key(self.reader.masking_key, size)
        if self.reader.n_missing:
            return None
        return self.end_frame()

    cdef uint64_t rest_after(self, Py_ssize_t size) noexcept:
        """Bytes of the message that can come at most, after the next `size` to be collected."""
        if self.reader.header.first & 0x80:
            return self.reader.n_missing
        return self.reader.rules.max_message_size - self.collected.size - size

    cdef inline void begin_text(self, bint collects_str) noexcept:
        self.collected.is_str = collects_str
        self.utf8 = wsfast_utf8(n_due=0)
        self.measure = wsfast_measure(n_chars=0, max_byte=0)
        self.n_ascii = 0

    cdef object end_frame(self):
        """End a frame that was collected. Returns the message, or a part of it, or None if there is none or it fails."""
        cdef object message
        cdef bint is_text = self.reader.rules.message == WSFAST_TEXT_MESSAGE
        if not wsfast_end_frame(&self.reader):
            self.n_fed_fragments += 1
            if not self.streaming:
                return None
            self.fed_size += self.collected.size
            return self.take_part(is_text, False)
        self.fed_size += self.collected.size
        if is_text and self.utf8.n_due:
            self.fail(faults.TEXT_NOT_UTF8)  # it ends inside a character
            return None
        if self.in_parts:
            message = self.take_part(is_text, True)
        else:
            message = self.end_text() if is_text else self.take_collected()
        if self.streaming:
            self.end_stream()
        return message

    cdef bint collect_text(self, const uint8_t* data, Py_ssize_t size, uint32_t masking_key, uint64_t rest) except -1:
        """Unmask text to the end of `collected`, and check it (8.1). False if it is not UTF-8."""
        cdef uint8_t beginning[16]
        cdef Py_ssize_t pos = 0, n_block
        cdef uint8_t* place
        cdef bint checked
        if self.collected.object == NULL and not self.in_parts:
            # Look before anything is allocated: most text that is not ASCII shows it early.
            self.begin_text(not self.text_as_bytes and wsfast_mask_to_ascii(
                beginning, data, min(size, <Py_ssize_t>sizeof(beginning)), masking_key))
        self.reserve(size, rest)
        while pos < size:
            n_block = min(size - pos, BLOCK_SIZE)
            place = wsfast_collected_end(&self.collected)
            checked = wsfast_mask_to_ascii(place, data + pos, n_block, wsfast_rotate_key(masking_key, pos))
            self.collected.size += n_block
            pos += n_block
            if self.collected.is_str:
                if checked:
                    continue
                place = self.leave_ascii(n_block)
            if checked and not self.utf8.n_due:
                self.measure.n_chars += n_block
            elif not wsfast_utf8_feed_by(text_kernels, &self.utf8, place, n_block, &self.measure):
                return False
        return True

    cdef uint8_t* leave_ascii(self, Py_ssize_t n_block) except NULL:
        """Go on in a bytes, as the last `n_block` bytes are not ASCII. Returns their place in it."""
        # If the str was received in place, `room` or take_received() keeps it until it has been read.
        wsfast_collected_leave_ascii(&self.collected)
        self.measure.n_chars = self.n_ascii = self.collected.size - n_block
        return wsfast_collected_end(&self.collected) - n_block

    cdef object end_text(self):
        """The message of a text that was collected and checked."""
        cdef PyObject* text
        if self.text_as_bytes or self.collected.is_str:
            return self.take_collected()
        if self.collected.object == NULL:
            return ""
        text = wsfast_measured_to_str(
            text_kernels, wsfast_collected_end(&self.collected) - self.collected.size, self.collected.size,
            self.n_ascii, &self.measure)
        self.drop()
        return owned(text)

    # --- compressed messages (RFC 7692) ---

    cdef object inflate_piece(self, const uint8_t* payload, Py_ssize_t size):
        """Inflate and collect a piece of a message. Returns as collect_piece()."""
        cdef bytes data, inflated, last = None
        cdef object pieces
        cdef PyObject* new
        cdef PyObject* fault
        cdef Py_ssize_t pos = 0, n_block
        cdef bint fin
        while True:
            n_block = min(size - pos, DEFLATED_BLOCK_SIZE)
            data = PyBytes_FromStringAndSize(NULL, n_block)
            self.reader.masking_key = wsfast_mask(
                <uint8_t*>PyBytes_AS_STRING(data), payload + pos, n_block, self.reader.masking_key)
            pos += n_block
            fin = pos == size and self.reader.n_missing == 0 and self.reader.header.first & 0x80
            if not n_block and not fin:
                break
            fault = NULL
            new = wsfast_start_inflating(self.inflate, data, fin, faults.PeerFault, &fault)
            pieces = None if new == NULL else owned(new)
            while pieces is not None:
                new = wsfast_next_inflated(pieces, faults.PeerFault, &fault)
                if new == NULL:
                    break
                inflated = checked_piece(owned(new))
                # The first piece is kept back: if it is the whole message, it need not be collected.
                if last is not None and not self.collect_inflated(last):
                    return None
                last = None
                if <uint64_t>len(inflated) > (
                    self.reader.rules.max_message_size - self.collected.size - self.parts_size
                ):
                    self.fail(faults.inflated_too_big(self.max_message_size))  # 10.4
                    return None
                if self.collected.object == NULL:
                    last = inflated
                elif not self.collect_inflated(inflated):
                    return None
            if fault != NULL:
                failure = owned(fault).failure
                # The bytes before the fault are judged first.
                if last is None or self.collect_inflated(last):
                    self.fail(failure)
                return None
            if pos == size:
                break
        if last is not None:
            if fin and self.collected.object == NULL and not self.in_parts:
                return self.end_inflated(last)
            if not self.collect_inflated(last):
                return None
        return None if self.reader.n_missing else self.end_frame()

    cdef object end_inflated(self, bytes message):
        """The message that came out of the inflater in one piece, or None if it fails."""
        cdef bint is_text = self.reader.rules.message == WSFAST_TEXT_MESSAGE
        wsfast_end_frame(&self.reader)
        if self.streaming:
            self.end_stream()
        self.fed_size += PyBytes_GET_SIZE(message)
        if not is_text:
            return message
        cdef const uint8_t* text = <const uint8_t*>PyBytes_AS_STRING(message)
        if not self.text_as_bytes:
            result = text_of(text, PyBytes_GET_SIZE(message), 0, &self.expects_ascii)
        else:
            result = message if utf8_valid_memory(text, PyBytes_GET_SIZE(message)) else None
        if result is None:
            self.fail(faults.TEXT_NOT_UTF8)  # 8.1
        return result

    cdef bint collect_inflated(self, bytes data) except -1:
        """Collect inflated bytes. False if the message fails."""
        cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef uint64_t rest = self.reader.rules.max_message_size - self.collected.size - size
        if self.reader.rules.message != WSFAST_TEXT_MESSAGE:
            self.reserve(size, rest)
            memcpy(wsfast_collected_end(&self.collected), start, size)
            self.collected.size += size
        elif not self.collect_text(start, size, 0, rest):
            self.fail(faults.TEXT_NOT_UTF8)  # 8.1
            return False
        return True


@cython.final
cdef class FrameDecoder(_Decoder):
    """FrameDecoder(role, *, max_frame_size=1_048_576, max_fragments=None, partial=False, headers=False, allowed_rsv=0)
--

Bytes in, frames out (RFC 6455 5). ``native.pyi`` says what each argument means."""

    cdef bint partial

    def __cinit__(self, role, *, max_frame_size=1_048_576, max_fragments=None, partial=False, headers=False, allowed_rsv=0):
        self.set_role(role)
        self.reader.rules.max_message_size = UINT64_MAX
        self.reader.rules.max_frame_size = limit_of(max_frame_size, "max_frame_size")
        self.reader.rules.max_fragments = limit_of(max_fragments, "max_fragments")
        if not isinstance(allowed_rsv, int) or isinstance(allowed_rsv, bool):
            raise TypeError(mistakes.not_an_int("allowed_rsv", allowed_rsv))
        if not 0 <= allowed_rsv <= 7:
            raise ValueError(mistakes.rsv_out_of_range(allowed_rsv))
        self.reader.rules.allowed_rsv = <uint8_t>(<int>allowed_rsv << 4)
        self.partial = bool(partial)
        self.headers = bool(headers)

    @property
    def unfinished_header(self):
        """The bytes received of a header that is not complete."""
        return PyBytes_FromStringAndSize(<char*>self.reader.held, 0 if self.finished else self.reader.n_held)

    @property
    def missing_size(self):
        """Bytes of the payload of an unfinished frame that have not come yet."""
        return self.reader.n_missing if self.reader.in_frame and not self.finished else 0

    cdef int take_payload(self, const uint8_t* payload, Py_ssize_t size, list events) except -1:
        cdef uint64_t offset = 0
        if self.partial:
            offset = self.reader.header.payload_length - self.reader.n_missing - size
        if size:
            self.collect(payload, size, self.reader.n_missing)
        if self.reader.n_missing == 0:
            wsfast_end_frame(&self.reader)
        elif not self.partial:
            return 0
        events.append(self.frame(self.take_collected(), offset, not self.reader.in_frame))
        return 0

    cdef int take_control(self, int opcode, bytes payload, list events) except -1:
        if opcode != WSFAST_CLOSE or self.judge_close(payload) is not None or self.headers:
            events.append(self.frame(payload, 0, True))
        return 0

    cdef object frame(self, bytes payload, uint64_t offset, bint finished):
        cdef uint8_t first = self.reader.header.first
        return Frame(
            OPCODES[first & 0x0F], payload, first & 0x80 != 0, first & 0x40 != 0, first & 0x20 != 0, first & 0x10 != 0,
            offset, finished)

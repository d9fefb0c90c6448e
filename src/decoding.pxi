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
    cdef int small_size             # payload bytes of a frame that may go the shorter way
    cdef object inflate             # of compressed messages (RFC 7692); None: there are none
    cdef wsfast_utf8 utf8           # of the text message that is being collected, unless all of it is ASCII
    cdef wsfast_measure measure     # the same
    cdef Py_ssize_t n_ascii         # bytes at its beginning that are ASCII
    cdef uint8_t expects_ascii      # the last text was; a guess for the next one

    def __cinit__(
        self, role, *, max_message_size=1_048_576, max_frame_size=None, max_fragments=131_072, max_feed_events=None,
        max_feed_size=None, text="str", inflate=None
    ):
        self.set_role(role)
        self.rules.max_message_size = limit_of(max_message_size, "max_message_size")
        self.rules.max_frame_size = limit_of(max_frame_size, "max_frame_size")
        self.rules.max_fragments = limit_of(max_fragments, "max_fragments")
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
        self.small_size = -1 if self.rules.max_fragments == 0 else <int>min(
            <uint64_t>WSFAST_MAX_CONTROL_SIZE, self.rules.max_message_size, self.rules.max_frame_size)
        self.expects_ascii = 1
        if inflate is not None:
            if not callable(inflate):
                raise TypeError(mistakes.not_a_function("inflate", inflate))
            self.inflate = inflate
            self.rules.inflates = 1
            self.rules.allowed_rsv = WSFAST_RSV1
            self.rules.max_deflated_size = max_deflated_size(self.rules.max_message_size)

    @property
    def text(self):
        """``"str"`` or ``"bytes"``: what a text message is delivered as."""
        return "bytes" if self.text_as_bytes else "str"

    @property
    def has_control(self):
        """True if the last ``feed`` met a Ping, a Pong, a Close or a failure, or bytes wait: else it was data alone."""
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
            self.finished or not self.in_frame or self.header.first & 0x08 or self.rules.compressed
            or self.n_missing < <uint64_t>LARGE_SIZE
        ):
            return None
        if self.collected_room() - self.n_collected < LARGE_SIZE:
            if self.collected == NULL:
                self.begin_text(self.rules.message == WSFAST_TEXT_MESSAGE and not self.text_as_bytes)
            # As much again as was received: memory follows that, and not what a header declares.
            size = max(LARGE_SIZE, self.n_collected)
            if <uint64_t>size > self.n_missing:
                size = self.n_missing
            self.resize(self.n_collected + size, self.n_collected)
        self.room = _Room()
        Py_INCREF(<object>self.collected)
        self.room.owner = self.collected
        self.room.start = <char*>self.collected_end()
        self.n_offered = self.room.size = <Py_ssize_t>min(
            <uint64_t>(self.collected_room() - self.n_collected), self.n_missing)
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
            if self.room is None:
                keep = <object>self.collected  # it has moved; and leave_ascii() must not free it while it is read
            message = self.piece_of_message(self.collected_end(), size)
            if message is not None:
                events.append(message)
        elif self.n_collected == 0:
            self.drop()
        return 0

    cdef Py_ssize_t take_small_messages(self, const uint8_t* data, Py_ssize_t size, list events) except -1:
        # Messages of one small frame that is all here and breaks no rule of headers: most of what chats and feeds send.
        # Anything else is judged by start_frame(). 64 of 32 bytes take 0.85 of the time (ratios.py).
        cdef Py_ssize_t pos = 0, n_header = 6 if self.rules.masked else 2, n_payload
        cdef const uint8_t* payload
        cdef uint32_t masking_key
        cdef object message
        if self.rules.message != WSFAST_NO_MESSAGE:
            return 0
        while size - pos >= n_header and (data[pos] == 0x80 | WSFAST_TEXT or data[pos] == 0x80 | WSFAST_BINARY):
            n_payload = data[pos + 1] ^ self.rules.masked  # above 127 if it is not masked as it has to be (5.1)
            if n_payload > self.small_size or n_payload > size - pos - n_header:
                break
            payload = data + pos + n_header
            masking_key = wsfast_load32(payload - 4) if self.rules.masked else 0
            message = self.whole_message(data[pos] == 0x80 | WSFAST_TEXT, payload, n_payload, masking_key)
            pos += n_header + n_payload
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
        if self.rules.compressed:
            message = self.piece_of_compressed_message(payload, size)
        elif (
            self.header.first & 0x80 and <uint64_t>size == self.header.payload_length
            and self.rules.n_fragments == 1
        ):
            message = self.whole_message(
                self.rules.message == WSFAST_TEXT_MESSAGE, payload, size, self.masking_key)
            self.fed_size += size
            self.in_frame = False
            self.end_message()
            if message is None:
                self.fail(faults.TEXT_NOT_UTF8)  # 8.1
        else:
            message = self.piece_of_message(payload, size)
        if message is not None:
            events.append(message)
        return 0

    cdef int end_control(self, int opcode, bytes payload, list events) except -1:
        cdef object event
        if opcode == WSFAST_PING:
            event = Ping(payload)
        elif opcode == WSFAST_PONG:
            event = Pong(payload)
        else:
            event = self.end_close(payload)
        if event is not None:
            events.append(event)
        return 0

    cdef inline void end_message(self) noexcept:
        self.rules.message = WSFAST_NO_MESSAGE
        self.rules.message_size = 0
        self.rules.n_fragments = 0
        self.rules.compressed = 0

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

    cdef object piece_of_message(self, const uint8_t* data, Py_ssize_t size):
        """Collect a piece of a message. Returns the message if that was the last, None if not or if it fails.

        `data` may be the place where it belongs.
        """
        if size:
            if self.rules.message != WSFAST_TEXT_MESSAGE:
                self.collect(data, size, self.rest_after(size))
            elif not self.collect_text(data, size, self.masking_key, self.rest_after(size)):
                self.fail(faults.TEXT_NOT_UTF8)  # 8.1, as soon as it can be known
                return None
            else:
                self.masking_key = wsfast_rotate_key(self.masking_key, size)
            self.n_missing -= size
        if self.n_missing:
            return None
        return self.end_frame()

    cdef uint64_t rest_after(self, Py_ssize_t size) noexcept:
        """Bytes of the message that can come at most, after the next `size` of this frame."""
        if self.header.first & 0x80:
            return self.n_missing - size
        return self.rules.max_message_size - self.n_collected - size

    cdef inline void begin_text(self, bint collects_str) noexcept:
        self.collects_str = collects_str
        self.utf8 = wsfast_utf8(n_due=0)
        self.measure = wsfast_measure(n_chars=0, max_byte=0)
        self.n_ascii = 0

    cdef object end_frame(self):
        """End a frame that was collected. Returns the message if that was its last, None if not or if it fails."""
        self.in_frame = False
        if not self.header.first & 0x80:
            self.rules.message_size += self.header.payload_length
            return None
        cdef bint is_text = self.rules.message == WSFAST_TEXT_MESSAGE
        self.fed_size += self.n_collected
        self.end_message()
        if not is_text:
            return self.take_collected()
        if self.utf8.n_due:
            self.fail(faults.TEXT_NOT_UTF8)  # it ends inside a character
            return None
        return self.end_text()

    cdef bint collect_text(self, const uint8_t* data, Py_ssize_t size, uint32_t masking_key, uint64_t rest) except -1:
        """Unmask text to the end of what was collected, and check it (8.1). False when it is not UTF-8."""
        cdef uint8_t beginning[16]
        cdef Py_ssize_t pos = 0, n_block
        cdef uint8_t* place
        cdef bint checked
        if self.collected == NULL:
            # A look before anything is allocated: most text that is not ASCII shows it early.
            self.begin_text(not self.text_as_bytes and wsfast_mask_to_ascii(
                beginning, data, min(size, <Py_ssize_t>sizeof(beginning)), masking_key))
        self.make_room(size, rest)
        while pos < size:
            n_block = min(size - pos, BLOCK_SIZE)
            place = self.collected_end()
            checked = wsfast_mask_to_ascii(place, data + pos, n_block, wsfast_rotate_key(masking_key, pos))
            self.n_collected += n_block
            pos += n_block
            if self.collects_str:
                if checked:
                    continue
                place = self.leave_ascii(n_block)
            if checked and not self.utf8.n_due:
                self.measure.n_chars += n_block
            elif not wsfast_utf8_feed_by(text_kernels, &self.utf8, place, n_block, &self.measure):
                return False
        return True

    cdef uint8_t* leave_ascii(self, Py_ssize_t n_block) except NULL:
        """Go on in a bytes object, as the last `n_block` bytes are not ASCII. Returns where they are."""
        cdef PyObject* text = self.collected
        cdef PyObject* moved = new_bytes(NULL, str_length(text))
        memcpy(bytes_data(moved), str_data(text), self.n_collected)
        self.collected = moved
        self.collects_str = False
        Py_XDECREF(text)    # if it was received in place, `room` or take_received() keeps it until it has been read
        self.measure.n_chars = self.n_ascii = self.n_collected - n_block
        return self.collected_end() - n_block

    cdef object end_text(self):
        """The message of a text that was collected and checked."""
        cdef PyObject* text
        if self.text_as_bytes or self.collects_str:
            return self.take_collected()
        if self.collected == NULL:
            return ""
        text = wsfast_measured_to_str(
            text_kernels, <const uint8_t*>bytes_data(self.collected), self.n_collected, self.n_ascii, &self.measure)
        self.drop()
        return owned(text)

    # --- compressed messages (RFC 7692) ---

    cdef object piece_of_compressed_message(self, const uint8_t* payload, Py_ssize_t size):
        """Inflate and collect a piece of a message. Returns as piece_of_message()."""
        cdef bytes data, inflated, last = None
        cdef object pieces
        cdef PyObject* new
        cdef PyObject* fault
        cdef Py_ssize_t pos = 0, n_block
        cdef bint fin
        while True:
            n_block = min(size - pos, DEFLATED_BLOCK_SIZE)
            data = PyBytes_FromStringAndSize(NULL, n_block)
            self.masking_key = wsfast_mask(
                <uint8_t*>PyBytes_AS_STRING(data), payload + pos, n_block, self.masking_key)
            pos += n_block
            self.n_missing -= n_block
            fin = self.n_missing == 0 and self.header.first & 0x80
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
                if <uint64_t>len(inflated) > self.rules.max_message_size - self.n_collected:
                    self.fail(faults.inflated_too_big(self.max_message_size))  # 10.4
                    return None
                if self.collected == NULL:
                    last = inflated
                elif not self.collect_inflated(inflated):
                    return None
            if fault != NULL:
                failure = owned(fault).failure
                # The bytes before it are judged before it.
                if last is None or self.collect_inflated(last):
                    self.fail(failure)
                return None
            if pos == size:
                break
        if last is not None:
            if fin and self.collected == NULL:
                return self.end_inflated(last)
            if not self.collect_inflated(last):
                return None
        return None if self.n_missing else self.end_frame()

    cdef object end_inflated(self, bytes message):
        """The message that came out of the inflater in one piece, or None if it fails."""
        cdef bint is_text = self.rules.message == WSFAST_TEXT_MESSAGE
        self.in_frame = False
        self.fed_size += PyBytes_GET_SIZE(message)
        self.end_message()
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
        """Collect what was inflated. False if it fails."""
        cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef uint64_t rest = self.rules.max_message_size - self.n_collected - size
        if self.rules.message != WSFAST_TEXT_MESSAGE:
            self.make_room(size, rest)
            memcpy(self.collected_end(), start, size)
            self.n_collected += size
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
        self.rules.max_message_size = UINT64_MAX
        self.rules.max_frame_size = limit_of(max_frame_size, "max_frame_size")
        self.rules.max_fragments = limit_of(max_fragments, "max_fragments")
        if not isinstance(allowed_rsv, int) or isinstance(allowed_rsv, bool):
            raise TypeError(mistakes.not_an_int("allowed_rsv", allowed_rsv))
        if not 0 <= allowed_rsv <= 7:
            raise ValueError(mistakes.rsv_out_of_range(allowed_rsv))
        self.rules.allowed_rsv = <uint8_t>(<int>allowed_rsv << 4)
        self.partial = bool(partial)
        self.headers = bool(headers)

    @property
    def unfinished_header(self):
        """The bytes received of a header that is not complete."""
        return PyBytes_FromStringAndSize(<char*>self.held, 0 if self.finished else self.n_held)

    @property
    def missing_size(self):
        """Bytes of the payload of an unfinished frame that have not come yet."""
        return self.n_missing if self.in_frame and not self.finished else 0

    cdef int take_payload(self, const uint8_t* payload, Py_ssize_t size, list events) except -1:
        cdef uint64_t offset = self.header.payload_length - self.n_missing if self.partial else 0
        self.n_missing -= size
        if size:
            self.collect(payload, size, self.n_missing)
        if self.n_missing == 0:
            self.in_frame = False
            if self.header.first & 0x80:
                self.rules.message = WSFAST_NO_MESSAGE
                self.rules.n_fragments = 0
        elif not self.partial:
            return 0
        events.append(self.frame(self.take_collected(), offset, not self.in_frame))
        return 0

    cdef int end_control(self, int opcode, bytes payload, list events) except -1:
        if opcode != WSFAST_CLOSE or self.end_close(payload) is not None or self.headers:
            events.append(self.frame(payload, 0, True))
        return 0

    cdef object frame(self, bytes payload, uint64_t offset, bint finished):
        cdef uint8_t first = self.header.first
        return Frame(
            OPCODES[first & 0x0F], payload, first & 0x80 != 0, first & 0x40 != 0, first & 0x20 != 0, first & 0x10 != 0,
            offset, finished)

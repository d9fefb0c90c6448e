# ``_Decoder``: a chunk is walked once, from header to header (RFC 6455 5.2, 5.4, 5.5).
#
# The two decoders are its subclasses, and differ in the use of a payload. A call is guarded against calls inside it:
# nothing that Python code may do in ``inflate`` or in a finalizer corrupts memory.
#
# A step has one name: here, in kernels/frame_header.h (``judge_start``, ``judge_length``) and, after an underscore, in
# wsfast/fallback/parsing.py:
#
#     parse                 goes through a chunk, from header to header
#     judge_start           checks the first two bytes of a header (5.2, 5.4, 5.5)
#     judge_length          checks the whole payload length (5.2, 10.4)
#     take_header           tells a header that was judged
#     take_payload          takes the next bytes of a data frame (5.4)
#     take_control          takes a control frame that is whole (5.5)
#     take_whole_messages   a shorter way through messages of one frame
#     judge_close           checks the body of a Close frame (5.5.1, 7.4)
#     collect               adds to the unfinished message; text is checked (8.1)
#     inflate_piece         inflates a part of a compressed message (RFC 7692 6)
#     drop, fail            forget the unfinished message; fail the connection (7.1.7)
#
# So has a field: ``held`` (received, not used yet), ``n_missing`` (payload bytes still to come), ``message``,
# ``n_fragments``, ``message_size``, ``compressed``, ``collected``, ``control_seen``, ``fed_size``. Most are in ``reader``.
# The fallback's ``_held`` has the bytes of ``reader.control`` and ``waiting`` too.


cdef uint64_t LEAST_FRAGMENTS_OF_A_FEED = 1024  # that complete nothing; then a feed stops, unless it may have more events


cdef class _Decoder:
    """The parser under both decoders: headers, control frames, and the collecting of pieces."""

    cdef readonly object role
    cdef readonly object failure
    cdef uint8_t hindrance          # BUSY, WAITING, VIEW: feed() looks at it first
    cdef bint control_seen          # by the last feed(): a control frame, or a failure
    cdef bint headers               # each header is an event
    cdef bint bounded               # one feed completes `max_events` or `max_size` bytes; then the rest of a chunk waits
    cdef uint64_t max_events
    cdef uint64_t max_size
    cdef uint64_t n_fed_fragments   # that this feed has met, and that completed nothing
    cdef uint64_t fed_size          # bytes that this feed has completed, if that is bounded
    cdef bytes waiting              # that rest, or None; it is used from `waiting_pos` on
    cdef Py_ssize_t waiting_pos
    cdef bint finished              # a Close or a failure came: what follows is ignored (5.5.1, 7.1.7)
    cdef wsfast_reader reader       # of frames; it knows which frame and message we are inside of
    cdef wsfast_collected collected # of the unfinished frame or message
    cdef _Room room                 # the memory that get_buffer() gave away, until `collected` has to move
    cdef object view                # of it, until the next call
    cdef Py_ssize_t n_offered       # its size, in bytes

    def __dealloc__(self):
        wsfast_collected_drop(&self.collected)

    @cython.critical_section
    def feed(self, chunk):
        """Decode the next ``chunk``, of any size, and return what it completed, in order."""
        cdef Py_buffer source
        PyObject_GetBuffer(chunk, &source, PyBUF_SIMPLE)
        try:
            return self.decode(<const uint8_t*>source.buf, source.len)
        finally:
            PyBuffer_Release(&source)

    @cython.final
    cdef list decode(self, const uint8_t* data, Py_ssize_t size):
        """Decode the bytes there, up to the bound of a feed; keep the rest."""
        cdef list events = []
        cdef bytes waiting = None
        cdef size_t pos = 0, n_payload
        cdef const uint8_t* payload
        cdef wsfast_step step
        if self.hindrance:
            waiting = self.enter_hindered(&data, &size)
        self.hindrance = BUSY
        self.control_seen = False
        if self.bounded:
            self.fed_size = self.n_fed_fragments = 0
        while pos < <size_t>size and not self.finished:
            if not self.reader.in_frame:
                if self.bounded and self.is_full(events):
                    break
                if data[pos] & 0x80 and not self.reader.n_held and self.reader.rules.message == WSFAST_NO_MESSAGE:
                    pos += self.take_whole_messages(data + pos, size - pos, events)
                if pos == <size_t>size or self.bounded and self.is_full(events):
                    break
            step = wsfast_next(&self.reader, data, size, &pos, &payload, &n_payload)
            if self.headers and self.reader.verdict == WSFAST_COMPLETE:
                self.take_header(events)
            if step == WSFAST_DATA:
                self.take_payload(payload, n_payload, events)
            elif step == WSFAST_NEED_MORE:
                break
            elif step == WSFAST_CONTROL:
                self.control_seen = True
                self.fed_size += n_payload
                self.take_control(
                    self.reader.header.first & 0x0F, PyBytes_FromStringAndSize(<const char*>payload, n_payload), events)
            else:
                self.fail(fault_of(self.reader.verdict, &self.reader.rules, &self.reader.header))
        self.hindrance = 0
        if pos < <size_t>size and not self.finished:
            self.keep_rest(waiting, data + pos, size - pos)
        return events

    cdef bytes enter_hindered(self, const uint8_t** data, Py_ssize_t* size):
        """Begin a call with bytes that wait, or with a view to end. The bytes to decode are in what it returns, if any."""
        cdef bytes waiting
        self.enter()
        if self.view is not None:
            self.take_back()
        waiting, self.waiting = self.waiting, None
        if waiting is None:
            return None
        if size[0]:
            waiting = waiting[self.waiting_pos:] + PyBytes_FromStringAndSize(<const char*>data[0], size[0])
            self.waiting_pos = 0
        data[0] = <const uint8_t*>PyBytes_AS_STRING(waiting) + self.waiting_pos
        size[0] = PyBytes_GET_SIZE(waiting) - self.waiting_pos
        return waiting

    cdef int keep_rest(self, bytes waiting, const uint8_t* rest, Py_ssize_t size) except -1:
        """Keep the bytes that come after what one feed may complete; they may be in `waiting`."""
        if waiting is None:
            waiting = PyBytes_FromStringAndSize(<const char*>rest, size)
        self.waiting = waiting
        self.waiting_pos = PyBytes_GET_SIZE(waiting) - size
        self.hindrance = WAITING
        return 0

    @cython.final
    cdef bint is_full(self, list events) noexcept:
        """True when one feed has completed as much as it may."""
        return (
            <uint64_t>PyList_GET_SIZE(events) >= self.max_events or self.fed_size >= self.max_size
            or self.n_fed_fragments >= max(self.max_events, LEAST_FRAGMENTS_OF_A_FEED))

    @cython.final
    cdef int enter(self) except -1:
        """Begin a call. Its end takes BUSY back. An exception leaves it, as the rest of a chunk is lost then."""
        if self.hindrance & BUSY:
            raise RuntimeError(mistakes.DECODER_BUSY)
        self.hindrance |= BUSY
        return 0

    cdef int take_back(self) except -1:
        """End the view of get_buffer(); nothing in it is used."""
        self.close_view(0)
        if self.collected.size == 0:
            self.drop()
        return 0

    cdef int close_view(self, Py_ssize_t n_received) except -1:
        """Let nobody write to the view of get_buffer() any more; `n_received` bytes came into it."""
        view, self.view = self.view, None
        self.hindrance &= ~VIEW
        self.room.closed = True
        wsfast_release_view(view)
        if self.room.n_views:
            # Somebody has a part of the view and may go on writing: that memory is theirs from now on.
            self.resize(wsfast_collected_room(&self.collected), self.collected.size + n_received)
        return 0

    cdef Py_ssize_t take_whole_messages(self, const uint8_t* data, Py_ssize_t size, list events) except -1:
        """Take a shorter way through whole messages at `data`, if there is one. Returns the bytes used."""
        return 0

    cdef int take_payload(self, const uint8_t* payload, Py_ssize_t size, list events) except -1:
        """Take the next `size` bytes of a data frame, still masked. If none is missing then, end the frame."""
        raise NotImplementedError

    cdef int take_control(self, int opcode, bytes payload, list events) except -1:
        """Take a control frame that is complete."""
        raise NotImplementedError

    cdef int take_header(self, list events) except -1:
        """Take a header that was judged; its payload follows."""
        cdef uint8_t first = self.reader.header.first
        events.append(FrameHeader(
            OPCODES[first & 0x0F], self.reader.header.payload_length, first & 0x80 != 0, first & 0x40 != 0,
            first & 0x20 != 0, first & 0x10 != 0))
        return 0

    cdef int set_role(self, object role) except -1:
        self.role = Role(role)
        self.reader.rules.masked = 0x80 if self.role is Role.SERVER else 0
        return 0

    cdef int fail(self, object failure) except -1:
        """Fail the connection (7.1.7): drop the unfinished message, and ignore what follows."""
        self.failure = failure
        self.control_seen = True
        self.finished = True
        self.drop()
        return 0

    cdef void drop(self) noexcept:
        wsfast_collected_drop(&self.collected)
        self.room = None

    cdef int reserve(self, Py_ssize_t size, uint64_t rest) except -1:
        """Make room to collect `size` bytes, after which at most `rest` bytes can come."""
        if size > wsfast_collected_room(&self.collected) - self.collected.size:
            self.room = None  # a view of it, if there is one, keeps the memory
            wsfast_collected_reserve(&self.collected, size, rest)
        return 0

    cdef int resize(self, Py_ssize_t size, Py_ssize_t n_used) except -1:
        self.room = None
        return wsfast_collected_resize(&self.collected, size, n_used)

    cdef int collect(self, const uint8_t* data, Py_ssize_t size, uint64_t rest) except -1:
        """Unmask the next `size` bytes of the payload to the end of `collected`; `rest` as in reserve()."""
        self.reserve(size, rest)
        self.reader.masking_key = wsfast_mask(
            wsfast_collected_end(&self.collected), data, size, self.reader.masking_key)
        self.collected.size += size
        return 0

    cdef object take_collected(self):
        """The object in which was collected; it is the caller's now."""
        self.room = None
        return owned(wsfast_collected_take(&self.collected))

    cdef object judge_close(self, bytes payload):
        """The Close event, or None if its body is a fault. Either way, all that follows is ignored."""
        event = parse_close(payload)
        if type(event) is Failure:
            self.fail(event)
            return None
        self.finished = True
        self.drop()
        return event

# ``_Decoder``: a chunk is walked once, from header to header (RFC 6455 5.2, 5.4, 5.5).
#
# The two decoders are its subclasses, and differ in what they make of a payload. A call is guarded against calls inside
# it: nothing that Python code may do in ``inflate`` or in a finalizer corrupts memory.

cdef class _Decoder:
    """The parser under both decoders: headers, control frames, and collecting what came in pieces."""

    cdef readonly object role
    cdef readonly object failure
    cdef uint8_t hindrance          # BUSY, WAITING, VIEW: what feed() has to look at first
    cdef bint control_seen          # by the last feed(): a control frame, or a failure
    cdef bint headers               # each header is an event
    cdef bint bounded               # one feed completes `max_events` or `max_size` bytes; then the rest of a chunk waits
    cdef uint64_t max_events
    cdef uint64_t max_size
    cdef uint64_t fed_size          # bytes that this feed has completed, if that is bounded
    cdef bytes waiting              # that rest, or None; it is used from `waiting_pos` on
    cdef Py_ssize_t waiting_pos
    cdef bint finished              # a Close or a failure came: what follows is ignored (5.5.1, 7.1.7)
    cdef bint in_frame              # the header is read, the payload is not complete
    cdef uint8_t n_held             # bytes of an unfinished header, in `held`
    cdef uint8_t control_size
    cdef uint8_t held[WSFAST_MAX_HEADER_SIZE]
    cdef uint8_t control[WSFAST_MAX_CONTROL_SIZE]
    cdef wsfast_rules rules
    cdef wsfast_header header       # of the frame we are in
    cdef uint32_t masking_key       # rotated to the next byte of its payload
    cdef uint64_t n_missing         # payload bytes of the frame that have not come yet
    cdef PyObject* collected        # bytes, or str, larger than what is in it; NULL while there is nothing
    cdef bint collects_str          # ... it is a str, all ASCII
    cdef Py_ssize_t n_collected
    cdef _Room room                 # the memory that get_buffer() gave away, until `collected` has to move
    cdef object view                # of it, until the next call
    cdef Py_ssize_t n_offered       # its size, in bytes

    def __dealloc__(self):
        Py_XDECREF(self.collected)

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
        cdef list events
        cdef Py_ssize_t n_used
        if self.hindrance:
            return self.decode_hindered(data, size)
        events = []
        self.hindrance = BUSY
        n_used = self.walk(data, size, events)
        self.hindrance = 0
        if n_used < size:
            self.keep_rest(data + n_used, size - n_used)
        return events

    cdef int keep_rest(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Keep the bytes that come after what one feed may complete."""
        if not self.finished:
            self.waiting = PyBytes_FromStringAndSize(<const char*>data, size)
            self.waiting_pos = 0
            self.hindrance = WAITING
        return 0

    cdef list decode_hindered(self, const uint8_t* data, Py_ssize_t size):
        cdef list events = []
        cdef bytes waiting
        self.enter()
        if self.view is not None:
            self.take_back()
        if self.waiting is None:
            self.hindrance = 0
            return self.decode(data, size)
        waiting, self.waiting = self.waiting, None
        if size:
            waiting = waiting[self.waiting_pos:] + PyBytes_FromStringAndSize(<const char*>data, size)
            self.waiting_pos = 0
        data = <const uint8_t*>PyBytes_AS_STRING(waiting) + self.waiting_pos
        size = PyBytes_GET_SIZE(waiting) - self.waiting_pos
        n_used = self.walk(data, size, events)
        self.hindrance = 0
        if n_used < size and not self.finished:
            self.waiting = waiting
            self.waiting_pos += n_used
            self.hindrance = WAITING
        return events

    @cython.final
    cdef inline Py_ssize_t walk(self, const uint8_t* data, Py_ssize_t size, list events) except -1:
        """Decode the bytes there, up to the bound of a feed. Returns how many were used."""
        cdef Py_ssize_t pos = 0, n_payload
        self.control_seen = False
        self.fed_size = 0
        while not self.finished:
            if not self.in_frame:
                if self.bounded and self.is_full(events):
                    break
                if not self.n_held:
                    pos += self.take_small_messages(data + pos, size - pos, events)
                if pos == size or self.bounded and self.is_full(events):
                    break
                pos += self.start_frame(data + pos, size - pos)
                if not self.in_frame:
                    break
                if self.headers:
                    events.append(self.frame_header())
            n_payload = size - pos
            if self.n_missing <= <uint64_t>n_payload:
                n_payload = <Py_ssize_t>self.n_missing
            elif n_payload == 0:
                break
            if self.header.first & 0x08:
                self.take_control(data + pos, n_payload, events)
            else:
                self.take_payload(data + pos, n_payload, events)
            pos += n_payload
        return pos

    @cython.final
    cdef bint is_full(self, list events) noexcept:
        """True when one feed has completed as much as it may."""
        return <uint64_t>PyList_GET_SIZE(events) >= self.max_events or self.fed_size >= self.max_size

    @cython.final
    cdef int enter(self) except -1:
        """Begin a call. Its end takes BUSY back. An exception leaves it, as the rest of a chunk is lost then."""
        if self.hindrance & BUSY:
            raise RuntimeError(mistakes.DECODER_BUSY)
        self.hindrance |= BUSY
        return 0

    cdef int take_back(self) except -1:
        """End the view of get_buffer(), of which nothing is used."""
        self.close_view(0)
        if self.n_collected == 0:
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
            self.resize(self.collected_room(), self.n_collected + n_received)
        return 0

    cdef Py_ssize_t take_small_messages(self, const uint8_t* data, Py_ssize_t size, list events) except -1:
        """Take a shorter way through what begins with a frame, if there is one. Returns the bytes used."""
        return 0

    cdef int take_payload(self, const uint8_t* payload, Py_ssize_t size, list events) except -1:
        """Take what is there of a data frame's payload: all that is missing, or the rest of the chunk."""
        raise NotImplementedError

    cdef int end_control(self, int opcode, bytes payload, list events) except -1:
        """Make the event of a control frame that is complete."""
        raise NotImplementedError

    cdef object frame_header(self):
        cdef uint8_t first = self.header.first
        return FrameHeader(
            OPCODES[first & 0x0F], self.header.payload_length, first & 0x80 != 0, first & 0x40 != 0, first & 0x20 != 0,
            first & 0x10 != 0)

    cdef int set_role(self, object role) except -1:
        self.role = Role(role)
        self.rules.masked = 0x80 if self.role is Role.SERVER else 0
        return 0

    cdef int fail(self, object failure) except -1:
        """Fail the connection (7.1.7): what was incomplete is dropped, what comes is ignored."""
        self.failure = failure
        self.control_seen = True
        self.finished = True
        self.drop()
        return 0

    cdef void drop(self) noexcept:
        Py_XDECREF(self.collected)
        self.forget()

    cdef inline void forget(self) noexcept:
        """Begin to collect anew; what was collected belongs to somebody else now."""
        self.collected = NULL
        self.collects_str = False
        self.n_collected = 0
        self.room = None

    cdef Py_ssize_t start_frame(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Read a header at the start of `data`. Returns the bytes used; `in_frame` tells if it is complete."""
        cdef wsfast_verdict verdict
        cdef Py_ssize_t n_taken = 0, n_used
        if self.n_held:
            n_taken = min(<Py_ssize_t>(WSFAST_MAX_HEADER_SIZE - self.n_held), size)
            memcpy(self.held + self.n_held, data, n_taken)
            verdict = wsfast_read_header(&self.rules, self.held, self.n_held + n_taken, &self.header)
        else:
            verdict = wsfast_read_header(&self.rules, data, size, &self.header)
        if verdict == WSFAST_COMPLETE:
            n_used = self.header.size - self.n_held
            self.n_held = 0
            self.in_frame = True
            self.n_missing = self.header.payload_length
            self.masking_key = self.header.masking_key
            if not self.header.first & 0x08:
                self.rules.n_fragments += 1
                if self.header.first & 0x0F != WSFAST_CONTINUATION:
                    self.rules.message = <wsfast_message>(self.header.first & 0x0F)
                    self.rules.compressed = self.rules.inflates and self.header.first & WSFAST_RSV1  # RFC 7692 6
            return n_used
        if verdict == WSFAST_INCOMPLETE:
            # Fewer than 14 bytes are there in all, so `held` has room for each of them.
            if not self.n_held:
                memcpy(self.held, data, size)
                n_taken = size
            self.n_held += n_taken
            return size
        self.fail(fault_of(verdict, &self.rules, &self.header))
        return size

    cdef inline uint8_t* collected_end(self) noexcept:
        """Where the next bytes belong."""
        cdef void* start = str_data(self.collected) if self.collects_str else <void*>bytes_data(self.collected)
        return <uint8_t*>start + self.n_collected

    cdef inline Py_ssize_t collected_room(self) noexcept:
        """Bytes that have room in `collected`, those that are in it included."""
        if self.collected == NULL:
            return 0
        return str_length(self.collected) if self.collects_str else bytes_size(self.collected)

    cdef int make_room(self, Py_ssize_t size, uint64_t rest) except -1:
        """Make room for `size` bytes, of which there are some; no more than `rest` bytes can come behind them."""
        cdef Py_ssize_t needed = self.n_collected + size
        if needed > self.collected_room():
            # As much again as there is, so that many small pieces are not copied each time.
            self.resize(needed + <Py_ssize_t>min(rest, <uint64_t>needed), self.n_collected)
        return 0

    cdef int resize(self, Py_ssize_t size, Py_ssize_t n_used) except -1:
        cdef PyObject* moved
        cdef const char* old
        cdef int status
        self.room = None  # views of it, if there are any, keep what they need
        if self.collected == NULL or n_references(self.collected) > 1:
            moved = new_str(size, 0x7F) if self.collects_str else new_bytes(NULL, size)
            if self.collected != NULL:
                # Somebody still holds a view of it, and may have it.
                old = <const char*>(str_data(self.collected) if self.collects_str else bytes_data(self.collected))
                memcpy(str_data(moved) if self.collects_str else bytes_data(moved), old, n_used)
                Py_XDECREF(self.collected)
            self.collected = moved
            return 0
        if self.collects_str:
            status = PyUnicode_Resize(&self.collected, size)
        else:
            status = _PyBytes_Resize(&self.collected, size)
        return status

    cdef int collect(self, const uint8_t* data, Py_ssize_t size, uint64_t rest) except -1:
        """Unmask `size` bytes of the frame's payload to the end of what was collected; `rest` as in make_room()."""
        self.make_room(size, rest)
        self.masking_key = wsfast_mask(self.collected_end(), data, size, self.masking_key)
        self.n_collected += size
        return 0

    cdef object take_collected(self):
        """What was collected, as an object that is the caller's; ours is gone."""
        if self.collected == NULL:
            return b""
        if self.collected_room() != self.n_collected:
            self.resize(self.n_collected, self.n_collected)
        whole = <object>self.collected
        self.drop()
        return whole

    cdef int take_control(self, const uint8_t* data, Py_ssize_t size, list events) except -1:
        cdef bytes payload
        self.masking_key = wsfast_mask(self.control + self.control_size, data, size, self.masking_key)
        self.control_size += size
        self.n_missing -= size
        if self.n_missing == 0:
            self.in_frame = False
            payload = PyBytes_FromStringAndSize(<char*>self.control, self.control_size)
            self.fed_size += self.control_size
            self.control_size = 0
            self.control_seen = True
            self.end_control(self.header.first & 0x0F, payload, events)
        return 0

    cdef object end_close(self, bytes payload):
        """The Close event, or None when its body is a fault; in either case what follows is ignored."""
        event = parse_close(payload)
        if type(event) is Failure:
            self.fail(event)
            return None
        self.finished = True
        self.drop()
        return event

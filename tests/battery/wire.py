"""HTTP/1.1 read strictly, written from RFC 9112's grammar: what reached the origin and what reached the client are judged by it.

It is no copy of any proxy's parser, and forgives nothing: what it cannot read in exactly one way is `Malformed`.
"""

import re

REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2}) ([\t \x21-\x7e\x80-\xff]*)")
FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*")
# RFC 9110 §5.5 lets control bytes be kept; those that end something are none of these.
LOOSE_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x01-\x08\x09\x0b\x0c\x0e-\xff]*?)[ \t]*")
CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:[ \t]*;[\t \x21-\x7e\x80-\xff]*)?)")
# LF without CR, CR without LF, NUL.
AMBIGUOUS = re.compile(rb"(?<!\r)\n|\r[^\n]|\0")
HEAD_MAX = 4 << 20


class Malformed(Exception):
    """Bytes that are no HTTP/1.1, or that two parsers could read in two ways."""


class Message:
    """A request or a response as far as it came."""

    def __init__(self, head, fields):
        self.head = head
        self.fields = fields
        self.body = b""
        self.chunked = False
        self.trailers = []
        self.extensions = 0
        # Whether its end was seen, as its framing tells it.
        self.complete = False

    def all(self, name):
        """The values of all lines of a field."""
        name = name.lower().encode()
        return [value for key, value in self.fields if key.lower() == name]

    def get(self, name):
        """The value of a field's only line; None without one, and where there are several."""
        values = self.all(name)
        return values[0] if len(values) == 1 else None


class Request(Message):
    """What reached the origin."""

    def __init__(self, head, fields, method, target, version):
        super().__init__(head, fields)
        self.method, self.target, self.version = method, target, version
        self.controls = any(CONTROL.search(value) for _, value in fields)
        # What else arrived: bytes of this request behind which nothing could be read any more.
        self.fault = None

    def __repr__(self):
        state = "whole" if self.complete else f"cut ({self.fault})"
        return f"{self.method.decode()} {self.target.decode('latin-1')[:60]} with {len(self.body)} octets, {state}"


class Response(Message):
    """What reached the client."""

    def __init__(self, head, fields, status):
        super().__init__(head, fields)
        self.status = status
        self.interim = []
        self.ended_by_close = False

    def __repr__(self):
        return f"{self.status} with {len(self.body)} octets{'' if self.complete else ', cut'}"


def split_head(data):
    """The lines of a head and where it ends, or None while it may still become whole."""
    end = data.find(b"\r\n\r\n")
    seen = data if end < 0 else data[: end + 4]
    if found := AMBIGUOUS.search(seen):
        raise Malformed(f"{found[0]!r} in a head")
    if end < 0:
        if len(data) > HEAD_MAX:
            raise Malformed("a head without end")
        return None
    return bytes(data[:end]).split(b"\r\n"), end + 4


def read_fields(lines, pattern=FIELD_LINE):
    fields = []
    for line in lines:
        parts = pattern.fullmatch(line)
        if not parts:
            raise Malformed(f"no field line: {line[:80]!r}")
        fields.append((parts[1], parts[2]))
    return fields


def framing_of(message, what):
    """`("length", n)`, `("chunked", None)` or None, where the fields say it in exactly one way."""
    lengths, codings = message.all("content-length"), message.all("transfer-encoding")
    if lengths and codings:
        raise Malformed(f"{what} with Content-Length and Transfer-Encoding")
    if len(lengths) > 1 or len(codings) > 1:
        raise Malformed(f"{what} with two framing fields")
    if codings:
        if codings[0].lower() != b"chunked":
            raise Malformed(f"{what} coded as {codings[0]!r}")
        return "chunked", None
    if lengths:
        if not re.fullmatch(rb"0*[0-9]{1,18}", lengths[0]):
            raise Malformed(f"{what} of length {lengths[0]!r}")
        return "length", int(lengths[0])
    return None


class Chunks:
    """A chunked body that comes piece by piece."""

    def __init__(self, message):
        self.message = message
        self.left = 0
        self.at = "size"

    def feed(self, data):
        """Takes what it can off the front of `data`; True at the end."""
        while True:
            if self.at == "data":
                piece = data[: self.left]
                self.message.body += piece
                del data[: len(piece)]
                self.left -= len(piece)
                if self.left:
                    return False
                self.at = "data-end"
            if self.at == "data-end":
                if not b"\r\n".startswith(data[:2]):
                    raise Malformed("a chunk that CRLF does not end")
                if len(data) < 2:
                    return False
                del data[:2]
                self.at = "size"
            end = data.find(b"\r\n")
            line = bytes(data[: end if end >= 0 else len(data)])
            if b"\n" in line or b"\r" in line[:-1] or (end >= 0 and b"\r" in line):
                raise Malformed("a bare CR or LF in chunked framing")
            if end < 0:
                return False
            del data[: end + 2]
            if self.at == "size":
                parts = CHUNK_LINE.fullmatch(line)
                if not parts:
                    raise Malformed(f"no chunk size: {line[:40]!r}")
                self.left = int(parts[1], 16)
                self.message.extensions += len(parts[2])
                self.at = "data" if self.left else "trailer"
            elif line:
                self.message.trailers += read_fields([line])
            else:
                self.message.complete = True
                return True


class Reader:
    """One direction of a connection: messages of one kind behind each other."""

    def __init__(self):
        self.buffer = bytearray()
        self.messages = []
        self.current = None
        self.chunks = None
        self.left = 0
        self.until_close = False
        # Why nothing more can be read, if so.
        self.fault = None

    def feed(self, data):
        """Takes what came."""
        self.buffer += data
        if self.fault:
            return
        try:
            while self.step():
                pass
        except Malformed as malformed:
            self.fault = str(malformed)
            if self.current is not None:
                self.current.fault = self.fault

    def step(self):
        message = self.current
        if message is None:
            return self.begin()
        if self.chunks:
            if self.chunks.feed(self.buffer):
                return self.finish()
            return False
        if self.until_close:
            message.body += self.buffer
            self.buffer.clear()
            return False
        piece = self.buffer[: self.left]
        message.body += piece
        del self.buffer[: len(piece)]
        self.left -= len(piece)
        return self.finish() if self.left == 0 else False

    def finish(self):
        self.current.complete = True
        self.current, self.chunks = None, None
        return True

    def frame(self, message, framing):
        """What comes behind the head of `message`."""
        self.current = message
        kind, length = framing
        message.chunked = kind == "chunked"
        if kind == "chunked":
            self.chunks = Chunks(message)
        else:
            self.left = length
        return True

    def next_head(self, first_line, kind):
        """The octets of the next head, what its first line says, and its other lines; or None while it may still become whole."""
        whole = split_head(self.buffer) if self.buffer else None
        if whole is None:
            return None
        lines, end = whole
        parts = first_line.fullmatch(lines[0])
        if not parts:
            raise Malformed(f"no {kind} line: {lines[0][:80]!r}")
        return bytes(self.buffer[:end]), parts, lines[1:]


class RequestReader(Reader):
    """What a proxy sends to the origin."""

    def begin(self):
        begun = self.next_head(REQUEST_LINE, "request")
        if not begun:
            return False
        head, parts, lines = begun
        request = Request(head, read_fields(lines, LOOSE_LINE), parts[1], parts[2], parts[3])
        framing = framing_of(request, "a request")
        if len(request.all("host")) != 1 and parts[3] == b"1":
            raise Malformed("not one Host")
        if request.chunked and parts[3] == b"0":
            raise Malformed("chunks in HTTP/1.0")
        del self.buffer[:len(head)]
        self.messages.append(request)
        return self.frame(request, framing or ("length", 0))


class ResponseReader(Reader):
    """What a proxy sends to the client; `methods` are those of the requests that are answered, in their order."""

    def __init__(self, methods=()):
        super().__init__()
        self.methods = list(methods)
        self.interim = []

    def begin(self):
        begun = self.next_head(STATUS_LINE, "status")
        if not begun:
            return False
        head, parts, lines = begun
        response = Response(head, read_fields(lines), int(parts[2]))
        framing = framing_of(response, "a response")
        del self.buffer[:len(head)]
        if response.status < 200 and response.status != 101:
            self.interim.append(response)
            return True
        response.interim, self.interim = self.interim, []
        number = len(self.messages)
        method = self.methods[number] if number < len(self.methods) else "GET"
        self.messages.append(response)
        if method == "HEAD" or response.status in (101, 204, 304):
            if response.status == 204 and framing and framing != ("length", 0):
                raise Malformed("204 with a body")
            response.complete = True
            return True
        if framing is None:
            response.ended_by_close = True
            self.until_close = True
            self.current = response
            return True
        return self.frame(response, framing)

    def closed(self, reset):
        """The connection ended: what only that delimits is whole now, if it ended well."""
        if self.until_close and self.current and not reset:
            self.current.complete = True
        if self.buffer and not self.fault and self.current is None:
            self.fault = f"bytes that are no response: {bytes(self.buffer[:40])!r}"

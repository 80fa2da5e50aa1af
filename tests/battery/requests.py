"""Table 3.1: what has to be refused, spelling by spelling. Behind each stands a request that must not be taken for a part of it."""

from cases import Case, either, never_complete, normalised, one_reading, refused, silent_or_refused, size

HOST = "Host: battery.test\r\n"
CASES = []


def add(table, name, send, expect, **more):
    CASES.append(Case(name, f"3.1 {table}", send.encode("latin-1") if isinstance(send, str) else send, expect, **more))


def get(lines, version="1.1"):
    return f"GET /case/{{id}} HTTP/{version}\r\n{HOST}{lines}\r\n"


def post(lines, body="", version="1.1"):
    return f"POST /case/{{id}} HTTP/{version}\r\n{HOST}{lines}\r\n{body}"


def ways_of(lines):
    """The octets of a line, for its name in a report."""
    return repr(lines)[1:-1]


CHUNKED = "5\r\nhello\r\n0\r\n\r\n"
# A request within the body of another, which is seen by who takes the other framing.
INNER = "GET /inner/{id} HTTP/1.1\r\nHost: battery.test\r\n\r\n"
ONE_CHUNK = f"{size(INNER):x}\r\n{INNER}\r\n0\r\n\r\n"

# ── Content-Length and Transfer-Encoding together ──
BOTH = "two framings"
for lines in [
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    "Content-Length: 5\r\nX-Between: 1\r\nTransfer-Encoding: chunked\r\n",
    "Content-Length: 5\r\ntransfer-encoding: CHUNKED\r\n",
    "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
    "Content-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n",
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "Content-Length:\r\nTransfer-Encoding: chunked\r\n",
    "Content-Length: 5\r\nTransfer-Encoding:\r\n",
    "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n",
    "Content-Length: 5\r\nConnection: Content-Length\r\nTransfer-Encoding: chunked\r\n",
    "Content-Length: 5\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
]:
    add(BOTH, ways_of(lines), post(lines, CHUNKED), refused(400, 501), methods=("POST",),
        lenient=normalised(b"POST", body=b"hello", hasnt=("content-length",), closes=True))
add(BOTH, "CL.TE with a request inside", post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", ONE_CHUNK), refused(400),
    methods=("POST",))
add(BOTH, "TE.CL with a request inside",
    post(f"Transfer-Encoding: chunked\r\nContent-Length: {size('0' * 5 + INNER)}\r\n", "0\r\n\r\n" + INNER), refused(400), methods=("POST",))
add(BOTH, "on GET", get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + CHUNKED, refused(400),
    lenient=normalised(body=b"hello", hasnt=("content-length",), closes=True))

# ── Transfer-Encoding that is not exactly one `chunked` ──
CODING = "transfer codings"
for value in [
    "gzip", "gzip, chunked", "chunked, gzip", "identity", "chunked, identity", "identity, chunked", "xchunked", "chunkedx", "x chunked",
    "chunked, chunked", "chunked,chunked", "chunked,", ",chunked", ", chunked", "chunked,,", "\x0bchunked", "chunked\x0b", "\x0cchunked",
    "chunked\x0c", "chun\x00ked", "chunked\x00", "\x00chunked", "chunked\xff", "\xa0chunked", "chunked\xa0", "\x85chunked",
    "\"chunked\"", "'chunked'", "(chunked)", "chunked;q=1", "chunked;", "chunked ;a=b", "chunked foo", "", "chu nked", "chunk",
    "chunke\xeb", "\\chunked", "cow", "deflate", "chunked\x7f", "chunked\x1b", "chunked\x08", "\tgzip", "trailers", "chunked=1",
]:
    add(CODING, ways_of(value), post(f"Transfer-Encoding: {value}\r\n", CHUNKED), refused(400, 501), methods=("POST",),
        lenient=normalised(b"POST", body=b"hello", hasnt=("content-length",)))
for lines in [
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nX-Between: 1\r\nTransfer-Encoding: x\r\n",
    "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n",
]:
    add(CODING, ways_of(lines), post(lines, CHUNKED), refused(400, 501), methods=("POST",),
        lenient=normalised(b"POST", body=b"hello", hasnt=("content-length",)))
for connection in ["", "Connection: keep-alive\r\n", "Connection: close\r\n"]:
    add(CODING, f"HTTP/1.0 {ways_of(connection)}", post(f"Transfer-Encoding: chunked\r\n{connection}", CHUNKED, "1.0"), refused(400),
        methods=("POST",), lenient=normalised(b"POST", body=b"hello", closes=True))

# ── Content-Length that is not 1*DIGIT ──
LENGTH = "content lengths"
for value in [
    "+5", "-5", "-0", "+0", "0x5", "0X5", "5h", "5.0", "5e0", "\"5\"", "'5'", "5;", "5;a", "5_0", "_5", "", "5 0", "5 ;", "five",
    "\xef\xbc\x95", "\xb2", "9223372036854775808", "18446744073709551615", "18446744073709551616", "18446744073709551621",
    "99999999999999999999999999", "340282366920938463463374607431768211461", "5,6", "5, 6", "5, 5, 6", "5, -5", "5,", ",5", "5,,5",
    "5\x0b", "\x0b5", "5\x0c", "5\x00", "\x005", "5\x7f", "5\xa0", "0 5", "5\t5", "(5)", "5, five", "0, 5",
    "NaN", "inf", "0b101", "0o5", "1e1",
]:
    add(LENGTH, ways_of(value), post(f"Content-Length: {value}\r\n", "hello"), refused(400, 413), methods=("POST",))
for lines in [
    "Content-Length: 5\r\nContent-Length: 6\r\n",
    "Content-Length: 6\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nX-Between: 1\r\nContent-Length: 0\r\n",
    "Content-Length: 0\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length:\r\n",
    "Content-Length:\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\ncontent-length: 50\r\n",
    "Content-Length: 5\r\nContent-Length: +5\r\n",
    "Content-Length: 5\r\nContent-Length: five\r\n",
]:
    add(LENGTH, ways_of(lines), post(lines, "hello"), refused(400), methods=("POST",))
add(LENGTH, "negative on GET", get("Content-Length: -1\r\n"), refused(400))
add(LENGTH, "2^64 hides a request", post("Content-Length: 18446744073709551616\r\n", INNER), refused(400, 413), methods=("POST",))

# ── lines that are no field lines ──
FIELD = "field lines"
for lines in [
    "X-A : b", "X-A\t: b", "X-A \t : b", "Content-Length : 5", "Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked",
    "no colon here", ": empty name", ":", " : b", "X A: b", "X(A): b", "X\"A\": b", "[X]: b", "X/A: b", "X\xe9: b", "X\x01: b",
    "X\x7f: b", "X@A: b", "X{A}: b", "X,A: b", "X;A: b", "X=A: b", "X?A: b", "X\\A: b", "X<A>: b", "Transfer-Encoding", "Content-Length",
    "GET /inner/{id} HTTP/1.1", "Transfer Encoding: chunked", "Content Length: 5", "\x0bX: b", "X\x0b: b", "\xa0X: b", "X\xa0: b",
]:
    # §5.1 wants a space in front of the colon refused; a line that is none otherwise may also be left out.
    lenient = None if lines.split(":")[0][-1:] in " \t" else normalised(hasnt=("transfer-encoding", "content-length"))
    add(FIELD, ways_of(lines), get(lines + "\r\n"), refused(400), lenient=lenient)
for first in [" ", "\t", " \t", "X\r\n "]:
    head = f"GET /case/{{id}} HTTP/1.1\r\n{first}X: y\r\n{HOST}\r\n"
    add(FIELD, f"{ways_of(first)} before the first line", head, refused(400))
add(FIELD, "white space before Host", "GET /case/{id} HTTP/1.1\r\n Host: evil.test\r\nHost: battery.test\r\n\r\n", refused(400))
add(FIELD, "a line of one space", get(" \r\n"), refused(400))
add(FIELD, "empty name hides the rest", get(":\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n" + INNER, refused(400))

FOLD = "folded lines"
for lines in [
    "X-A: b\r\n folded", "X-A: b\r\n\tfolded", "X-A: b\r\n ", "X-A: b\r\n\t", "X-A:\r\n b", "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding:\r\n\tchunked", "Content-Length:\r\n 5", "Content-Length: 5\r\n 0", "Transfer-Encoding: chunked\r\n , identity",
    "X-A: b\r\n Transfer-Encoding: chunked", "X-A: b\r\n Content-Length: 5", "Host:\r\n battery.test",
]:
    add(FOLD, ways_of(lines), post(lines + "\r\n"), refused(400, 501), methods=("POST",),
        lenient=one_reading)

# ── NUL, CR and other control bytes ──
CONTROL = "control bytes"
for lines in [
    "X-A: b\x00c", "X-A: \x00", "X\x00A: b", "X-A: b\rc", "X-A: b\r", "X-A: \rb", "X-A: b\rTransfer-Encoding: chunked",
    "X-A: b\r\rX-B: c", "X-A: b\r\n\rX-B: c", "\rX-A: b", "X-A\r: b", "Content-Length: 0\rX: y", "Transfer-Encoding\x00: chunked",
    "X-A: b\x00\r\nContent-Length: 5", "Content-Length\x00: 5", "X-A: b\r \n",
]:
    lenient = normalised(b"POST") if lines == "X-A: b\r" else None
    add(CONTROL, ways_of(lines), post(lines + "\r\n"), refused(400, 501), methods=("POST",), lenient=lenient)
for octet in [1, 2, 3, 4, 5, 6, 7, 8, 0x0B, 0x0C, 0x0E, 0x0F, 0x10, 0x1A, 0x1B, 0x1F, 0x7F]:
    add(CONTROL, f"{octet:#04x} in a value", get(f"X-A: b{chr(octet)}c\r\n"), refused(400),
        lenient=normalised(controls=True))
for lines in ["X-A: b\nX-B: c", "X-A: b\nTransfer-Encoding: chunked", "X-A: b\n\r\n", "X-A: b\n c", "\nX: y"]:
    add(CONTROL, f"bare LF: {ways_of(lines)}", get(lines + "\r\n"), refused(400), lenient=normalised())

# ── look-alikes ──
ALIKE = "look-alikes"
for name in [
    "Transfer_Encoding", "transfer_encoding", "TRANSFER_ENCODING", "Content_Length", "content_length", "Transfer-encoding_",
    "_Transfer-Encoding", "X_Forwarded_For",
]:
    value = "5" if "ength" in name else "chunked"
    add(ALIKE, name, get(f"{name}: {value}\r\n"),
        either(refused(400), normalised(hasnt=(name,), check=lambda it: "_" in str([n for n, _ in it.fields]) and "an underscore")),
        lenient=normalised())

# ── Host ──
HOSTS = "host"
for value in [
    "", "a b", "a/b", "a@b", "user:pw@a", "a:b", "a:99999", "a:-1", "a:80:80", "a,b", "a#b", "a?b", "a\\b", "[::1", "::1", "[::1]x",
    "[gg::1]", "a\"b", "http://a", "a%", "a%0d%0ab", "a%00b", "a<b>", "a'b\"", "a{b}", "a|b", "a^b", "a`b", "a:8 0", "a: 80", "a :80",
    "a:+80", "a:0x50", "a\xe9", "@a", "a@", "[::1]:", "/", "*", "(a)",
]:
    # A port may be empty (RFC 3986 §3.2.3), and a name have more than a name of DNS has.
    expect = either(refused(400), normalised()) if value in ("[::1]:", "*", "(a)") else refused(400)
    add(HOSTS, f"Host: {ways_of(value)}", f"GET /case/{{id}} HTTP/1.1\r\nHost: {value}\r\n\r\n", expect, lenient=normalised())
for name, lines in {
    "missing": "", "twice": HOST + HOST, "two of them": HOST + "host: other.test\r\n", "two with space between": HOST + "X: y\r\n" + HOST,
    "empty and good": "Host:\r\n" + HOST, "good and empty": HOST + "Host:\r\n", "missing, with a good X-Forwarded-Host": "X-Forwarded-Host: battery.test\r\n",
}.items():
    add(HOSTS, name, f"GET /case/{{id}} HTTP/1.1\r\n{lines}\r\n", refused(400))
add(HOSTS, "missing with an absolute target", "GET http://battery.test/case/{id} HTTP/1.1\r\n\r\n", refused(400))
add(HOSTS, "bad beside an absolute target", "GET http://battery.test/case/{id} HTTP/1.1\r\nHost: a b\r\n\r\n", refused(400),
    lenient=normalised(has={"host": b"battery.test"}))
add(HOSTS, "empty beside an absolute target", "GET http://battery.test/case/{id} HTTP/1.1\r\nHost:\r\n\r\n",
    either(refused(400), normalised(has={"host": b"battery.test"})))

# ── targets ──
TARGET = "targets"
for target in [
    "case/{id}", "", "/case/{id} b", "/case/{id}\tb", "/case/{id}#b", "#{id}", "/case/{id}\x01", "/case/{id}\x00", "/case/{id}\x7f",
    "/\"{id}\"", "/case/{id}\xe9", "/case/{id}\x0b", "*", "?{id}", "battery.test:80/{id}", "battery.test:80", "http:///case/{id}",
    "http://user@battery.test/{id}", "http://user:pw@battery.test/{id}", "http:/case/{id}", "http:case/{id}", "://battery.test/{id}",
    "http://", "http://a b/{id}", "http://battery.test\\{id}", "http://battery.test#{id}", "http://battery.test:x/{id}", "<{id}>",
    "/case/{id}\r", "\\case\\{id}", "/case/{id}%", "/case/{id}%zz", "/case/{id}%0", "/<{id}>", "/case/{id}^", "/case/{id}`", "/case/{id}|",
    "/case/{id}{", "ftp://battery.test/{id}", "javascript:{id}", "http://battery.test/case/{id}#f", "/case/{id}?a#b", "http://:80/{id}",
    "http://[::1/{id}", "http://a,b/{id}",
]:
    # Octets that RFC 3986 does not have in a path, and that no two parsers read differently, may also go on as they are.
    harmless = target[-1:] in "^`|{\xe9" or "%" in target or "<" in target or "\"" in target or target.startswith(("\\", "ftp:"))
    expect = either(refused(400), normalised()) if target[-1:] in "^`|{" or "%" in target else refused(400)
    add(TARGET, ways_of(target), f"GET {target} HTTP/1.1\r\n{HOST}X-Case: {{id}}\r\n\r\n", expect,
        lenient=normalised(check=lambda it: b"#" in it.target and "a fragment") if harmless or "#" in target else None)
add(TARGET, "CONNECT authority", "CONNECT battery.test:443 HTTP/1.1\r\n" + HOST + "X-Case: {id}\r\n\r\n", refused(400, 405, 501))
add(TARGET, "CONNECT path", "CONNECT /case/{id} HTTP/1.1\r\n" + HOST + "\r\n", refused(400, 405, 501))
add(TARGET, "CONNECT with a body", "CONNECT battery.test:443 HTTP/1.1\r\n" + HOST + "Content-Length: 5\r\nX-Case: {id}\r\n\r\nhello",
    refused(400, 405, 501))
add(TARGET, "OPTIONS of no path", "OPTIONS case/{id} HTTP/1.1\r\n" + HOST + "\r\n", refused(400))
add(TARGET, "OPTIONS **", "OPTIONS ** HTTP/1.1\r\n" + HOST + "X-Case: {id}\r\n\r\n", refused(400))

# ── request lines, methods, versions ──
LINE = "request lines"
for line in [
    "G(T /case/{id} HTTP/1.1", "G\"T /case/{id} HTTP/1.1", " GET /case/{id} HTTP/1.1", "/case/{id} HTTP/1.1", "G\x01T /case/{id} HTTP/1.1",
    "G\xe9T /case/{id} HTTP/1.1", "G T /case/{id} HTTP/1.1", "GET: /case/{id} HTTP/1.1", "G@T /case/{id} HTTP/1.1", "GET\x00 /case/{id} HTTP/1.1",
    "\x00GET /case/{id} HTTP/1.1", "{GET} /case/{id} HTTP/1.1", "GET /case/{id} http/1.1", "GET /case/{id} HTTX/1.1", "GET /case/{id} HTTP/1",
    "GET /case/{id} HTTP/1.", "GET /case/{id} HTTP/.1", "GET /case/{id} HTTP/1.1x", "GET /case/{id} HTTP/1.1 x", "GET /case/{id} HTTP/1.1 ",
    "GET /case/{id} HTTP /1.1", "GET  /case/{id} HTTP/1.1", "GET /case/{id}  HTTP/1.1", "GET\t/case/{id}\tHTTP/1.1", "GET /case/{id}\tHTTP/1.1",
    "GET /case/{id} HTTP/11.1", "GET /case/{id} HTTP/1.10", "GET /case/{id} HTTP/01.1", "GET /case/{id} HTTP/1.01", "GET /case/{id} HTTP/+1.1",
    "GET /case/{id} HTTP/1,1", "GET /case/{id} HTTP\\1.1", "GET /case/{id}\x0bHTTP/1.1", "GET\x0b/case/{id} HTTP/1.1", "GET\x0c/case/{id} HTTP/1.1",
    "GET /case/{id} HTTP/1.1\x00", "GET /case/{id} HTTP/1.1\x0b", "GET /case/{id} HTTP/1.1\t", "GET\xa0/case/{id} HTTP/1.1",
    "GET /case/{id} \xa0HTTP/1.1", "GET /case/{id} HTTP/1\xb7" + "1", "GET /case/{id} HTTP/0x1.1", "GET /case/{id} HTTP/1.-1",
    "GET /case/{id} HTTP/1.1 HTTP/1.1", "GET /case/{id} /other HTTP/1.1", "GET/case/{id} HTTP/1.1", "GET /case/{id}HTTP/1.1",
]:
    add(LINE, ways_of(line), f"{line}\r\n{HOST}X-Case: {{id}}\r\n\r\n", refused(400, 501, 505), lenient=normalised())
for version in ["2.0", "3.0", "0.0", "0.9", "0.1", "1.2", "1.9", "9.9", "2"]:
    # A minor version that is not known is spoken as 1.1 by who may (RFC 9110 §2.5); to refuse it is our choice.
    add(LINE, f"HTTP/{version}", get("", version), refused(400, 505), lenient=normalised() if version[0] == "1" else None)
add(LINE, "HTTP/0.9, no version", "GET /case/{id}\r\n", refused(400, 505))
add(LINE, "HTTP/0.9, with fields", f"GET /case/{{id}}\r\n{HOST}\r\n", refused(400, 505))
add(LINE, "a bare LF ends the line", f"GET /case/{{id}} HTTP/1.1\n{HOST}\r\n", refused(400), lenient=normalised())
add(LINE, "bare LF all through", "GET /case/{id} HTTP/1.1\nHost: battery.test\n\n", refused(400), lenient=normalised())
add(LINE, "LF CR", "GET /case/{id} HTTP/1.1\n\rHost: battery.test\n\r\n\r", refused(400))
add(LINE, "bare CR all through", "GET /case/{id} HTTP/1.1\rHost: battery.test\r\r", refused(400))
add(LINE, "CR CR LF", f"GET /case/{{id}} HTTP/1.1\r\r\n{HOST}\r\n", refused(400))

# ── chunked bodies ──
CHUNK = "chunks"
TE = "Transfer-Encoding: chunked\r\n"
for body in [
    "5\r\nhello\r\n\r\n\r\n", "\r\n5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n",
    "5h\r\nhello\r\n0\r\n\r\n", " 5\r\nhello\r\n0\r\n\r\n", "\t5\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "5\t\r\nhello\r\n0\r\n\r\n",
    "5_0\r\nhello\r\n0\r\n\r\n", "g\r\nhello\r\n0\r\n\r\n", "\"5\"\r\nhello\r\n0\r\n\r\n", "5.0\r\nhello\r\n0\r\n\r\n", "5,5\r\nhello\r\n0\r\n\r\n",
    "8000000000000000\r\nhello\r\n0\r\n\r\n", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", "10000000000000000\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n", "00000000000000005\r\nhello\r\n0\r\n\r\n",
    "5\r\nhelloX\r\n0\r\n\r\n", "5\r\nhelloXX0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n", "5\rhello\r\n0\r\n\r\n", "5\r\rhello\r\n0\r\n\r\n", "5\n\rhello\r\n0\r\n\r\n", "5\x00\r\nhello\r\n0\r\n\r\n",
    "\x005\r\nhello\r\n0\r\n\r\n", "5\x0b\r\nhello\r\n0\r\n\r\n", "5;a=\x00\r\nhello\r\n0\r\n\r\n", "5;a=b\rc\r\nhello\r\n0\r\n\r\n",
    "5;a=b\nc\r\nhello\r\n0\r\n\r\n", "5;\n\r\nhello\r\n0\r\n\r\n", ";a\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
    "5\r\nhello\r\n0\r\nX : y\r\n\r\n", "5\r\nhello\r\n0\r\n folded\r\n\r\n", "5\r\nhello\r\n0\r\nX: y\r\n folded\r\n\r\n",
    "5\r\nhello\r\n0\r\nX: \x00\r\n\r\n", "5\r\nhello\r\n0\r\nX: y\rz\r\n\r\n", "5\r\nhello\r\n0\r\n\n", "5\r\nhello\r\n0\n\n", "5\r\nhello\r\n0\r\n\r\r",
    "5\r\nhello\r\n-0\r\n\r\n", "5\r\nhello\r\n0x0\r\n\r\n", "5\r\nhello\r\nzero\r\n\r\n", "0\r\n\rX\r\n", "0\r\n: y\r\n\r\n", "0\r\nX: y\n\r\n",
    "0;\x7f\r\n\r\n", "5 5\r\nhello\r\n0\r\n\r\n", "0x\r\n\r\n", "0h\r\n\r\n", "\xb2\r\nhe\r\n0\r\n\r\n", "5\xa0\r\nhello\r\n0\r\n\r\n",
    "5\r\n\r\nhello\r\n0\r\n\r\n", "5\r\nhell\r\n0\r\n\r\n", "5\r\nhello\r\n\r\n0\r\n\r\n", "ffffffff80000005\r\nhello\r\n0\r\n\r\n",
]:
    lenient = normalised(b"POST", body=b"hello") if body[:5] in ("5 \r\nh", "5\t\r\nh") or body.startswith("00000") else None
    add(CHUNK, ways_of(body), post(TE, body), never_complete(400), methods=("POST",), lenient=lenient)
# Good, but for its length: what is missing of it never comes.
add(CHUNK, "2^32 in front of a size", post(TE, "100000005\r\nhello\r\n0\r\n\r\n"), never_complete(400, 408, 413), methods=("POST",))
add(CHUNK, "extensions without end", post(TE, "5;" + "x" * 20_000 + "\r\nhello\r\n0\r\n\r\n"), never_complete(400, 413), methods=("POST",),
    ways=("http", "tls", "behind-hit"), lenient=normalised(b"POST", body=b"hello"))
add(CHUNK, "extensions without end, chunk by chunk", post(TE, ("1;" + "x" * 60 + "\r\na\r\n") * 400 + "0\r\n\r\n"), never_complete(400, 413),
    methods=("POST",), ways=("http", "tls", "behind-hit"), lenient=normalised(b"POST", body=b"a" * 400))
add(CHUNK, "trailers without end", post(TE, "0\r\n" + "X-Fill: y\r\n" * 8000 + "\r\n"), never_complete(400, 413, 431), methods=("POST",),
    ways=("http", "tls", "behind-hit"), lenient=normalised(b"POST"))

# ── limits ──
LIMIT = "limits"
SHORT = ("http", "tls", "behind-hit")
LONG = "a" * 70_000
CROWD = "".join(f"X-{n}: v\r\n" for n in range(20_000))
for name, send, statuses in [
    ("a long value", get(f"X-Long: {LONG}\r\n"), (400, 431)),
    ("a long name", get(f"X-{LONG}: v\r\n"), (400, 431)),
    ("a long target", f"GET /{{id}}/{LONG} HTTP/1.1\r\n{HOST}\r\n", (400, 414, 431)),
    ("a long query", f"GET /case/{{id}}?{LONG} HTTP/1.1\r\n{HOST}\r\n", (400, 414, 431)),
    ("a long method", f"{LONG} /case/{{id}} HTTP/1.1\r\n{HOST}\r\n", (400, 414, 431, 501)),
    ("a long version", f"GET /case/{{id}} HTTP/1.1{LONG}\r\n{HOST}\r\n", (400, 414, 431, 505)),
    ("a long host", f"GET /case/{{id}} HTTP/1.1\r\nHost: {LONG}\r\n\r\n", (400, 431)),
    ("20,000 lines", get(CROWD), (400, 431)),
    ("120 lines", get("".join(f"X-{n}: v\r\n" for n in range(120))), (400, 431)),
    ("a head of 2 MB", get(f"X-Long: {'b' * 60}\r\n" * 30_000), (400, 431)),
    ("an endless line", "GET /case/{id}" + "b" * 3_000_000, (400, 414, 431)),
    ("an endless head", f"GET /case/{{id}} HTTP/1.1\r\n{HOST}" + "X-A: b\r\n" * 400_000, (400, 431)),
    ("an endless cookie", get("Cookie: " + "a=b; " * 100_000 + "\r\n"), (400, 431)),
]:
    # How much is allowed is everybody's own.
    add(LIMIT, name, send, refused(*statuses), ways=SHORT, lenient=normalised())
add(LIMIT, "empty lines without end", "\r\n" * 50_000 + get(""), refused(400), ways=SHORT, lenient=normalised())

# ── other protocols ──
OTHER = "other protocols"
for name, octets in {
    "PROXY v1": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    "PROXY v2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "SMTP": b"EHLO battery.test\r\nMAIL FROM:<a@b>\r\n",
    "TLS 1.2 hello": b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    "an SSLv2 hello": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
    "FastCGI": b"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00",
    "AJP": b"\x12\x34\x00\x02\x02\x02",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "memcached": b"get {id}\r\n",
    "an HTTP response": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "ICY": b"ICY 200 OK\r\n\r\n",
    "RTSP": b"OPTIONS rtsp://battery.test/{id} RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "SIP": b"OPTIONS sip:a@battery.test SIP/2.0\r\nVia: x\r\n\r\n",
    "ICAP": b"OPTIONS icap://battery.test/{id} ICAP/1.0\r\nHost: battery.test\r\n\r\n",
    "NULs": b"\0" * 64,
    "a UTF-8 mark in front": b"\xef\xbb\xbfGET /case/{id} HTTP/1.1\r\nHost: battery.test\r\n\r\n",
    "UTF-16": "GET /case/{id} HTTP/1.1\r\n\r\n".encode("utf-16"),
}.items():
    # Before the hand-shake the same octets are the TLS library's.
    add(OTHER, name, octets, silent_or_refused(400, 405, 501, 505))
add(OTHER, "half an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", silent_or_refused(400, 505), follow=False, ways=("http", "tls", "octets"))

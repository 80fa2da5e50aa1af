"""The service `beat.Beat` without generated code: messages are bytes, so a client or server in any language can speak it.

- `Echo` (unary): returns the request in upper case; metadata `x-ask` comes back as trailing metadata `x-answer`.
- `Fail` (unary): ends with ABORTED and the request as its message.
- `Talk` (bidirectional stream): answers each message before the next is sent.
- `Count` (server stream): as many messages as the request says.
"""

SERVICE = "beat.Beat"


def method(name: str) -> str:
    """The path of a method."""
    return f"/{SERVICE}/{name}"


def same(message: bytes) -> bytes:
    """Neither encodes nor decodes."""
    return message

"""What bytes are by how they begin, where that is no picture that can be read, and what to do about it."""

import re

HEAD = 1024
"""So many bytes tell."""

_AS_PICTURE = "save it as JPEG or PNG"
_UNREADABLE = {
    "a JPEG XL": (rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n", _AS_PICTURE),
    "a PDF": (rb"%PDF-", _AS_PICTURE),
    "a PostScript drawing": (rb"%!PS|\xc5\xd0\xd3\xc6", _AS_PICTURE),
    "a ZIP archive": (rb"PK\x03\x04", "unpack it"),
    "packed (gzip)": (rb"\x1f\x8b\x08", "unpack it"),
    "a video": (rb"....ftyp(?:qt  |mp4|isom|iso[2-6]|M4V |avc1)|\x1aE\xdf\xa3", _AS_PICTURE),
}
_UNREADABLE_TEXT = {
    "an SVG drawing": (rb"<svg[\s/>]|<(?:\?xml|!--|!doctype svg)(?s:.*)<svg[\s/>]", _AS_PICTURE),
    "a web page (HTML)": (rb"<!doctype html|<(?:html|head|body|title|script|meta|div|p|h1)[\s>]|<!--", ""),
    "XML": (rb"<\?xml|<!doctype|</?[a-z]", ""),
    "JSON": (rb"\{\s*[\"}]|\[\s*[\[\]{\"0-9]", ""),
}
_PATTERNS = {kind: re.compile(pattern, re.DOTALL) for kind, (pattern, _) in _UNREADABLE.items()}
_TEXT_PATTERNS = {kind: re.compile(pattern, re.IGNORECASE) for kind, (pattern, _) in _UNREADABLE_TEXT.items()}
_ADVICE = {kind: advice for kind, (_, advice) in (_UNREADABLE | _UNREADABLE_TEXT).items()}
_HEIF = re.compile(rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)


def is_heif(data: bytes) -> bool:
    """Whether these are the bytes of a HEIF file (HEIC, what phones make), whatever its name."""
    return _HEIF.match(data[:HEAD]) is not None


def not_a_picture(data: bytes) -> str:
    """Why these bytes, of which the first `HEAD` suffice, are no picture that can be read; empty if they may
    be one."""
    head = data[:HEAD]
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for patterns, start in ((_PATTERNS, head), (_TEXT_PATTERNS, text)):
        for kind, pattern in patterns.items():
            if pattern.match(start):
                return f"not a picture but {kind}" + (f": {_ADVICE[kind]}" if _ADVICE[kind] else "")
    return ""

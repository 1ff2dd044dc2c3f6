"""XML text as elements, safely: no document type, so no entities of its own, external or unfolding.

A document type is refused before the parser sees it (XML 1.0, 2.8 and 4: entities are declared nowhere else), and the text
must be UTF-8, so that it cannot hide in another encoding.
"""

from xml.etree import ElementTree as ET

from viewserver.errors import Malformed
from viewserver.model.faults import Fault


def read_xml(body: bytes) -> ET.Element:
    """The root. Raises Malformed for what is not well-formed, not UTF-8, or declares a document type."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed((Fault((), "is not UTF-8"),)) from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise Malformed((Fault((), "must not have a document type (<!DOCTYPE …>) or entities of its own"),))
    parser = ET.XMLParser(encoding="utf-8")  # noqa: S314 - entities were refused above
    try:
        parser.feed(text.encode())
        root: ET.Element = parser.close()
    except (ET.ParseError, ValueError) as wrong:
        raise Malformed((Fault((), f"is not well-formed XML: {wrong}"),)) from None
    return root

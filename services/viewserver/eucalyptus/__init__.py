"""What Eucalyptus writes, read into our objects: the operator's network document and global network information.

Pure: text and values in, updates of our network out. Every fault is collected and points into the document: by JSON pointer
where it is JSON or YAML, by a path in the manner of XPath where it is XML. What EDGE took and our invariants refuse is
either turned into something legal that means the same, with a warning that says so, or refused with a precise fault;
nothing is lost in silence. The shapes are those of Eucalyptus 4.0 to 5.1 in EDGE mode.
"""

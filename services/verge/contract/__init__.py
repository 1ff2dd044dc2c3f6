"""What the services agree on: the view, its digest and ETag, security group rules, the report.

Pure: values in, values out. A view travels as JSON; both sides compute its digest from the JSON values with the
functions here, so neither side's typed reading of a view can make them disagree about which view it is.
"""

"""Facts, and what this host and its view want of them, to checks. Pure; each file is one kind of requirement.

A check that needs the view says nothing without one, and one whose facts were not gathered yet says nothing either.
"""

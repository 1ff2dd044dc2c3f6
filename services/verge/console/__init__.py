"""`verge`, the operator's command line. Asks the view server over HTTP; imports neither service and keeps no state.

Tables for people, one JSON document for scripts, an exit code for either (`outcome`). `server` is the only file that speaks
HTTP, `barrier` the only one that waits; what is printed is made by pure functions from the server's answers.
"""

"""The `verge` command against a real view server."""

"""The dashboard in a real Chromium, against a real view server and simulated agents. `make browser`."""

"""The typed ruleset ↔ the nft language.

Pure: `text` writes rules and elements, `changes` are commands as values and `transaction` writes them as one batch, `listing`
reads what libnftables lists as JSON.
"""

"""The proxy's decisions, pure: how a message is framed, where it goes, what a visitor meets, which connection is used.

Nothing here reads a socket or a clock; bytes, facts and time come in as arguments, decisions go out as values.
"""

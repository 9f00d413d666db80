"""The command line: what operators say to the registry, and how the two programs are started.

Commands that act on tenants stand on the registry and the domain alone, so that they help while either process is
down. Each command is a module of its own, imported only when it is run: `gogeta --help` is quick.
"""

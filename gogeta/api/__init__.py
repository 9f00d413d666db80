"""The admin API of both programs: what an operator or a platform sees and changes, as resources over the registry."""

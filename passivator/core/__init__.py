"""passivator's decisions, pure: facts and time come in as arguments, actions go out as values."""

"""One check per file: each measures one thing and says what it could not see."""

"""Where people come in: HTTP, tokens, limits, refusals that say why. Nothing is decided here."""

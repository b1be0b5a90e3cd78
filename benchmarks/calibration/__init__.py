"""How much a measurement takes."""

"""How agents learn and how they are scored."""

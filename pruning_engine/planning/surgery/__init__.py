"""What is left out before any data: units whose choice is known from the recipe, and the reduced checkpoint."""

"""Reports as pages for a browser: one HTML file with everything in it, which asks nothing of a network."""

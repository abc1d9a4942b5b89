"""Episodes to look at: films, pages and windows."""

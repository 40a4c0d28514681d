"""The page: coloring in a browser, as one file, as a folder, and from a server on this computer."""

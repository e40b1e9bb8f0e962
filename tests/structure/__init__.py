"""The code as text: its size, its names, its imports, its links. Nothing here runs it."""

"""The console: its rights under attack, its pages in Chromium, its costs."""

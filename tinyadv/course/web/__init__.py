"""Exercises checked on the site's own pages: Python in the browser. `build` makes its files, `answers` runs there."""

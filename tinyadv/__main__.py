"""`python -m tinyadv` is the command `tinyadv`."""

from .cli import main

if __name__ == "__main__":
    main()

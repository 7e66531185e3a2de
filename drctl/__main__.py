"""`python -m drctl`."""

from drctl.cli import main

if __name__ == "__main__":
    main()

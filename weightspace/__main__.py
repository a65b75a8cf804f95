"""`python -m weightspace`: the command, where only a module can be named (`torchrun -m weightspace train encoder`)."""

from weightspace.cli import main

if __name__ == "__main__":
    main()

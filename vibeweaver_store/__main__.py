"""``python -m vibeweaver_store``: the command line."""

from vibeweaver_store.cli import main

if __name__ == "__main__":
    main()

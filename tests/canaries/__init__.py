"""Canaries: what this package relies on in its libraries that no library documents, a test each.

A canary exercises the library itself and imports nothing of vibeweaver_store, so it still runs where a new version
keeps the package from being imported. When it fails, it says in a sentence what has changed and which module relied on
it. ``reliances.py`` lists every private name that the package uses, with its canary; ``test_reliances.py`` compares the
list with the package.

``nox -s newest`` and ``nox -s prereleases`` run them on the newest versions, each night.
"""

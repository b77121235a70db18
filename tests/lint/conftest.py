import os

import pytest


def pytest_collection_modifyitems(items):
    """The tree is the same under a sanitizer, and its binaries are not those that are released."""
    if os.environ.get("CENMAIL_SAN"):
        for item in items:
            if "tests/lint/" in str(item.fspath):
                item.add_marker(pytest.mark.skip(reason="lint looks at the plain build"))

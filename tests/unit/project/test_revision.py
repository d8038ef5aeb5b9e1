"""What the index of an image says of where its sources are from."""

from __future__ import annotations

import pytest

from buildsys.project.revision import public_address


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("git@example.com:team/fleet.git", "https://example.com/team/fleet.git"),
        ("ssh://git@example.com:2222/fleet.git", "https://example.com/fleet.git"),
        ("https://me:s3cret@example.com:8443/fleet.git", "https://example.com:8443/fleet.git"),
        ("https://[2001:db8::1]:8443/fleet.git", "https://[2001:db8::1]:8443/fleet.git"),
        ("/srv/fleet.git", ""),
        # What git takes for an address before it tries to use it.
        ("ssh://git@example.com:team/fleet.git", ""),
        ("https://example.com:99999/fleet.git", ""),
        ("https://[work]/fleet.git", ""),
    ],
)
def test_source_is_the_address_of_the_remote_without_credentials(remote: str, source: str) -> None:
    assert public_address(remote) == source

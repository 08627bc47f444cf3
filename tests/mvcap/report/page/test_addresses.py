"""Only addresses of the web become links."""

import pytest

from mvcap.report.page.addresses import web_address


@pytest.mark.parametrize("address", ["https://example.org/a?b=c#d", "http://localhost:80/", " https://a.b "])
def test_web_addresses_are_taken(address):
    assert web_address(address) == address.strip()


@pytest.mark.parametrize(
    "address",
    [
        *(None, "", "example.org", "//example.org", "http://", "https:///path", "http://[broken"),
        *("javascript:alert(1)", "JavaScript:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)"),
        *("data:text/html,x", "file:///etc/passwd", "vbscript:x", "javascript://example.org/%0aalert(1)"),
    ],
)
def test_everything_else_is_not(address):
    assert web_address(address) is None

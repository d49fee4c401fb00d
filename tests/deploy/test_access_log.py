"""What a line of an access log is taken for."""

from __future__ import annotations

import pytest

from deploy.access_log import Hit, SkipReason, is_page, read_hit

AGENT = '"Mozilla/5.0 (X11; Linux x86_64) Firefox/120.0"'
TIME = "17/May/2015:10:05:03 +0200"
TS = 1431849903000


def make_line(request: str = "GET /blog HTTP/1.1", status: str = "200", rest: str = f'"-" {AGENT}') -> bytes:
    return f'83.149.9.216 - - [{TIME}] "{request}" {status} 203 {rest}'.rstrip().encode()


def test_a_page_view_is_read_with_its_time_zone() -> None:
    hit = read_hit(make_line(rest=f'"https://a.example/?q=\\"x\\"" {AGENT}'))
    assert hit == Hit("83.149.9.216", TS, "/blog", 'https://a.example/?q="x"', AGENT.strip('"'))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", SkipReason.MALFORMED),
        (b"hello", SkipReason.MALFORMED),
        (make_line()[:-1], SkipReason.MALFORMED),  # cut before the closing quote
        (make_line().replace(b"May", b"Mai"), SkipReason.MALFORMED),
        (make_line().replace(b"17/", b"32/"), SkipReason.MALFORMED),
        (make_line(request="-", status="408"), SkipReason.MALFORMED),
        (make_line(request="\\x16\\x03\\x01", status="400"), SkipReason.MALFORMED),
        (make_line(request="POST /a.png HTTP/1.1", status="500"), SkipReason.METHOD),
        (make_line(request="HEAD / HTTP/1.1"), SkipReason.METHOD),
        (make_line(request="GET /a.png HTTP/1.1", status="404"), SkipReason.STATUS),
        (make_line(status="301"), SkipReason.STATUS),
        (make_line(status="300"), SkipReason.STATUS),
        (make_line(request="GET /a.png?x=/page HTTP/1.1"), SkipReason.ASSET),
        (b'{"no": "access line"}', SkipReason.MALFORMED),
        (b'{"broken', SkipReason.MALFORMED),
    ],
)
def test_a_line_that_is_no_page_view_has_the_first_reason(line: bytes, reason: SkipReason) -> None:
    assert read_hit(line) is reason


@pytest.mark.parametrize("status", ["200", "204", "299", "304"])
def test_success_and_not_modified_count(status: str) -> None:
    assert isinstance(read_hit(make_line(status=status)), Hit)


@pytest.mark.parametrize(
    ("target", "page"),
    [
        ("/", True),
        ("/blog/", True),
        ("/v1.2/notes", True),
        ("/index.html?x=a.png", True),
        ("/a.b.php", True),
        ("/a.xhtml", False),
        ("/a.", False),
        ("/.well-known", False),
        ("/a.css", False),
    ],
)
def test_the_last_segment_decides_what_is_a_page(target: str, page: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_page(target) is page


def test_common_format_has_no_referrer_and_no_user_agent() -> None:
    assert read_hit(make_line(rest="")) == Hit("83.149.9.216", TS, "/blog", "", "")


@pytest.mark.parametrize(
    ("request_line", "target"),
    [
        ("GET http://a.example/x?y=1 HTTP/1.1", "/x?y=1"),
        ("GET /a b HTTP/1.1", "/a b"),
        ("GET /old", "/old"),
    ],
)
def test_odd_requests_keep_their_target(request_line: str, target: str) -> None:
    hit = read_hit(make_line(request=request_line))
    assert isinstance(hit, Hit)
    assert hit.target == target


def test_bytes_that_are_no_text_lose_no_line() -> None:
    hit = read_hit(make_line().replace(b"/blog", b"/bl\xe4tt"))
    assert isinstance(hit, Hit)
    assert hit.target == "/bl\ufffdtt"


def test_caddy_writes_json_lines() -> None:
    line = (
        b'{"level":"info","ts":1431849903.25,"request":{"remote_ip":"10.0.0.1","client_ip":"2001:db8::1","method":"GET",'
        b'"host":"a.example","uri":"/x?y","headers":{"User-Agent":["Firefox"],"Referer":["https://b.example/"]}},'
        b'"status":200}'
    )
    assert read_hit(line) == Hit("2001:db8::1", 1431849903250, "/x?y", "https://b.example/", "Firefox")

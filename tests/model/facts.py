"""What enrichment must find, written by hand: user agents, places, referrers and campaigns with their answers."""

from __future__ import annotations

from dataclasses import dataclass

WINDOWS = "Windows NT 10.0; Win64; x64"
MAC = "Macintosh; Intel Mac OS X 10_15_7"
IPHONE = "iPhone; CPU iPhone OS 17_4_1 like Mac OS X"
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@dataclass(frozen=True, slots=True)
class Agent:
    """A user agent and what it is."""

    text: str
    device_type: str
    browser: str
    os: str
    bot: bool = False


AGENTS = (
    Agent(f"Mozilla/5.0 ({WINDOWS}) {WEBKIT} Chrome/126.0.0.0 Safari/537.36", "desktop", "Chrome", "Windows"),
    Agent(f"Mozilla/5.0 ({WINDOWS}; rv:128.0) Gecko/20100101 Firefox/128.0", "desktop", "Firefox", "Windows"),
    Agent(
        f"Mozilla/5.0 ({WINDOWS}) {WEBKIT} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0", "desktop", "Edge", "Windows"
    ),
    Agent(
        f"Mozilla/5.0 ({MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
        "desktop",
        "Safari",
        "macOS",
    ),
    Agent(
        f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36",
        "mobile",
        "Chrome",
        "Android",
    ),
    Agent(
        f"Mozilla/5.0 ({IPHONE}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4.1 Mobile/15E148 Safari/604.1",
        "mobile",
        "Safari",
        "iOS",
    ),
    Agent("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "", "Googlebot", "", bot=True),
)
AGENT_OF = {agent.text: agent for agent in AGENTS}


@dataclass(frozen=True, slots=True)
class Place:
    """A network and what the MMDB of these tests says of it."""

    network: str
    country: str
    region: str
    city: str


PLACES = (
    Place("81.2.69.0/24", "GB", "England", "London"),
    Place("89.160.20.0/24", "SE", "Östergötland", "Linköping"),
    Place("175.16.199.0/24", "CN", "Jilin", "Changchun"),
    Place("216.160.83.0/24", "US", "Washington", "Milton"),
    Place("2a02:d300::/32", "UA", "", ""),
)
NOWHERE = Place("", "", "", "")

# Addresses that senders have, with the place they are in; the last two share a /64, so they are one client.
ADDRESSES = {
    "81.2.69.142": PLACES[0],
    "81.2.69.143": PLACES[0],
    "89.160.20.112": PLACES[1],
    "175.16.199.7": PLACES[2],
    "216.160.83.56": PLACES[3],
    "62.163.10.10": NOWHERE,
    "78.46.0.7": NOWHERE,
    "2a02:d300:1:2::7": PLACES[4],
    "2a02:d300:1:2:ffff::8": PLACES[4],
}
DATACENTERS = ("78.46.0.7",)


@dataclass(frozen=True, slots=True)
class Way:
    """How a visit came: the referrer and the query of its first page, and what must be found in them.

    METRICS.md does not say what the dimension `referrer` holds: host and path without scheme, `www.`, port, query and
    fragment (schemas/warehouse/001_events.sql); a path of `/` says nothing and is left out.
    """

    referrer: str
    query: str
    referrer_source: str
    channel: str
    referrer_dimension: str = ""
    utm_source: str = ""
    utm_medium: str = ""
    utm_campaign: str = ""
    bot: bool = False


WAYS = (
    Way("", "", "Direct", "Direct"),
    Way("https://www.google.com/", "", "Google", "Organic Search", "google.com"),
    Way("https://www.bing.com/search?q=x", "", "Bing", "Organic Search", "bing.com/search"),
    Way("https://www.reddit.com/r/python/", "", "Reddit", "Organic Social", "reddit.com/r/python/"),
    Way("https://Blog.Example.NET:8080/a?x=1#y", "", "blog.example.net", "Referral", "blog.example.net/a"),
    Way(
        "",
        "?utm_source=letter7&utm_medium=email&utm_campaign=M%C3%A4rz",
        "letter7",
        "Email",
        "",
        "letter7",
        "email",
        "März",
    ),
    Way("https://www.google.com/", "?gclid=abc", "Google", "Paid Search", "google.com"),
    Way("", "?fbclid=abc", "Direct", "Direct"),
    Way("https://chatgpt.com/", "", "ChatGPT", "AI", "chatgpt.com"),
    Way("https://semalt.com/crawler", "", "semalt.com", "Referral", "semalt.com/crawler", bot=True),
)
WAY_OF = {(way.referrer, way.query): way for way in WAYS}

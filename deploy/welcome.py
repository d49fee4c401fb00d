"""What a newcomer is shown once, on the first start: an address, a snippet, a key and three lines that work."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from query_api.control.first_start import Welcome

TEXT = """
Pulse runs at {base}   (demo: {base}/demo/ · documentation: {base}/docs)

Paste this into the pages of your site; `data-local` counts pages on this machine, too:

  <script defer src="{base}/script.js" data-site-key="{site_key}" data-local></script>

Your key of the query API, shown this once:  {key}

Send a page view, ask for the numbers, watch who is there:

  curl -X POST {base}/v1/events -H 'Content-Type: application/json' -d '{{"site_key":"{site_key}","url":"http://localhost/hello"}}'
  curl -H 'Authorization: Bearer {key}' '{base}/v1/stats?period=today&include_bots=true'
  curl -H 'Authorization: Bearer {key}' '{base}/v1/realtime?include_bots=true'

A site of your own:

  {command} site create --domain example.com --timezone Europe/Berlin
"""


def to_text(welcome: Welcome, base: str, command: str) -> str:
    """The text for a terminal; `command` is how `pulse` was called. curl counts as a bot, hence `include_bots`."""
    return TEXT.format(base=base, site_key=welcome.site.live.site_key, key=welcome.key.text, command=command)

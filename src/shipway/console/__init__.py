"""Web pages that say how every model is doing, and take the few decisions people take.

    mount(app, platform)                  add the pages to the control plane's application
    login_link(platform, base_url, now)   a link that signs the owner in once, for `shipway up` to print

Server-rendered, no build step, no address outside this machine; every page opens with one sentence and
works without JavaScript. Pages read through `read` and act through the same functions as the API; there
are no rules here. What a page says is made in `sentences`, which is pure.

Not here: the REST API (see `shipway.api`), anything that decides.
"""

from typing import Any

__all__ = ["login_link", "mount"]


def __getattr__(wanted: str) -> Any:  # noqa: ANN401 - PEP 562: a module attribute may be anything
    if wanted in __all__:
        from shipway.console import web

        return getattr(web, wanted)
    raise AttributeError(wanted)

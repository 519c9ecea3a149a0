"""The portal's addresses: to which page each belongs."""

import re

_CUSTOMER = "/portal/customers/[^/]+"
#: From addresses that only take forms to the page that holds the form.
_FORMS = [
    (re.compile(pattern), page)
    for pattern, page in (
        (f"({_CUSTOMER})/(?:allocations|servers)", r"\1"),
        (f"({_CUSTOMER})/(?:people/[^/]+|invitations(?:/[^/]+)?|contacts|activation-window)", r"\1/people"),
        (f"({_CUSTOMER})/(?:requests/[^/]+|delete|restore)", r"\1/details"),
        (f"({_CUSTOMER}/servers/[^/]+)/(?!offline)[^/]+", r"\1"),
        (f"({_CUSTOMER}/servers/[^/]+/offline)/(?:file|receipt)", r"\1"),
        (f"({_CUSTOMER}/keys)/(?:preview|import|renewal|companies)", r"\1"),
        (f"({_CUSTOMER}/pools/[^/]+)/(?:peak-reset|release|lease-time)", r"\1"),
        (f"({_CUSTOMER}/log)-retention", r"\1"),
        (r"(/portal/orders/[^/]+)/(?:resend|cancel|forward)", r"\1"),
        (r"(/portal/teams/[^/]+)/(?:invitations(?:/[^/]+)?|people/[^/]+)", r"\1"),
        (r"(/portal/webhooks)/[^/]+", r"\1"),
        (r"(/portal/me)/password", r"\1"),
        (r"(/portal)/logout", r"\1"),
    )
]


def page_of(path: str) -> str:
    """The page that holds the form which is sent to an address; the address itself where it is a page."""
    for pattern, page in _FORMS:
        if found := pattern.fullmatch(path):
            return found.expand(page)
    return path

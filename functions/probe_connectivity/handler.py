"""GET /v1/ping: can this server be reached? (B6)"""

from licensing import deployment
from licensing.contract import Ping
from licensing.http.api import api, document, entry, problems

app = api()


@app.get(
    "/v1/ping",
    summary="Probe the connection",
    tags=["Anyone"],
    responses={200: document(Ping, "Which site answered, and its time."), **problems()},
)
def ping() -> Ping:
    """Answers from the site that was asked, with its time: a clock that is far off shows here."""
    return Ping(site=deployment.site(), region=deployment.region(), server_time=deployment.now())


handler = entry(app)

"""Deactivation: a server gives itself up, and its installation can be activated elsewhere."""

from datetime import datetime

from aws_lambda_powertools import Logger
from pynamodb.transactions import TransactWrite

from licensing import contract, deployment
from licensing.errors import Refused
from licensing.operations import operation, record_in
from licensing.rules.operations import ANYONE, Origin
from licensing.rules.sequence import gave_up, release
from licensing.store import servers, standings, tables
from licensing.store.idempotency import Keep, keep_nothing
from licensing.texts import mark
from licensing.tokens import ServerToken

logger = Logger(child=True)

_UNDER_SUSPICION = mark(
    "This server seems to exist more than once. Decide in the portal which one is to go on, or release it there."
)
_OLDER = mark(
    "This server's state is older than the one we know, as after a lost answer or a restored backup. Validate it first."
)


def deactivate(
    token: ServerToken,
    body: contract.Deactivation,
    now: datetime,
    keep: Keep = keep_nothing,
    by: Origin = ANYONE,
) -> contract.DeactivationAnswer:
    """Release the installation that the token's server holds. Doing it again, or after somebody else did, succeeds too.

    Raises Refused (``CLONE_SUSPECTED``) where the token is that of a copy or of a restored backup: it must not take the
    installation from the server that goes on.
    """
    deployment.require_home_site()
    standing = standings.get(token.customer_id, token.installation_id)
    name = standing.name if standing else ""
    answer = contract.DeactivationAnswer(
        installation={"installation_id": token.installation_id, "name": name},
        server_time=now,
        nonce=body.nonce,
    )

    server = by.as_server(token.installation_id, name)
    told = operation(token.customer_id, server, "server.deactivated", now, token.installation_id, gen=token.gen)

    def attempt() -> contract.DeactivationAnswer:
        state, version = servers.get(token.installation_id)
        if token.gen > state.gen:
            after = gave_up(token.gen, token.seq, now)
        elif token.gen < state.gen or not state.held:
            return answer
        elif state.suspected_at is not None:
            raise Refused("CLONE_SUSPECTED", _UNDER_SUSPICION)
        elif token.seq < state.seq:
            raise Refused("CLONE_SUSPECTED", _OLDER)
        else:
            after = release(state)

        def fill(transaction: TransactWrite) -> None:
            servers.put_in(transaction, token.installation_id, after, version, token.customer_id)
            record_in(transaction, told)
            keep(transaction, answer)

        tables.transact(fill)
        logger.info("deactivated", installation_id=token.installation_id, gen=token.gen)
        return answer

    return tables.unraced(attempt)

"""The demo's people, and the user pool as API Gateway and the outside see it."""

import gzip
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

import jwt
from joserfc import jwt as jose
from moto.backends import get_backend

from infra.local.template import ACCOUNT, REGION

#: Of all demo users. Whoever can reach this stack may read it anyway.
PASSWORD = "a demo password"  # noqa: S105
_ISSUER = f"https://cognito-idp.{REGION}.amazonaws.com"
_TOKEN_SECONDS = 3600


@dataclass(frozen=True)
class DemoUser:
    """Somebody to sign in as; the password is empty for a machine client."""

    username: str
    name: str
    group: str
    organization: str
    password: str

    def as_json(self) -> dict[str, str]:
        """For ``GET /local/users``."""
        return asdict(self)


class UserPool:
    """moto's user pool: makes the demo's users, issues their access tokens, and checks tokens as the gateway does."""

    def __init__(self, outputs: Mapping[str, str]) -> None:
        self._pool_id = outputs["UserPoolId"]
        self._api_client, self._erp_client = outputs["ApiClientId"], outputs["ErpClientId"]
        self.users: list[DemoUser] = []

    def make(self, people: list[dict[str, Any]], organizations: Mapping[str, tuple[str, str]]) -> None:
        """Make users. ``organizations`` has id and name by what the demo file calls them: a tax id, or ``vendor``."""
        # Imported here: table names are read from the environment when these modules are imported.
        from licensing import user_pool
        from licensing.rules.people import User
        from licensing.store import people as store
        from licensing.store import tables

        for person in people:
            organization, named = organizations[person["of"]]
            machine = person.get("machine", False)
            email = "" if machine else person["email"]
            user_id = self._erp_client if machine else user_pool.put_user(email, PASSWORD)
            user = User(user_id, email, person["name"], organization, tuple(person.get("roles", ())))
            tables.transact(lambda transaction, user=user: store.put_in(transaction, user, new=True))  # type: ignore[misc]
            username, password = ("erp", "") if machine else (email, PASSWORD)
            self.users.append(DemoUser(username, user.name, user.kind, named, password))

    def token(self, username: str) -> dict[str, Any] | None:
        """An access token for a demo user, as the token endpoint would answer; None for nobody."""
        user = next((each for each in self.users if each.username == username), None)
        if user is None:
            return None
        if user.password:
            access_token, seconds = self._pool.create_access_token(self._api_client, user.username, "local")
        else:
            now, seconds = int(time.time()), _TOKEN_SECONDS
            claims = {
                "iss": f"{_ISSUER}/{self._pool_id}", "sub": self._erp_client, "client_id": self._erp_client,
                "token_use": "access", "scope": "licensing/api", "iat": now, "exp": now + seconds,
            }  # fmt: skip
            access_token = jose.encode({"alg": "RS256", "kid": "dummy"}, claims, self._pool.json_web_key)
        return {"access_token": access_token, "token_type": "Bearer", "expires_in": seconds}

    def claims(self, authorization: str) -> dict[str, Any] | None:
        """What API Gateway's JWT authorizer reads from the header; None for a token that it refuses."""
        token = authorization.removeprefix("Bearer ").strip()
        try:
            claims: dict[str, Any] = jwt.decode(
                token, _public_key(), algorithms=["RS256"], issuer=f"{_ISSUER}/{self._pool_id}",
                options={"verify_aud": False, "require": ["exp", "iss"]},
            )  # fmt: skip
        except jwt.PyJWTError:
            return None
        return claims if claims.get("client_id") in (self._api_client, self._erp_client) else None

    @property
    def _pool(self) -> Any:
        return get_backend("cognito-idp")[ACCOUNT][REGION].user_pools[self._pool_id]


def _public_key() -> jwt.PyJWK:
    """moto signs the tokens of all pools with one key that comes with it."""
    packed = files("moto.cognitoidp").joinpath("resources/jwks-public.json.gz").read_bytes()
    return jwt.PyJWK(json.loads(gzip.decompress(packed))["keys"][0])

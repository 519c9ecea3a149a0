"""The user pool (Amazon Cognito): passwords are kept and compared there, and nowhere else."""

from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from licensing import deployment
from licensing.errors import PasswordRefused, SignInFailed, TemporarilyUnavailable
from licensing.rules.people import email_key, is_email

#: Characters of a password.
_SHORTEST, _LONGEST = 12, 256


def sign_in(email: str, password: str) -> None:
    """Let only those through whose password this is. Raises SignInFailed, TemporarilyUnavailable."""
    if not is_email(email) or not 0 < len(password) <= _LONGEST:
        raise SignInFailed
    _call(
        "admin_initiate_auth",
        ClientId=deployment.user_pool_client_id(),
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": email_key(email), "PASSWORD": password},
    )


def put_user(email: str, password: str) -> str:
    """Make an account, or give the one that is there this password. Returns its id.

    Raises PasswordRefused, TemporarilyUnavailable.
    """
    check_password(password)
    address = email_key(email)
    attributes = [{"Name": "email", "Value": address}, {"Name": "email_verified", "Value": "true"}]
    with suppress(_Exists):
        _call("admin_create_user", Username=address, UserAttributes=attributes, MessageAction="SUPPRESS")
    set_password(email, password)
    return _id_of(email)


def set_password(email: str, password: str) -> None:
    """Replace a user's password. Raises PasswordRefused, SignInFailed for an unknown user, TemporarilyUnavailable."""
    check_password(password)
    _call("admin_set_user_password", Username=email_key(email), Password=password, Permanent=True)


def sign_out(email: str) -> None:
    """Let no refresh token of this user be good any more; an access token runs on for its hour."""
    _call("admin_user_global_sign_out", Username=email_key(email))


def delete_user(email: str) -> None:
    """Forget an account, if there is one."""
    with suppress(SignInFailed):
        _call("admin_delete_user", Username=email_key(email))


def check_password(password: str) -> None:
    """Refuse what the user pool would, by its policy (infra/users.yaml). Raises PasswordRefused."""
    if not _SHORTEST <= len(password) <= _LONGEST:
        raise PasswordRefused


def _id_of(email: str) -> str:
    attributes = _call("admin_get_user", Username=email_key(email))["UserAttributes"]
    return str(next(each["Value"] for each in attributes if each["Name"] == "sub"))


class _Exists(Exception):
    """Raised when an account is there already."""


def _call(operation: str, **parameters: Any) -> Any:
    client = deployment.aws_client("cognito-idp")
    try:
        return getattr(client, operation)(UserPoolId=deployment.user_pool_id(), **parameters)
    except ClientError as error:
        match error.response["Error"]["Code"]:
            case "NotAuthorizedException" | "UserNotFoundException" | "UserNotConfirmedException":
                raise SignInFailed from error
            case "InvalidPasswordException":
                raise PasswordRefused from error
            case "UsernameExistsException":
                raise _Exists from error
        raise TemporarilyUnavailable from error
    except BotoCoreError as error:
        raise TemporarilyUnavailable from error

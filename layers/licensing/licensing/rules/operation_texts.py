"""Operations in words: what each action of the log is called. Marked here, said in the reader's language."""

from collections.abc import Mapping

from licensing.rules.operations import ActorKind
from licensing.texts import mark

#: From an action to what happened. One that is not here is shown as it is.
ACTIONS: Mapping[str, str] = {
    "server.activated": mark("Server activated"),
    "server.activated_offline": mark("Server activated offline"),
    "server.activation_refused": mark("Activation refused"),
    "server.validated": mark("Server validated"),
    "server.refused": mark("Validation refused"),
    "server.proof_refused": mark("Server token without its proof"),
    "server.healed": mark("Server got its token anew"),
    "server.fingerprint_changed": mark("Server's hardware changed"),
    "server.clone_suspected": mark("Clone suspected"),
    "server.deactivated": mark("Server deactivated"),
    "server.deactivated_offline": mark("Server deactivated offline"),
    "clone.settled": mark("Clone decided"),
    "installation.created": mark("Server added"),
    "installation.changed": mark("Server changed"),
    "installation.deleted": mark("Server deleted"),
    "installation.disabled": mark("Server disabled"),
    "installation.enabled": mark("Server enabled"),
    "installation.released": mark("Server released"),
    "token.rotated": mark("Activation token replaced"),
    "allocations.changed": mark("Quantities assigned"),
    "window.opened": mark("Activation window opened"),
    "window.closed": mark("Activation window closed"),
    "customer.created": mark("Customer created"),
    "customer.changed": mark("Customer changed"),
    "customer.requested": mark("Management by a reseller requested"),
    "customer.deleted": mark("Customer deleted"),
    "customer.restored": mark("Customer restored"),
    "person.invited": mark("Person invited"),
    "person.uninvited": mark("Invitation withdrawn"),
    "person.joined": mark("Person registered"),
    "person.roles_changed": mark("Person's roles changed"),
    "person.password_changed": mark("Password changed"),
    "person.removed": mark("Person removed"),
    "order.received": mark("Order received"),
    "order.resent": mark("Order's e-mail sent again"),
    "order.forwarded": mark("Order forwarded"),
    "order.unlocked": mark("Order unlocked"),
    "order.cancelled": mark("Order cancelled"),
    "order.unlock_refused": mark("Wrong order number entered"),
    "key.issued": mark("Activation key issued"),
    "key.imported": mark("Activation key imported"),
    "key.import_refused": mark("Activation key refused"),
    "key.renewed": mark("Activation key renewed"),
    "company.created": mark("Company added"),
    "company.renamed": mark("Company renamed"),
    "company.removed": mark("Company removed"),
    "seat.closed": mark("Seat given back"),
    "seat.borrowed": mark("Seat borrowed"),
    "seat.returned": mark("Borrowed seat given back early"),
    "seat.denied": mark("Seat denied"),
    "seat.released": mark("Seat released"),
    "peak.reset": mark("Peak use reset"),
    "pool.lease_time_changed": mark("Lease time of seats changed"),
    "support.began": mark("Support access began"),
    "support.ended": mark("Support access ended"),
    "reseller.created": mark("Reseller added"),
    "reseller.changed": mark("Reseller changed"),
    "vendor.changed": mark("Settings changed"),
    "catalogue.changed": mark("Catalogue changed"),
    "signing_key.published": mark("Signing key published"),
    "signing_key.switched": mark("Signing key begins to sign"),
    "signing_key.withdrawn": mark("Signing key withdrawn"),
    "signing_key.revoked": mark("Signing key revoked"),
    "webhook.created": mark("Webhook added"),
    "webhook.secret_rotated": mark("Webhook's secret replaced"),
    "webhook.tested": mark("Webhook tested"),
    "webhook.deleted": mark("Webhook deleted"),
    "alert.raised": mark("Alert to be sent"),
    "alert.preferences_changed": mark("Alert preferences changed"),
    "log.retention_changed": mark("Retention of the log changed"),
    "log.cut": mark("Old operations deleted"),
    "log.personal_data_erased": mark("Personal data erased from the log"),
}

#: What is in no customer's log but in the vendor's own or a reseller's, and what may be in each.
_OF_THE_VENDOR = ("reseller.", "vendor.", "webhook.", "catalogue.", "signing_key.")
_OF_BOTH = ("person.", "alert.", "log.")
CUSTOMER_ACTIONS: Mapping[str, str] = {
    action: text for action, text in ACTIONS.items() if not action.startswith(_OF_THE_VENDOR)
}
OWN_ACTIONS: Mapping[str, str] = {
    action: text
    for action, text in ACTIONS.items()
    if action.startswith((*_OF_THE_VENDOR, *_OF_BOTH)) and action != "log.retention_changed"
}

ACTORS: Mapping[ActorKind, str] = {
    "server": mark("server"),
    "customer": mark("customer"),
    "reseller": mark("reseller"),
    "vendor": mark("vendor"),
    "schedule": mark("schedule"),
    "anyone": mark("not known"),
}

#: From the name of a detail to what people call it. One that is not here is shown as it is.
DETAILS: Mapping[str, str] = {
    "day": mark("day"),
    "entries": mark("operations"),
    "sealed": mark("operations when it was sealed"),
    "unsubscribed": mark("does without"),
    "kind": mark("kind"),
    "of": mark("concerns"),
    "threshold": mark("threshold in days"),
    "passed_over": mark("passed over"),
    "recipients": mark("recipients"),
    "days": mark("days kept"),
    "days_before": mark("days kept before"),
    "announced_before": mark("announced before"),
    "holds_from": mark("holds from"),
    "name": mark("name"),
    "hostname": mark("host name"),
    "number": mark("number"),
    "roles": mark("roles"),
    "until": mark("until"),
    "since": mark("since"),
    "changes": mark("changes"),
    "changed": mark("changed"),
    "reason": mark("reason"),
    "last_day": mark("last day"),
    "companies": mark("companies"),
    "peak": mark("peak"),
}

#: What alerts are about, by the ``kind`` of ``alert.raised``.
KINDS: Mapping[str, str] = {
    "license": mark("license"),
    "trial": mark("trial"),
    "care": mark("support plan"),
    "activation_key": mark("activation key"),
    "offline_license": mark("offline license"),
    "silence": mark("silent server"),
    "signing_key": mark("signing key"),
}

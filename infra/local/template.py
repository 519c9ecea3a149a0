"""Reads CloudFormation templates: intrinsic functions, conditions, and the functions with what triggers them."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

#: Where the local deployment pretends to be. Site 2 is the same deployment in the other region.
ACCOUNT = "123456789012"
REGION = "eu-south-1"
BACKUP_REGION = "eu-central-1"

_PSEUDO_PARAMETERS: Mapping[str, Any] = {
    "AWS::AccountId": ACCOUNT,
    "AWS::NoValue": None,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "local",
    "AWS::URLSuffix": "amazonaws.com",
}
_PLACEHOLDER = re.compile(r"\$\{([\w:.]+)\}")


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _long_form(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    match node:
        case yaml.MappingNode():
            argument: Any = loader.construct_mapping(node, deep=True)
        case yaml.SequenceNode():
            argument = loader.construct_sequence(node, deep=True)
        case yaml.ScalarNode():
            argument = loader.construct_scalar(node)
            if name == "GetAtt":
                argument = str(argument).split(".", 1)
        case _:
            raise TypeError(node)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": argument}


_Loader.add_multi_constructor("!", _long_form)


def read(path: Path) -> dict[str, Any]:
    """A template as plain data; ``!Sub x`` reads as ``{"Fn::Sub": "x"}`` and so on."""
    document: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    return document


class Resolver:
    """Works out the intrinsic functions of one template.

    ``reference`` and ``attribute`` are asked for resources: the value of ``Ref``, and of ``Fn::GetAtt``.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        parameters: Mapping[str, Any],
        *,
        reference: Callable[[str], Any],
        attribute: Callable[[str, str], Any],
    ) -> None:
        defaults = {name: each["Default"] for name, each in document.get("Parameters", {}).items() if "Default" in each}
        self._values = {**_PSEUDO_PARAMETERS, **defaults, **parameters}
        self._conditions: Mapping[str, Any] = document.get("Conditions", {})
        self._reference = reference
        self._attribute = attribute

    def resolve(self, node: Any) -> Any:
        """``node`` with every intrinsic function replaced by its value; ``AWS::NoValue`` leaves nothing behind."""
        if isinstance(node, list):
            return [value for each in node if (value := self.resolve(each)) is not None]
        if not isinstance(node, Mapping):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            match name:
                case "Ref":
                    return self._ref(argument)
                case "Fn::GetAtt":
                    resource, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
                    return self._attribute(resource, attribute)
                case "Fn::Sub":
                    return _PLACEHOLDER.sub(lambda match: str(self._named(match[1])), argument)
                case "Fn::Join":
                    return argument[0].join(str(each) for each in self.resolve(argument[1]))
                case "Fn::If":
                    condition, then, otherwise = argument
                    return self.resolve(then if self.holds(condition) else otherwise)
            if name.startswith("Fn::"):
                raise ValueError(f"infra/local does not know {name}; teach template.py")
        return {name: value for name, each in node.items() if (value := self.resolve(each)) is not None}

    def holds(self, condition: str | None) -> bool:
        """Whether a named condition is met; no condition always is."""
        return condition is None or self._decide(self._conditions[condition])

    def _decide(self, node: Mapping[str, Any]) -> bool:
        ((name, argument),) = node.items()
        match name:
            case "Condition":
                return self.holds(argument)
            case "Fn::Equals":
                left, right = (self.resolve(each) for each in argument)
                return bool(left == right)
            case "Fn::Not":
                return not self._decide(argument[0])
            case "Fn::And":
                return all(self._decide(each) for each in argument)
            case "Fn::Or":
                return any(self._decide(each) for each in argument)
        raise ValueError(f"infra/local does not know the condition {name}; teach template.py")

    def _ref(self, name: str) -> Any:
        return self._values[name] if name in self._values else self._reference(name)

    def _named(self, name: str) -> Any:
        resource, dot, attribute = name.partition(".")
        return self._attribute(resource, attribute) if dot else self._ref(name)


@dataclass(frozen=True)
class Trigger:
    """One event of a function: its SAM type (``HttpApi``, ``SQS``, ``ScheduleV2``…) and resolved properties."""

    name: str
    type: str
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Function:
    """One function as the template describes it. ``timeout`` is in seconds, ``memory`` in MB."""

    name: str
    handler: str
    timeout: int
    memory: int
    environment: Mapping[str, str]
    triggers: tuple[Trigger, ...] = ()
    statements: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


def functions(document: Mapping[str, Any], resolver: Resolver) -> Iterator[Function]:
    """The functions of a template, with what ``Globals`` says about all of them."""
    common = document.get("Globals", {}).get("Function", {})
    for name, resource in document["Resources"].items():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        own = resource["Properties"]
        variables = {
            **common.get("Environment", {}).get("Variables", {}),
            **own.get("Environment", {}).get("Variables", {}),
        }
        triggers = (
            Trigger(event, each["Type"], resolver.resolve(each["Properties"]))
            for event, each in own.get("Events", {}).items()
        )
        yield Function(
            name=name,
            handler=own["Handler"],
            timeout=own.get("Timeout", common.get("Timeout", 3)),
            memory=own.get("MemorySize", common.get("MemorySize", 128)),
            environment={key: str(resolver.resolve(value)) for key, value in variables.items()},
            triggers=tuple(triggers),
            statements=tuple(
                found for each in statements(document, resource) if (found := resolver.resolve(each)) is not None
            ),
        )


def statements(document: Mapping[str, Any], function: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a function may do: the policy statements beside it, or those of the role that it names (unresolved)."""
    for policy in function["Properties"].get("Policies", []):
        yield from policy["Statement"]
    role = function["Properties"].get("Role")
    if role is not None:
        properties = document["Resources"][role["Fn::GetAtt"][0]]["Properties"]
        for policy in properties["Policies"]:
            yield from policy["PolicyDocument"]["Statement"]

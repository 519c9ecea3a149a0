"""Templates are read as CloudFormation would."""

from pathlib import Path
from typing import Any

import pytest

from infra.local.template import Resolver, functions, read


def resolver(document: dict[str, Any] | None = None, **parameters: str) -> Resolver:
    return Resolver(
        document or {},
        parameters,
        reference=lambda name: f"ref-{name}",
        attribute=lambda name, attribute: f"{name}/{attribute}",
    )


@pytest.mark.parametrize(
    ("node", "value"),
    [
        ("plain", "plain"),
        ({"Ref": "Queue"}, "ref-Queue"),
        ({"Ref": "Given"}, "given"),
        ({"Ref": "AWS::Region"}, "eu-south-1"),
        ({"Fn::GetAtt": ["Data", "Outputs.Table"]}, "Data/Outputs.Table"),
        ({"Fn::GetAtt": "Queue.Arn"}, "Queue/Arn"),
        ({"Fn::Sub": "${Given}-${Queue}-${Queue.Arn}"}, "given-ref-Queue-Queue/Arn"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Given"}]]}, "a-given"),
        ({"Fn::If": ["IsGiven", 1, 2]}, 1),
        ({"Fn::If": ["IsOther", 1, 2]}, 2),
        ([{"Ref": "AWS::NoValue"}, "kept"], ["kept"]),
        ({"gone": {"Ref": "AWS::NoValue"}, "kept": 1}, {"kept": 1}),
    ],
)
def test_intrinsic_functions_are_resolved(node: Any, value: Any) -> None:
    conditions = {
        "IsGiven": {"Fn::Equals": [{"Ref": "Given"}, "given"]},
        "IsOther": {"Fn::And": [{"Condition": "IsGiven"}, {"Fn::Not": [{"Condition": "IsGiven"}]}]},
    }
    assert resolver({"Conditions": conditions}, Given="given").resolve(node) == value


def test_a_parameter_not_given_has_its_default() -> None:
    assert resolver({"Parameters": {"Site": {"Type": "String", "Default": "primary"}}}).resolve({"Ref": "Site"}) == (
        "primary"
    )


def test_an_unknown_intrinsic_function_is_an_error() -> None:
    with pytest.raises(ValueError, match="Fn::Cidr"):
        resolver().resolve({"Fn::Cidr": ["10.0.0.0/8", 1]})


def test_a_function_has_the_globals_its_own_settings_and_its_role_s_statements(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(
        """
        Globals: {Function: {Timeout: 7, MemorySize: 512, Environment: {Variables: {A: "1", B: "2"}}}}
        Resources:
          Plain:
            Type: AWS::Serverless::Function
            Properties:
              Handler: functions.plain.handler.handler
              Timeout: 9
              Environment: {Variables: {B: !Ref Queue}}
              Policies: [{Statement: [{Effect: Allow, Action: "sqs:SendMessage", Resource: !GetAtt Queue.Arn}]}]
              Events: {Get: {Type: HttpApi, Properties: {Method: GET, Path: /x}}}
          WithRole:
            Type: AWS::Serverless::Function
            Properties: {Handler: functions.other.handler.handler, Role: !GetAtt OtherRole.Arn}
          OtherRole:
            Type: AWS::IAM::Role
            Properties: {Policies: [{PolicyDocument: {Statement: [{Effect: Allow, Action: a, Resource: b}]}}]}
        """
    )
    plain, other = functions(read(tmp_path / "template.yaml"), resolver())
    assert (plain.timeout, plain.memory, plain.environment) == (9, 512, {"A": "1", "B": "ref-Queue"})
    assert plain.triggers[0].properties == {"Method": "GET", "Path": "/x"}
    assert plain.statements[0]["Resource"] == "Queue/Arn"
    assert other.timeout == 7
    assert other.statements == ({"Effect": "Allow", "Action": "a", "Resource": "b"},)

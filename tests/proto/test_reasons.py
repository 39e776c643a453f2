"""Why calls fail: the table is total and each reason comes with a status a client can act on."""

import grpc
import pytest

from pruning_proto.reasons import DOMAIN, TABLE, Family, Reason, StatusCode


def test_every_reason_has_its_row_and_no_row_is_left_over() -> None:
    assert set(TABLE) == set(Reason)


def test_every_reason_reads_as_its_name() -> None:
    assert [reason.value for reason in Reason] == [reason.name for reason in Reason]


def test_every_family_has_a_reason() -> None:
    assert {row.family for row in TABLE.values()} == set(Family)


@pytest.mark.parametrize("family", [Family.RECIPE, Family.CHECKPOINT, Family.MISMATCH], ids=lambda family: family.name)
def test_faults_of_the_request_are_invalid_arguments(family: Family) -> None:
    assert {row.code for row in TABLE.values() if row.family is family} == {StatusCode.INVALID_ARGUMENT}


def test_faults_of_capacity_are_exhausted_resources() -> None:
    assert {row.code for row in TABLE.values() if row.family is Family.CAPACITY} == {StatusCode.RESOURCE_EXHAUSTED}


def test_no_reason_comes_with_ok() -> None:
    assert StatusCode.OK not in {row.code for row in TABLE.values()}


def test_statuses_are_those_of_grpc() -> None:
    assert {code.name: code.value for code in StatusCode} == {code.name: code.value[0] for code in grpc.StatusCode}


def test_domain_is_the_protobuf_package() -> None:
    assert DOMAIN == "pruning.v1"

"""The contract's tests: a connector's own test module subclasses `ContractTests` and is done."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

import anyio
import pytest

from lifecyclehub.connector import Connector
from lifecyclehub.testing import actions, defaults, deliveries, description, records, vendor_spec
from lifecyclehub.testing.fixtures import DeliveryCase
from lifecyclehub.testing.vendor_spec import VendorSpec

FOLDERS = {"delivery_file": "deliveries", "record_file": "records", "response_file": "responses"}


def files_in(fixtures: Path, parameter: str) -> list[Path]:
    """Give the fixtures of one sort, in the order of their names."""
    return sorted((fixtures / FOLDERS[parameter]).glob("*.json"))


def none_of(problems: list[str]) -> None:
    """Fail with every problem on its own line."""
    if problems:
        pytest.fail("\n".join(["", *(f"- {problem}" for problem in problems)]), pytrace=False)


class ContractTests:
    """Proves one connector: see docs/vendors/contract-kit.md for the fixtures and for what is proven.

    `connector` is an instance, `fixtures` the folder with `deliveries`, `records` and `responses`.
    """

    connector: ClassVar[Connector]
    fixtures: ClassVar[Path]
    root: ClassVar[Path | None] = None
    spec: ClassVar[VendorSpec | None] = None
    spec_exceptions: ClassVar[Mapping[str, str]] = {}
    allowed_imports: ClassVar[tuple[str, ...]] = ("pydantic",)

    @classmethod
    def _root(cls) -> Path:
        return cls.root or cls.fixtures.parent.parent

    @classmethod
    def _says_done(cls, rule: str) -> bool:
        return bool(description.read_quality(cls._root()).get(rule, {}).get("state") == "done")

    def _cases(self) -> list[DeliveryCase]:
        return [DeliveryCase.read(path) for path in files_in(self.fixtures, "delivery_file")]

    # --- what it says about itself ---------------------------------------------------------------------------------

    def test_the_description_is_whole_and_fits_the_roles(self) -> None:
        none_of(description.description_problems(self.connector))

    def test_the_connector_keeps_no_state(self) -> None:
        none_of(description.state_problems(self.connector))

    def test_the_package_imports_only_the_words_and_the_contract(self) -> None:
        module = sys.modules[type(self.connector).__module__]
        assert module.__file__, "the connector's module has no file"
        file, depth = Path(module.__file__), (module.__package__ or "").count(".")
        none_of(description.import_problems(file.parents[depth], self.allowed_imports))

    def test_the_readme_has_the_fixed_headings_and_names_every_action(self) -> None:
        none_of(description.readme_problems(self.connector, self._root()))

    def test_the_quality_file_says_where_every_rule_stands(self) -> None:
        none_of(description.quality_problems(self._root()))

    # --- what comes in ---------------------------------------------------------------------------------------------

    def test_a_capture_verifies_and_no_changed_one_does(self, delivery_file: Path) -> None:
        none_of(deliveries.signature_problems(self.connector, DeliveryCase.read(delivery_file)))

    def test_a_capture_gives_exactly_its_notices(self, delivery_file: Path) -> None:
        case = DeliveryCase.read(delivery_file)
        if case.handshake or case.refused:
            return  # the core answers these; nothing of them is read
        none_of(deliveries.notice_problems(self.connector, case))

    def test_a_payload_that_drifted_does_no_harm(self, delivery_file: Path) -> None:
        none_of(deliveries.drift_problems(self.connector, DeliveryCase.read(delivery_file)))

    def test_every_door_has_a_signed_capture_when_quality_says_so(self) -> None:
        if self._says_done("signatures"):
            shown = {case.door for case in self._cases() if not case.handshake and not case.refused}
            none_of([f"no capture of the door {door.name!r}" for door in self.connector.about.doors if door.name not in shown])

    def test_a_capture_of_an_unknown_kind_is_there_when_quality_says_so(self) -> None:
        if self._says_done("unknown-kinds") and self.connector.about.doors:
            kinds = {notice.get("kind") for case in self._cases() for notice in case.notices}
            assert any(kind and self.connector.about.kind(kind) is None for kind in kinds), "no capture of an unknown kind"

    # --- records ---------------------------------------------------------------------------------------------------

    def test_a_record_is_fetched_and_mapped_as_shown(self, record_file: Path) -> None:
        none_of(run(records.record_problems, self.connector, record_file))

    def test_every_record_kind_is_shown_when_quality_says_so(self) -> None:
        if self._says_done("records"):
            found = [records.load_record(path) for path in files_in(self.fixtures, "record_file")]
            shown = {one["kind"] for one in found if "values" in one}
            shown |= {name.partition(":")[0] for one in found for name in one.get("related_values", {})}
            kinds = [kind.id for kind in self.connector.about.kinds if kind.fills and kind.id not in shown]
            none_of([f"no record fixture with values of {kind}" for kind in kinds])

    def test_everything_has_a_default_mapping_when_quality_says_so(self) -> None:
        if self._says_done("mappings"):
            none_of(defaults.mapping_coverage_problems(self.connector))

    # --- actions ---------------------------------------------------------------------------------------------------

    def test_an_action_renders_the_request_as_shown(self, response_file: Path) -> None:
        none_of(actions.render_problems(self.connector, response_file))

    def test_an_action_does_it_once_as_declared(self, response_file: Path) -> None:
        none_of(actions.once_problems(self.connector, response_file))

    def test_an_action_judges_replies_as_shown_and_never_unsafely(self, response_file: Path) -> None:
        none_of(actions.judge_problems(self.connector, response_file))

    def test_an_action_is_looked_up_as_shown_and_never_absent_by_failure(self, response_file: Path) -> None:
        none_of(run(actions.lookup_problems, self.connector, response_file))

    def test_every_action_is_shown_done_and_refused_when_quality_says_so(self) -> None:
        if self._says_done("actions"):
            none_of(actions.action_coverage_problems(self.connector, files_in(self.fixtures, "response_file")))

    def test_every_look_up_is_shown_when_quality_says_so(self) -> None:
        if self._says_done("find"):
            none_of(actions.find_coverage_problems(self.connector, files_in(self.fixtures, "response_file")))

    # --- the vendor's own description ------------------------------------------------------------------------------

    def test_requests_and_replies_fit_the_vendors_own_description(self) -> None:
        if self.spec is None:
            return
        checker = self.spec.checker()
        if checker is None:
            pytest.skip(f"{vendor_spec.ENVIRONMENT} names no folder with {self.spec.file}")
        problems = run(
            vendor_spec.spec_problems,
            self.spec,
            checker,
            self.connector,
            files_in(self.fixtures, "record_file"),
            files_in(self.fixtures, "response_file"),
        )
        none_of(list(vendor_spec.not_excepted(problems, self.spec_exceptions)))


def run(function: Callable[..., Awaitable[list[str]]], *arguments: object) -> list[str]:
    """Run an asynchronous check to its end."""
    return anyio.run(partial(function, *arguments))

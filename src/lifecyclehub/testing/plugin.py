"""The pytest plugin: gives the contract's tests one run per fixture file."""

from __future__ import annotations

import pytest

PARAMETERS = ("delivery_file", "record_file", "response_file")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a contract test once per file of the folder that its parameter names."""
    wanted = [name for name in PARAMETERS if name in metafunc.fixturenames]
    if not wanted or metafunc.cls is None:
        return
    from lifecyclehub.testing.contract import ContractTests, files_in

    if issubclass(metafunc.cls, ContractTests):
        for name in wanted:
            files = files_in(metafunc.cls.fixtures, name)
            metafunc.parametrize(name, [pytest.param(file, id=file.stem) for file in files])

"""Which hosts and addresses may be called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecyclehub.connector import Host, Setting
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.vendor.guard import AddressRefused, SsrfGuard
from lifecyclehub.vendor.target import Target
from tests.support.reach import BEARER, about

PUBLIC = SsrfGuard(private=False)
PRIVATE = SsrfGuard(private=True)

METADATA = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",  # NAT64
    "64:ff9b:1::a9fe:a9fe",  # NAT64 with a prefix of the network's own (RFC 8215)
    "2002:a9fe:a9fe::",  # 6to4
    "::169.254.169.254",
    "169.254.170.2",
    "fd00:ec2::254",
    "fe80::1",
    "100.100.100.200",
    "168.63.129.16",
]
SENSELESS = ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "fe80::1%eth0", "::1%lo", "::ffff:0.0.0.0"]  # noqa: S104 (refused, not bound)
AT_HOME = [
    "127.0.0.1",
    "127.8.8.8",
    "::1",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",  # shared address space: neither private nor global
    "fc00::1",
    "fec0::1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:7f00:1::",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "240.0.0.1",
    "255.255.255.255",
    "192.88.99.1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "100::1",
    "4000::1",
]
OUTSIDE = ["93.184.215.14", "8.8.8.8", "2001:4860:4860::8888", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", METADATA + SENSELESS)
@pytest.mark.parametrize("guard", [PUBLIC, PRIVATE], ids=["public", "self-hosted"])
def test_metadata_and_senseless_addresses_are_never_called(guard: SsrfGuard, address: str) -> None:
    with pytest.raises(AddressRefused):
        guard.check_address(address)


@pytest.mark.parametrize("address", AT_HOME)
def test_an_address_that_is_not_public_is_called_only_for_a_self_hosted_tool(address: str) -> None:
    with pytest.raises(AddressRefused, match="not public"):
        PUBLIC.check_address(address)
    PRIVATE.check_address(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_is_called(address: str) -> None:
    PUBLIC.check_address(address)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "017700000001",
        "127.1",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::1]",
        "[fe80::1%25eth0]",
        "10.0.0.1",
        "user@host",
        "a b",
        "a/b",
        "",
        ".",
        "a..b",
        "-a.example",
        "example。com",
        "exämple.com",
        "a" * 64 + ".com",
    ],
)
def test_a_host_in_disguise_is_refused(host: str) -> None:
    with pytest.raises(AddressRefused):
        PUBLIC.check_host(host)


@pytest.mark.parametrize(
    "host", ["api.papaya.example", "a_b.example.", "8.8.8.8", "xn--exmple-cua.com", "3com.example", "host-1"]
)
def test_a_plain_host_is_judged_by_its_addresses(host: str) -> None:
    PUBLIC.check_host(host)


@pytest.mark.anyio
async def test_one_bad_address_of_a_name_refuses_all() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return ["93.184.215.14", "10.0.0.5"]

    with pytest.raises(AddressRefused, match=r"api\.papaya\.example \(10\.0\.0\.5\)"):
        await SsrfGuard(private=False, lookup=lookup).resolve("api.papaya.example", 443)


@pytest.mark.anyio
async def test_the_machines_own_resolver_is_asked() -> None:
    assert "127.0.0.1" in await PRIVATE.resolve("localhost", 80) or "::1" in await PRIVATE.resolve("localhost", 80)
    with pytest.raises(AddressRefused):
        await PUBLIC.resolve("localhost", 80)


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_alike_in_all_its_spellings(address: object) -> None:
    def verdict(text: str) -> bool:
        try:
            PUBLIC.check_address(text)
        except AddressRefused:
            return False
        return True

    number = int(address)  # type: ignore[call-overload]
    nat64 = f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}"
    assert verdict(str(address)) == verdict(f"::ffff:{address}") == verdict(nat64)


ZEN = (Host(name="api", base="https://{subdomain}.papaya.example/api"),)
SUBDOMAIN = (Setting(name="subdomain", label="Subdomain", required=True, help="The first part of your address."),)
OWN = (Host(name="api", base="{address}"),)
ADDRESS = (Setting(name="address", label="Address", required=True),)


def reach(
    settings: dict[str, str], *, self_hosted: bool = False, hosts: tuple[Host, ...] = ZEN, asked: tuple[Setting, ...] = SUBDOMAIN
) -> str:
    tool = about(hosts=hosts, settings=asked)
    made = Target.of(connection="c", about=tool, auth=BEARER, grant="g", settings=settings, self_hosted=self_hosted)
    return made.base("api")


def test_a_setting_fills_the_address() -> None:
    assert reach({"subdomain": "acme"}) == "https://acme.papaya.example/api"


@pytest.mark.parametrize(
    "value", ["evil.example/", "evil.example#", "a@evil.example", "evil.example:443/", "a?b", "", "a\\b", "-"]
)
def test_a_setting_cannot_lead_to_another_host(value: str) -> None:
    with pytest.raises(ConfigurationError):
        reach({"subdomain": value})


def test_a_missing_setting_is_named_with_its_help() -> None:
    with pytest.raises(
        ConfigurationError, match=r"connection c: the setting subdomain \(Subdomain\) is missing\. The first part"
    ):
        reach({})


def test_a_setting_must_match_its_pattern() -> None:
    asked = (Setting(name="subdomain", label="Subdomain", pattern="[a-z]+"),)
    with pytest.raises(ConfigurationError, match="must match"):
        reach({"subdomain": "ac-me"}, asked=asked)


@pytest.mark.parametrize(
    "address",
    [
        "http://tool.example",
        "ftp://tool.example",
        "tool.example",
        "https://",
        "https://u:p@tool.example",
        "https://tool.example/?a=b",
        "https://tool.example/#a",
        "https://tool.example:99999",
        "https://tool.example\\@evil.example",
        "https://127.0.0.1",
        "https://[::1]/",
        "https://2130706433/",
        "https://tool.example/a b",
        "javascript:alert(1)",
    ],
)
def test_an_address_that_is_not_plain_public_https_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError):
        reach({"address": address}, hosts=OWN, asked=ADDRESS)
    with pytest.raises(ConfigurationError):
        reach({"subdomain": "acme", "base_url.api": address})


def test_a_self_hosted_tool_may_be_at_home_but_not_at_a_metadata_service() -> None:
    assert reach({"address": "http://192.168.1.5:8069/"}, hosts=OWN, asked=ADDRESS, self_hosted=True) == "http://192.168.1.5:8069"
    with pytest.raises(AddressRefused):
        reach({"address": "http://169.254.169.254/"}, hosts=OWN, asked=ADDRESS, self_hosted=True)


def test_an_operator_may_put_another_base_address_in_place() -> None:
    assert reach({"subdomain": "acme", "base_url.api": "http://127.0.0.1:9/x"}, self_hosted=True) == "http://127.0.0.1:9/x"

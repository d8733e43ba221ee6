"""`python -m lifecyclehub.testing sign MODULE:CONNECTOR FILE...`: write the signatures into delivery fixtures."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from lifecyclehub.connector import Connector, Door, Timestamp
from lifecyclehub.signatures import sign
from lifecyclehub.testing.deliveries import door_of
from lifecyclehub.testing.fixtures import DeliveryCase

_encoder = msgspec.json.Encoder(decimal_format="number")


def stamp_of(spec: Timestamp, moment: datetime) -> str:
    """Write a time as the door's timestamp states it."""
    if spec.unit == "iso":
        return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    return str(int(moment.timestamp() * (1000 if spec.unit == "ms" else 1)))


def signed_headers(door: Door, case: DeliveryCase) -> dict[str, str]:
    """Give the headers that the vendor would add to a capture."""
    signature, spec, headers = door.signature, door.signature.timestamp, {}
    stamp = ""
    if spec is not None:
        stamp = stamp_of(spec, case.received_at) if spec.member else case.headers.get(spec.header.lower(), "")
        if not stamp:
            stamp = stamp_of(spec, case.received_at)
        if spec.member is None:
            headers[spec.header.lower()] = stamp
    value = sign(signature, case.secret, method=case.method, url=case.url, body=case.body, stamp=stamp)
    if signature.member:
        value = f"{signature.member}={value}"
        if spec is not None and spec.member:
            value = f"{spec.member}={stamp},{value}"
    return {**headers, signature.header.lower(): value}


def sign_file(connector: Connector, path: Path) -> bool:
    """Write the signature into a fixture; False when it is one that carries none of ours."""
    case = DeliveryCase.read(path)
    if case.handshake or case.refused:
        return False
    found: dict[str, Any] = json.loads(path.read_text("utf-8"), parse_float=Decimal)
    added = signed_headers(door_of(connector, case), case)
    kept = {name: value for name, value in found.get("headers", {}).items() if name.lower() not in added}
    found["headers"] = {**kept, **added}
    path.write_bytes(msgspec.json.format(_encoder.encode(found), indent=2) + b"\n")
    return True


def main(arguments: Sequence[str]) -> int:
    """Sign the files given."""
    if len(arguments) < 3 or arguments[0] != "sign" or ":" not in arguments[1]:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    module, _, name = arguments[1].partition(":")
    connector = getattr(importlib.import_module(module), name)
    connector = connector() if isinstance(connector, type) else connector
    for file in arguments[2:]:
        sys.stdout.write(f"{file}: {'signed' if sign_file(connector, Path(file)) else 'left alone'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

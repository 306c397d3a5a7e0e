"""Reads forms that hold files, as the SDKs upload them."""

from __future__ import annotations

import email
import email.policy

from tests.fakes.wire import HttpRequest


def is_form(http: HttpRequest) -> bool:
    """Say whether a request's body is one."""
    return http.headers.get("content-type", "").startswith("multipart/form-data")


def read_form(http: HttpRequest) -> dict[str, bytes]:
    """Return the fields of a form: name → content."""
    head = f"content-type: {http.headers['content-type']}\r\n\r\n".encode()
    form = email.message_from_bytes(head + http.body, policy=email.policy.HTTP)
    fields: dict[str, bytes] = {}
    for part in form.walk():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            fields[str(name)] = content
    return fields

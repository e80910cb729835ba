"""desired.proto: nothing can be stated that nobody reads (OBJECTS: a field enters when something acts on it)."""
import re

import desired_pb2
import options_pb2
from harness.paths import TREE

PEOPLE = {"description"}  # shown by mailctl, acted on by nobody


def kinds(*classes):
    body = desired_pb2.Object.DESCRIPTOR.oneofs_by_name["body"]
    for field in body.fields:
        if getattr(field.message_type.GetOptions().Extensions[options_pb2.kind], "class") in classes:
            yield field.name, field.message_type


def test_every_field_has_a_reader():
    """Of what becomes rows or is read by the controller.  (Configuration is handed on whole: test_16_state.)"""
    code = "".join(path.read_text() for folder in ("mailnode", "controller", "agent") for path in (TREE / folder).rglob("*.c")
                   if "cli" not in path.parts)
    unread = [f"{kind}.{field.name}" for kind, message in kinds(options_pb2.TABLE, options_pb2.TASK) for field in message.fields
              if field.name not in PEOPLE and not re.search(rf"(->|\.)(has_)?{field.name}\b", code)]
    assert not unread

#!/usr/bin/env python3
"""Writes meta.c: what the options and comments of desired.proto say, which protobuf-c drops.

    PYTHONPATH=BUILD/python python3 meta.py BUILD/desired.desc BUILD/meta.c

desired.desc is protoc's descriptor set with --include_source_info --include_imports.
"""
import sys

from google.protobuf import descriptor_pb2
import options_pb2

MESSAGE, FIELD = 4, 2  # numbers in descriptor.proto, of which a location's path is made


def quoted(text):
    """A C string literal, or NULL where there is nothing to say."""
    if not text:
        return "NULL"
    out = "".join(c if 32 <= ord(c) < 127 and c not in '"\\?' else "".join(f"\\{b:03o}" for b in c.encode()) for c in text)
    return f'"{out}"'


def comments(file):
    return {tuple(where.path): " ".join(where.leading_comments.split())
            for where in file.source_code_info.location if where.leading_comments}


def constant(enum, value):
    """MAIL__FIELD_TYPE__YES_NO, as protoc-c names it."""
    words = "".join("_" + c if c.isupper() and i else c for i, c in enumerate(enum.DESCRIPTOR.name))
    return f"MAIL__{words.upper()}__{enum.Name(value)}"


def field_row(field, words):
    meta = field.options.Extensions[options_pb2.meta]
    rows = [f".name = {quoted(field.name)}", f".type = {constant(options_pb2.FieldType, meta.type)}"]
    if field.label == field.LABEL_REPEATED:
        rows.append(".list = true")
    for text in ("unit", "zero", "unset", "reference", "since"):
        if getattr(meta, text):
            rows.append(f".{text} = {quoted(getattr(meta, text))}")
    for number in ("min", "max"):
        if getattr(meta, number):
            rows.append(f".{number} = UINT64_C({getattr(meta, number)})")
    rows += [f".{flag} = true" for flag in ("required", "fixed", "secret", "computed") if getattr(meta, flag)]
    rows.append(f".words = {quoted(words)}")
    return "    {" + ", ".join(rows) + "},\n"


def kind_row(message, words):
    kind = message.options.Extensions[options_pb2.kind]
    rows = [f".message = {quoted(message.name)}", f".class_ = {constant(options_pb2.Class, getattr(kind, 'class'))}",
            f".name = {constant(options_pb2.FieldType, kind.name)}", f".words = {quoted(words)}"]
    rows += [f".{flag} = true" for flag in ("in_instance", "single", "made") if getattr(kind, flag)]
    if kind.example:
        rows.append(f".example = {quoted(kind.example)}")
    if message.field:
        rows += [f".fields = {message.name}_fields", f".n_fields = {len(message.field)}"]
    return "    {" + ", ".join(rows) + "},\n"


def checked(message, words, where):
    """What desired.proto promises of itself: a comment and the release of every field."""
    for i, field in enumerate(message.field):
        if not words.get(where + (FIELD, i)):
            sys.exit(f"desired.proto: {message.name}.{field.name}: no comment")
        if not field.options.Extensions[options_pb2.meta].since:
            sys.exit(f"desired.proto: {message.name}.{field.name}: no 'since'")


def tables(file):
    words = comments(file)
    fields, kinds = [], []
    for m, message in enumerate(file.message_type):
        if not message.options.HasExtension(options_pb2.kind):
            continue
        where = (MESSAGE, m)
        checked(message, words, where)
        # protobuf-c keeps a descriptor's fields by number.
        numbered = sorted(enumerate(message.field), key=lambda item: item[1].number)
        rows = [field_row(field, words[where + (FIELD, i)]) for i, field in numbered]
        fields.append(f"static const FieldMeta {message.name}_fields[] = {{\n{''.join(rows)}}};\n\n")
        kinds.append(kind_row(message, words.get(where, "")))
    return (f"{''.join(fields)}const KindMeta kind_metas[] = {{\n{''.join(kinds)}}};\n\n"
            f"const size_t n_kind_metas = {len(kinds)};\n")


def main(descriptor_set, out):
    files = descriptor_pb2.FileDescriptorSet()
    with open(descriptor_set, "rb") as f:
        files.ParseFromString(f.read())
    desired = next(f for f in files.file if f.name == "desired.proto")
    with open(out, "w", encoding="ascii") as f:
        f.write('/* Made by meta.py from desired.proto. */\n#include "model/meta.h"\n\n' + tables(desired))


if __name__ == "__main__":
    main(*sys.argv[1:])

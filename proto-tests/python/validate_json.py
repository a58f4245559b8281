"""Validates documents against their JSON Schemas with the reference implementation for Python.

Standard input: a list of [name, schema, document]. What a schema does not describe is an error here, although users are told that
names may be added. Prints what is wrong, and ends with 1 if anything is.
"""

import json
import sys

from jsonschema import Draft202012Validator


def closed(schema):
    """The same schema, taking no name that it does not describe."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(part) for key, part in schema.items()}
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
    return schema


def main():
    wrong = 0
    for name, schema, document in json.load(sys.stdin):
        Draft202012Validator.check_schema(schema)
        for error in Draft202012Validator(closed(schema)).iter_errors(document):
            wrong = 1
            print(f"{name}: {error.json_path}: {error.message}")
    sys.exit(wrong)


main()

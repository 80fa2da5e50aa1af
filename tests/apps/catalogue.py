"""A GraphQL service whose clients send the hash of a query instead of the query, by GET, so that caches can help.

The protocol is that of automatic persisted queries: an unknown hash is answered by `PersistedQueryNotFound`, after which
the client sends the query with its hash once. Queries are really parsed, validated and run.
"""

import hashlib
import json
import os
from pathlib import Path

from flask import Flask, jsonify, request
from graphql import build_schema, graphql_sync

app = Flask(__name__)
# Files, so that every worker knows every query and counts every run.
_queries = Path(os.environ["CATALOGUE"])
_runs = _queries / "runs"

_schema = build_schema(
    """
    type Book { id: ID!, title: String!, price(currency: String = "EUR"): Float! }
    type Query { book(id: ID!): Book, books(first: Int = 3): [Book!]! }
    type Mutation { rename(id: ID!, title: String!): Book }
    """
)


class Book:
    def __init__(self, number):
        self.id = number
        renamed = _queries / f"book-{number}"
        self.title = renamed.read_text() if renamed.exists() else f"Volume {number}"

    def price(self, _info, currency):
        return {"EUR": 10.0, "USD": 11.5}[currency] + int(self.id)


class Root:
    def book(self, _info, id):
        return Book(id)

    def books(self, _info, first):
        return [Book(str(n)) for n in range(first)]

    def rename(self, _info, id, title):
        (_queries / f"book-{id}").write_text(title)
        return Book(id)


@app.route("/graphql", methods=["GET", "POST"])
def graphql():
    asked = request.args if request.method == "GET" else request.get_json()
    extensions = asked.get("extensions") or {}
    variables = asked.get("variables") or {}
    if isinstance(extensions, str):
        extensions = json.loads(extensions)
    if isinstance(variables, str):
        variables = json.loads(variables)
    query, wanted = asked.get("query"), extensions.get("persistedQuery", {}).get("sha256Hash", "")
    known = _queries / f"query-{wanted}"
    if query is None and (not wanted.isalnum() or not known.exists()):
        answer = jsonify(errors=[{"message": "PersistedQueryNotFound"}])
        # Known in a moment: nobody shall be told otherwise then.
        answer.headers["Cache-Control"] = "no-store"
        return answer
    if query is None:
        query = known.read_text()
    elif wanted:
        if hashlib.sha256(query.encode()).hexdigest() != wanted:
            return jsonify(errors=[{"message": "provided sha does not match query"}]), 400
        known.write_text(query)
    with _runs.open("a") as runs:
        runs.write(request.method + "\n")
    result = graphql_sync(_schema, query, Root(), variable_values=variables)
    answer = jsonify(result.formatted)
    answer.headers["Cache-Control"] = "public, max-age=60" if not result.errors else "no-store"
    return answer

"""The API is what its description says: compared by schemathesis, which makes up the requests."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import ignored_auth, positive_data_acceptance
from schemathesis.specs.openapi.schemas import OpenApiSchema

from panel.config import STILL_WANTED
from panel.db import Database
from panel.models.settings import Settings
from panel.web.api import records
from tests.support.search import SEARCHING, examples

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

pytestmark = pytest.mark.both_databases

DESCRIPTION = json.loads(Path(records.__file__).with_name("openapi.json").read_text("utf-8"))
OPERATIONS = [
    operation["operationId"]
    for path in DESCRIPTION["paths"].values()
    for name, operation in path.items()
    if name != "parameters"
]
# Nothing can be wrong in asking for the description, how sync stands, or for a sync.
CASES = [
    pytest.param(name, mode, id=f"{name}-{mode.value}")
    for name in OPERATIONS
    for mode in GenerationMode
    if name not in ("describe", "status", "sync_now") or mode is not GenerationMode.NEGATIVE
]
BOUNDED = settings(
    max_examples=examples(12),
    deadline=None,
    derandomize=not SEARCHING,
    print_blob=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def described(app: Flask) -> OpenApiSchema:
    answer = app.wsgi_app

    def answer_at_once(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        # Whoever waits for changes gives up, so that nobody waits for the seconds made up here.
        return answer({**environ, STILL_WANTED: lambda: False}, start)

    app.wsgi_app = answer_at_once  # type: ignore[assignment, method-assign]
    return schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)


@pytest.mark.search
@pytest.mark.parametrize(("name", "mode"), CASES)
def test_every_answer_is_as_described(
    name: str, mode: GenerationMode, described: OpenApiSchema, token: str, database: Database
) -> None:
    with database.writing() as session:
        # Not one of the small numbers that are made up for "to", which has to be another server's.
        session.get_one(Settings, 1).sync_id = 7_919
    operation = described.find_operation_by_id(name)

    # The client of the tests does not undo what is compressed.
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode, headers=headers))
    def answers_as_described(case: Case[Any]) -> None:
        # Whether a cursor was given out, or a record is in a version, no schema can say. Beside a
        # condition the token is taken for one that was made up.
        is_conditional = bool({"If-Match", "If-None-Match"} & set(case.headers or {}))
        excluded = [positive_data_acceptance] if is_conditional or name == "follow" else []
        case.call_and_validate(
            excluded_checks=[*excluded, ignored_auth] if is_conditional else excluded
        )

    answers_as_described()


def test_every_route_is_described(app: Flask) -> None:
    routes = {
        (method.lower(), rule.rule.replace("record_id:record_", ""))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("api.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {
        (method, f"/api/v1{path}".replace("{", "<").replace("}", ">"))
        for path, methods in DESCRIPTION["paths"].items()
        for method in methods.keys() - {"parameters"}
    }
    assert routes == described

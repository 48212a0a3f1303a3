"""``/healthz``: whether this server can do its work, for supervisors and load balancers."""

from flask import Blueprint, Response, jsonify
from sqlalchemy.exc import SQLAlchemyError

from panel.i18n import say
from panel.migrate import newest_revision, present_revision
from panel.web.base.context import installation
from panel.web.base.errors import answer_program

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def check() -> Response:
    """Answer 200 when the database answers and is migrated, else 503 with the reason."""
    try:
        revision = present_revision(installation().database.engine)
    except SQLAlchemyError:
        return answer_program(503, "database_unreachable", say("The database does not answer."))
    if revision != newest_revision():
        return answer_program(
            503, "not_migrated", say("The database is not at this version's tables.")
        )
    return jsonify(status="ok")
